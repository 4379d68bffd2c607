"""What all backbones share: they remember how they were made, so that Keras can save them."""

from __future__ import annotations

import dataclasses

import keras
from keras import ops

from modelzoo.layers.config import TransformerConfig
from modelzoo.signature import Tensor


class Backbone(keras.Model):
    """A `keras.Model` built in its constructor, with all its weights, from plain values."""

    def _remember(self, arguments: dict) -> None:
        """Keep a constructor's `locals()`: what it was called with."""
        self._options = {
            key: value
            for key, value in arguments.items()
            if key not in ("self", "kwargs", "__class__")
        }

    def get_config(self) -> dict:
        options = {key: _plain(value) for key, value in self._options.items()}
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        return {**options, "name": self.name, "dtype": policy}


def _plain(value):
    """As JSON would have it."""
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def transformer_config(value) -> TransformerConfig:
    """A config, also from the dict that a saved model holds."""
    return value if isinstance(value, TransformerConfig) else TransformerConfig(**value)


def text_inputs(inputs) -> tuple:
    """token_ids, padding_mask, segment_ids from a dict, or from the token ids alone."""
    if not isinstance(inputs, dict):
        return inputs, None, None
    return inputs["token_ids"], inputs.get("padding_mask"), inputs.get("segment_ids")


def count_up(token_ids) -> Tensor:
    """Positions 0, 1, 2 … of (B, T) token ids, as (1, T) int32."""
    length = token_ids.shape[1] if token_ids.shape[1] is not None else ops.shape(token_ids)[1]
    return ops.expand_dims(ops.arange(length, dtype="int32"), 0)


def width_of(backbone) -> int:
    """Numbers of each vector of a backbone's sequence."""
    width = getattr(backbone, "hidden_dim", None)
    config = getattr(backbone, "config", None)
    if width is None and config is not None:
        width = config.hidden_dim
    return width or backbone.hidden_dims[-1]


def pooled_width(backbone) -> int:
    """Numbers of a backbone's pooled output."""
    return getattr(backbone, "pooled_dim", None) or width_of(backbone)
