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


class PerHeadLayerNormalization(keras.layers.Layer):
    """LayerNorm of each head, with a gain of its own for each and no bias.

    Call: (..., H, D) -> (..., H, D).
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.LayerNormalization(
            epsilon=epsilon, center=False, scale=False, dtype=self.dtype_policy, name="norm"
        )

    def build(self, input_shape) -> None:
        self.norm.build(input_shape)
        self.gamma = self.add_weight(shape=input_shape[-2:], initializer="ones", name="gamma")
        self.built = True

    def call(self, x) -> Tensor:
        return self.norm(x) * self.gamma


def make_norm(config: TransformerConfig, bias: bool | None = None, **kwargs) -> keras.layers.Layer:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over the last axis.

    All compute in float32 under mixed precision and return the compute dtype.

    Args:
        bias: of a LayerNorm. Default: `config.norm_bias`.
    """
    kwargs["epsilon"] = config.norm_epsilon
    if config.norm == "layer":
        center = config.norm_bias if bias is None else bias
        return keras.layers.LayerNormalization(center=center, scale=config.norm_scale, **kwargs)
    if config.norm == "rms":
        return keras.layers.RMSNormalization(**kwargs)
    return UnitOffsetRMSNormalization(**kwargs)


def make_qk_norm(config: TransformerConfig, **kwargs) -> keras.layers.Layer:
    """The norm of queries or keys: of (..., H, D), or with `"joint"` heads of (..., H * D)."""
    if config.qk_norm_heads == "separate":
        return PerHeadLayerNormalization(config.norm_epsilon, **kwargs)
    return make_norm(config, config.has_qk_norm_bias, **kwargs)
