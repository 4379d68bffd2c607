"""Normalisation of the residual stream, and of heads."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.layers.config import TransformerConfig
from modelzoo.signature import Tensor


class UnitOffsetRMSNormalization(keras.layers.Layer):
    """RMSNorm times `1 + scale`, so that weight decay pulls towards 1 and not towards 0 (Gemma).

    Call: (..., D) -> (..., D), computed in float32.
    """

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape) -> None:
        self.scale = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="scale")
        self.built = True

    def call(self, x) -> Tensor:
        wide = ops.cast(x, "float32")
        mean = ops.mean(ops.square(wide), axis=-1, keepdims=True)
        wide = wide * ops.rsqrt(mean + self.epsilon) * (1.0 + ops.cast(self.scale, "float32"))
        return ops.cast(wide, x.dtype)


def make_norm(config: TransformerConfig, **kwargs) -> keras.layers.Layer:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over the last axis.

    All compute in float32 under mixed precision and return the compute dtype.
    """
    kwargs["epsilon"] = config.norm_epsilon
    if config.norm == "layer":
        return keras.layers.LayerNormalization(center=config.norm_bias, **kwargs)
    if config.norm == "rms":
        return keras.layers.RMSNormalization(**kwargs)
    return UnitOffsetRMSNormalization(**kwargs)
