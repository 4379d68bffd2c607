"""`classify`, `fill_mask` and `embed` of Keras models: the device runtime's own code over Keras.

What a device does with a bundle's signatures, a Keras model does with the same signatures before
they are exported. So there is one way from text to arrays and from arrays to an answer.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import ops

from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engine import SignatureInfo, TensorInfo, checked_inputs
from modelzoo.runtime.model import Model
from modelzoo.tasks.stepper import compiled, power_of_two


class Answers:
    """Mixed into a `TaskModel` whose `export_signatures(max_length)` has `serve` and `embed`."""

    def embed(self, text, truncate: bool = False):
        """A text's vector, the mean over its tokens, of length 1; see `runtime.Model.embed`."""
        return self._over_keras(text, truncate).embed(text, truncate)

    def _over_keras(self, text, truncate: bool) -> Model:
        """The runtime's `Model` over this one, with signatures just long enough for the texts."""
        tokenizer = self.need_tokenizer()
        longest = 1
        for one in [text] if isinstance(text, str | tuple) else text:
            parts = one if isinstance(one, tuple) else (one,)
            longest = max(longest, 3 + sum(len(tokenizer.encode(str(part))) for part in parts))
        length = min(power_of_two(longest, 16), self.backbone.max_length or longest)
        engine = self.compile_once(f"engine/{length}", lambda: KerasEngine(self, length))
        recipe = self.recipe
        manifest = {
            "name": recipe.name if recipe else self.name,
            "task": recipe.task if recipe else type(self).__name__,
            "labels": recipe.table("task_options").get("labels") if recipe else None,
        }
        return Model(Bundle(Path(manifest["name"]), manifest), tokenizer, engine)


class KerasEngine:
    """Runs a model's export signatures in Keras, by name, with numpy arrays in and out."""

    def __init__(self, model, length: int):
        signatures = model.export_signatures(max_length=length)
        self.signatures, self._functions = {}, {}
        for name, signature in signatures.items():
            inputs = {key: TensorInfo(s.shape, s.dtype) for key, s in signature.inputs.items()}
            self._functions[name] = function = compiled(signature.function, model)
            blank = {key: ops.zeros(info.shape, info.dtype) for key, info in inputs.items()}
            outputs = {
                key: TensorInfo(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
                for key, value in function(blank).items()
            }
            self.signatures[name] = SignatureInfo(inputs, outputs)

    def run(self, name: str, inputs) -> dict:
        arrays = checked_inputs(name, self.signatures[name], inputs)
        tensors = {key: ops.convert_to_tensor(value) for key, value in arrays.items()}
        outputs = self._functions[name](tensors)
        return {key: ops.convert_to_numpy(value) for key, value in outputs.items()}
