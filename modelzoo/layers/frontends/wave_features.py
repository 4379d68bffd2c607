"""From raw samples to features by a chain of convolutions, and positions by one more.

Baevski et al. 2020, wav2vec 2.0. B batch, N samples, T columns or tokens, C channels, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from modelzoo.errors import RecipeError, check_choice
from modelzoo.layers.dense import normal
from modelzoo.signature import Tensor

FEATURE_NORMS = ("group", "layer")
_EPSILON, _QUIET = 1e-5, 1e-7  # of a norm, and of the samples' variance


def chain_length(num_samples, kernels: Sequence[int], strides: Sequence[int]) -> list:
    """Columns after each convolution of a chain, of a number or of a tensor of numbers.

    >>> chain_length(16_000, (10, 3, 2), (5, 2, 2))
    [3199, 1599, 799]
    """
    lengths = []
    for kernel, stride in zip(kernels, strides, strict=True):
        # Of fewer than a kernel's there is no column; division would round to zero.
        more = num_samples - kernel + stride
        num_samples = (max(more, 0) if isinstance(more, int) else ops.maximum(more, 0)) // stride
        lengths.append(num_samples)
    return lengths


class WaveFeatures(keras.layers.Layer):
    """A chain of convolutions over samples; each token is as many samples as the strides' product.

    Real samples alone count in every mean and variance: so a sound filled up with silence gives
    what it gives by itself.

    Args:
        num_samples: N.
        units, kernels, strides: of each convolution.
        norm: `"group"` normalises each channel of the first convolution over time, `"layer"` the
            channels of each column of every convolution.
        use_bias: of the convolutions.
        normalize: bring the samples to mean 0 and variance 1.

    Call: audio (B, N), num_samples (B,) int32 or None for all -> (B, T, C), and which tokens are
    real, (B, T) bool or None for all.

    Raises:
        RecipeError: lists of different lengths, or a sound that is too short for one token.
    """

    def __init__(
        self,
        num_samples: int,
        units: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        norm: str = "group",
        use_bias: bool = False,
        normalize: bool = True,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("feature_norm", norm, FEATURE_NORMS)
        sizes = {"conv_dims": units, "conv_kernels": kernels, "conv_strides": strides}
        for key, values in sizes.items():
            if len(values) != len(units) or not values or min(values) < 1:
                raise RecipeError(
                    f"{key} must be {len(units) or 'some'} numbers of 1 or more, not {[*values]}"
                )
        self.kernels, self.strides = tuple(kernels), tuple(strides)
        self.num_samples, self.units, self.norm = num_samples, tuple(units), norm
        self.normalize = normalize
        self.lengths = chain_length(num_samples, kernels, strides)
        if self.lengths[-1] < 1:
            raise RecipeError(f"num_samples {num_samples} are too few for one token")
        policy = self.dtype_policy
        self.convolutions = [
            keras.layers.Conv1D(
                units[i],
                kernels[i],
                strides=strides[i],
                use_bias=use_bias,
                data_format="channels_last",
                kernel_initializer=normal(initializer_range),
                dtype=policy,
                name=f"conv_{i}",
            )
            for i in range(len(units))
        ]
        self.norms: list[keras.layers.Layer] = [ChannelNorm(dtype=policy, name="norm_0")]
        if norm == "layer":
            self.norms = [
                keras.layers.LayerNormalization(epsilon=_EPSILON, dtype=policy, name=f"norm_{i}")
                for i in range(len(units))
            ]

    def build(self, input_shape=None) -> None:
        width = 1
        for convolution, units in zip(self.convolutions, self.units, strict=True):
            convolution.build((None, None, width))
            width = units
        for norm, units in zip(self.norms, self.units, strict=False):
            norm.build((None, None, units))
        self.built = True

    def call(self, audio, num_samples=None) -> tuple[Tensor, Tensor | None]:
        x = ops.cast(ops.reshape(audio, (-1, self.num_samples, 1)), "float32")
        counts: list = [None] * len(self.units)
        real = None
        if num_samples is not None:
            count = ops.reshape(ops.cast(num_samples, "int32"), (-1, 1))
            counts = chain_length(count, self.kernels, self.strides)
            real = _real(count, self.num_samples)
        if self.normalize:
            x = _standardized(x, real, (1,), _QUIET)
            x = x if real is None else x * real
        x = ops.cast(x, self.compute_dtype)
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if self.norm == "layer":
                x = self.norms[i](x)
            elif i == 0:
                x = self.norms[0](x, None if real is None else _real(counts[0], self.lengths[0]))
            x = ops.gelu(x, approximate=False)
        if real is None:
            return x, None
        return x, ops.squeeze(_real(counts[-1], self.lengths[-1]), -1) > 0


class ChannelNorm(keras.layers.Layer):
    """Mean 0 and variance 1 over time for each channel, then a factor and a bias for each.

    Group normalisation with a group for each channel (Wu and He 2018).

    Call: x (B, T, C), and which columns are real, (B, T, 1) float32 or None for all -> like x.
    """

    def build(self, input_shape) -> None:
        self.gamma = self.add_weight(input_shape[-1:], "ones", name="gamma")
        self.beta = self.add_weight(input_shape[-1:], "zeros", name="beta")
        self.built = True

    def call(self, x, real=None) -> Tensor:
        wide = _standardized(ops.cast(x, "float32"), real, (1,), _EPSILON)
        wide = wide * ops.cast(self.gamma, "float32") + ops.cast(self.beta, "float32")
        return ops.cast(wide, self.compute_dtype)


class ConvPositions(keras.layers.Layer):
    """What a wide convolution in groups makes of a token's neighbours, as its position.

    The kernel is a direction for each tap times its length (weight normalisation, Salimans and
    Kingma 2016). The groups are convolutions of their own: no device knows all of them as one.

    Args:
        width: D.
        kernel_size: tokens that it sees, half of them before.
        groups: of channels.

    Call: (B, T, D) -> (B, T, D).
    """

    def __init__(self, width: int, kernel_size: int, groups: int, **kwargs):
        super().__init__(**kwargs)
        if kernel_size < 1 or groups < 1 or width % groups:
            raise RecipeError(
                f"positions need a kernel and groups that divide {width} channels, not a kernel "
                f"of {kernel_size} and {groups} groups"
            )
        self.width, self.kernel_size, self.groups = width, kernel_size, groups

    def build(self, input_shape=None) -> None:
        inner, taps = self.width // self.groups, self.kernel_size
        spread = 2 / math.sqrt(taps * self.width)
        shape = (taps, inner, self.width)
        self.direction = self.add_weight(shape, normal(spread), name="direction")
        length = keras.initializers.Constant(spread * math.sqrt(inner * self.width))
        self.length = self.add_weight((taps,), length, name="length")
        self.bias = self.add_weight((self.width,), "zeros", name="bias")
        self.built = True

    def kernel(self) -> Tensor:
        """(taps, D / groups, D) float32."""
        direction = ops.cast(self.direction, "float32")
        square = ops.sum(ops.square(direction), axis=(1, 2), keepdims=True)
        length = ops.reshape(ops.cast(self.length, "float32"), (-1, 1, 1))
        return direction * length * ops.rsqrt(ops.maximum(square, 1e-30))

    def call(self, x) -> Tensor:
        before = self.kernel_size // 2
        padded = ops.pad(x, ((0, 0), (before, self.kernel_size - 1 - before), (0, 0)))
        kernels = ops.split(ops.cast(self.kernel(), x.dtype), self.groups, axis=-1)
        parts = ops.split(padded, self.groups, axis=-1)
        found = [
            ops.conv(part, kernel, padding="valid", data_format="channels_last")
            for part, kernel in zip(parts, kernels, strict=True)
        ]
        found = found[0] if len(found) == 1 else ops.concatenate(found, axis=-1)
        return ops.gelu(found + ops.cast(self.bias, x.dtype), approximate=False)


def _real(count, length: int) -> Tensor:
    """(B, 1) -> (B, length, 1) float32: 1 for the first `count`, 0 for the rest."""
    places = np.arange(length, dtype="int32")[None]
    return ops.expand_dims(ops.cast(places < count, "float32"), -1)


def _standardized(x, real, axes: tuple[int, ...], epsilon: float) -> Tensor:
    """Mean 0 and variance 1 over the real places of some axes."""
    weight = ops.ones_like(x[..., :1]) if real is None else real
    count = ops.maximum(ops.sum(weight, axis=axes, keepdims=True), 1.0)
    mean = ops.sum(x * weight, axis=axes, keepdims=True) / count
    spread = ops.sum(ops.square((x - mean) * weight), axis=axes, keepdims=True) / count
    return (x - mean) * ops.rsqrt(spread + epsilon)
