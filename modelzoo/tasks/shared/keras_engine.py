"""A model's export signatures, run in Keras as a device runs them in a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import keras
from keras import ops

from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo, checked_inputs
from modelzoo.runtime.model import Model
from modelzoo.signature import Signature, TensorSpec
from modelzoo.tasks.shared.stepper import compiled


def with_rows(signature: Signature, rows: int) -> Signature:
    """The signature for a number of rows at once."""
    inputs = {
        key: TensorSpec((rows, *spec.shape[1:]), spec.dtype)
        for key, spec in signature.inputs.items()
    }
    return Signature(signature.function, inputs)


def device_model(model, engine: KerasEngine, **manifest: object) -> Model:
    """The runtime's `Model` over a Keras model: one way from text and media to an answer.

    Args:
        model: a `TaskModel`.
        manifest: entries that a bundle of it has, besides its name, its task and its labels.
    """
    recipe = model.recipe
    options = recipe.table("task_options") if recipe else {}
    entries = {
        "name": recipe.name if recipe else model.name,
        "task": recipe.task if recipe else type(model).__name__,
        "labels": options.get("labels"),
        "problem_type": options.get("problem_type"),
        "thresholds": options.get("thresholds"),
    }
    return Model(Bundle(Path(entries["name"]), {**entries, **manifest}), model.tokenizer, engine)


class KerasEngine:
    """Runs a model's export signatures in Keras, by name, with numpy arrays in and out."""

    def __init__(self, model, signatures: Mapping[str, Signature]):
        self.signatures, self._functions = {}, {}
        for name, signature in signatures.items():
            inputs = {
                key: TensorInfo(spec.shape, spec.dtype) for key, spec in signature.inputs.items()
            }
            # A partial of its own for each shape, or TensorFlow counts them as one function that
            # is traced again and again, and warns.
            self._functions[name] = function = compiled(partial(signature.function), model)
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
