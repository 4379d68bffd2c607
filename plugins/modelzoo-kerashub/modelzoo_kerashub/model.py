"""What a recipe of KerasHub builds: a `keras.Model` for `fit()` that says what a device runs."""

from __future__ import annotations

import keras
from keras import ops
from modelzoo.errors import ExportError, nearest
from modelzoo.signature import Signature, TensorSpec

from modelzoo_kerashub.backbone import (
    HubBackbone,
    deserialize,
    flat_outputs,
    hub_inputs,
    input_tensors,
)

__all__ = ["HubModel"]

LENGTH = 128  # tokens of an exported text, where nobody says how many


@keras.saving.register_keras_serializable("modelzoo_kerashub")
class HubModel(keras.Model):
    """A KerasHub backbone, or a KerasHub task over it.

    Call: the inputs as of `HubBackbone` -> what the task gives (logits), or the backbone.

    Attributes:
        backbone: a `HubBackbone`.
        head: the KerasHub task, or `None`.
        preprocessor: KerasHub's, where the task came from a preset: `model.preprocessor(texts)`
            gives what `fit()` takes. It is not saved.
        recipe, tokenizer, chat_template: set by the zoo.
    """

    def __init__(self, backbone: HubBackbone, head: keras.Model | None = None, **kwargs):
        super().__init__(**kwargs)
        self.backbone, self.head = backbone, head
        self.preprocessor = getattr(head, "preprocessor", None)
        self.recipe = self.tokenizer = self.chat_template = None
        self.built = True

    @property
    def functional(self) -> keras.Model:
        """The KerasHub object that is called."""
        return self.backbone.hub if self.head is None else self.head

    def get_config(self):
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        config = {"name": self.name, "dtype": policy, "preset": self.backbone.preset}
        if self.head is not None:
            task = keras.saving.serialize_keras_object(self.head)
            task["config"]["preprocessor"] = None  # vocabularies are files of the preset's
            task.pop("compile_config", None)  # it is this model that is trained
            return {**config, "head": task}
        return {**config, "hub": keras.saving.serialize_keras_object(self.backbone.hub)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        preset = config.pop("preset", None)
        if "head" in config:
            head = deserialize(config.pop("head"), custom_objects)
            return cls(HubBackbone(head.backbone, preset), head, **config)
        hub = deserialize(config.pop("hub"), custom_objects)
        return cls(HubBackbone(hub, preset), **config)

    def call(self, inputs, training=None):
        return self.functional(hub_inputs(self.functional, inputs), training=training)

    # === Device ===

    def export_signatures(
        self,
        length: int | None = None,
        image_size: int | None = None,
        shapes: dict | None = None,
    ) -> dict:
        """`serve`: every input with a static shape, batch 1, to every output by its name.

        What KerasHub gives under two names has the first.

        Args:
            length: tokens of a text; what the backbone reads at most, and 128 at most, by default.
            image_size: height and width, where the model leaves them open.
            shapes: whole shapes of inputs, `{"encoder_features": [1, 3000, 80]}`.

        Raises:
            ExportError: a shape stays open, or belongs to no input.
        """
        shapes = shapes or {}
        tensors = input_tensors(self.functional)
        for name in shapes:
            if name not in tensors:
                raise ExportError(
                    f"export.shapes names {name!r}, which is no input",
                    did_you_mean=nearest(name, tensors),
                    next_step=f"the inputs are {', '.join(tensors)}",
                )
        length = length or min(self.backbone.max_length or LENGTH, LENGTH)
        specs = {
            name: self._spec(name, tensor, length, image_size, shapes.get(name))
            for name, tensor in tensors.items()
        }

        def serve(inputs):
            inputs = {name: ops.cast(value, tensors[name].dtype) for name, value in inputs.items()}
            outputs = _each_once(flat_outputs(self(inputs, training=False)))
            return {name: _plain(value) for name, value in outputs}

        return {"serve": Signature(serve, specs)}

    def _spec(self, name, tensor, length, image_size, shape) -> TensorSpec:
        # Flags travel as numbers: a device's buffers know int32 and float32.
        dtype = "int32" if tensor.dtype in ("bool", "int64") else tensor.dtype
        if shape is not None:
            return TensorSpec(tuple(int(size) for size in shape), dtype)
        axes = list(tensor.shape)
        axes[0] = 1
        image = len(axes) >= 4
        for axis, size in enumerate(axes):
            if size is None and image and image_size:
                axes[axis] = image_size
            elif size is None and not image and axis == 1:
                axes[axis] = length
        if None in axes:
            raise ExportError(
                f"the input {name} has the open shape {tuple(tensor.shape)}, and a device needs "
                "every size",
                next_step=f"--set 'export.shapes={{{name} = [1, ...]}}'"
                + (", or --set export.image_size=224" if image else ""),
            )
        return TensorSpec(tuple(axes), dtype)


def _each_once(outputs: list) -> list:
    """Without the second name of a tensor: LiteRT's CompiledModel gives one buffer no two names."""
    seen: dict[int, object] = {}
    return [(key, value) for key, value in outputs if seen.setdefault(id(value), key) == key]


def _plain(value):
    """Flags as int32, numbers as float32."""
    if keras.backend.standardize_dtype(value.dtype) == "bool":
        return ops.cast(value, "int32")
    kind = keras.backend.standardize_dtype(value.dtype)
    return value if kind.startswith(("int", "uint")) else ops.cast(value, "float32")
