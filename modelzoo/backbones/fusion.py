"""A backbone over other backbones: how it is saved, and what of it is not trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import keras

from modelzoo.backbones.base import Backbone
from modelzoo.signature import Tensor


class Fusion(Backbone):
    """A `Backbone` that its constructor is given parts for, each a backbone of its own.

    Attributes:
        PARTS: their names, which are arguments of the constructor and attributes of the model. A
            part that is frozen (`trainable = False`) is saved as one that is.
    """

    PARTS: tuple[str, ...] = ()

    def get_config(self) -> dict:
        config = super().get_config()
        parts = {name: getattr(self, name) for name in self.PARTS}
        frozen = [name for name, part in parts.items() if not part.trainable]
        return {**config, **saved_parts(parts), "frozen": frozen}

    @classmethod
    def from_config(cls, config, custom_objects=None) -> Self:
        config = dict(config)
        frozen = config.pop("frozen", ())
        parts = opened_parts({name: config[name] for name in cls.PARTS}, custom_objects)
        for name, part in parts.items():
            part.trainable = name not in frozen
        return cls(**{**config, **parts})


def saved_parts(parts: Mapping[str, keras.Model]) -> dict[str, dict]:
    """Name -> a part as data."""
    return {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}


def opened_parts(parts: Mapping[str, dict], custom_objects=None) -> dict[str, keras.Model]:
    """Name -> the part that `saved_parts` wrote."""
    return {
        name: keras.saving.deserialize_keras_object(part, custom_objects=custom_objects)
        for name, part in parts.items()
    }


def sequence_of(part: keras.Model, inputs, training=None) -> Tensor:
    """What a part makes of its input, vector by vector: (B, T, its hidden_dim).

    A frozen part computes as it does when nothing is trained, without dropout.
    """
    return part(inputs, training=bool(training) and part.trainable)["sequence"]


def sequence_length(image: keras.Model) -> int:
    """Vectors that an image part makes of an image; nothing is computed."""
    height, width = image.processing["image"]["size"]
    return image(keras.KerasTensor((1, height, width, 3), "uint8"))["sequence"].shape[1]
