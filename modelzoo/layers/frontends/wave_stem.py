"""From raw samples to what an encoder's first block reads (Jeffries et al. 2024, Moonshine).

B batch, N samples, S tokens, D width.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from modelzoo.layers.dense import normal
from modelzoo.signature import Tensor

# (samples or columns of a window, from one to the next) of the three convolutions.
WINDOWS = ((127, 64), (7, 3), (3, 2))
_EPSILON = 1e-5


def conv_lengths(num_samples: int) -> list[int]:
    """Columns after each convolution.

    >>> conv_lengths(16_000)
    [249, 81, 40]
    """
    lengths = []
    for width, stride in WINDOWS:
        num_samples = (num_samples - width) // stride + 1
        lengths.append(num_samples)
    return lengths


class WaveStem(keras.layers.Layer):
    """Three convolutions over the samples themselves; each token is 24 ms.

    What the first gives is normalised over all columns and channels together, of real samples
    alone: so a sound filled up with silence gives what it gives by itself.

    Args:
        num_samples: N.
        hidden_dim: width D.

    Call: audio (B, N), num_samples (B,) int32 or None for all -> (B, S, D), and which tokens are
    real, (B, S) bool.
    """

    def __init__(self, num_samples: int, hidden_dim: int, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.num_samples, self.hidden_dim = num_samples, hidden_dim
        self.num_columns, _, self.num_tokens = conv_lengths(num_samples)
        units = (hidden_dim, 2 * hidden_dim, hidden_dim)

        def convolution(index):
            width, stride = WINDOWS[index]
            return keras.layers.Conv1D(
                units[index],
                width,
                strides=stride,
                use_bias=index > 0,
                data_format="channels_last",
                kernel_initializer=normal(initializer_range),
                dtype=self.dtype_policy,
                name=("first", "second", "third")[index],
            )

        self.first, self.second, self.third = map(convolution, range(3))

    def build(self, input_shape=None) -> None:
        self.first.build((None, None, 1))
        self.second.build((None, None, self.hidden_dim))
        self.third.build((None, None, 2 * self.hidden_dim))
        self.gamma = self.add_weight(shape=(self.hidden_dim,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(self.hidden_dim,), initializer="zeros", name="beta")
        self.built = True

    def call(self, audio, num_samples=None) -> tuple[Tensor, Tensor]:
        audio = ops.reshape(audio, (-1, self.num_samples, 1))
        x = ops.tanh(self.first(ops.cast(audio, self.compute_dtype)))
        real = tokens = None
        if num_samples is not None:
            (real, tokens) = self._real(num_samples)
        x = self._normalised(x, real)
        for convolution in (self.second, self.third):
            x = ops.gelu(convolution(x), approximate=False)
        return x, tokens

    def _real(self, num_samples):
        """Whether columns and tokens are of real samples alone: (B, T, 1) float32, (B, S) bool."""
        count = ops.reshape(ops.cast(num_samples, "int32"), (-1, 1))
        counts = []
        for width, stride in WINDOWS:
            # Of fewer samples than a window there is no column; division would round to zero.
            count = ops.maximum(count - width + stride, 0) // stride
            counts.append(count)
        columns = np.arange(self.num_columns, dtype="int32")[None]
        tokens = np.arange(self.num_tokens, dtype="int32")[None]
        real = ops.expand_dims(ops.cast(columns < counts[0], "float32"), -1)
        return real, tokens < counts[2]

    def _normalised(self, x, real):
        """Mean 0 and variance 1 over columns and channels, then a factor and a bias a channel."""
        x = ops.cast(x, "float32")
        weight = ops.ones_like(x[:, :, :1]) if real is None else real
        count = ops.maximum(ops.sum(weight, axis=(1, 2), keepdims=True), 1.0) * self.hidden_dim
        mean = ops.sum(x * weight, axis=(1, 2), keepdims=True) / count
        spread = ops.sum(ops.square((x - mean) * weight), axis=(1, 2), keepdims=True) / count
        x = (x - mean) * ops.rsqrt(spread + _EPSILON)
        x = x * ops.cast(self.gamma, "float32") + ops.cast(self.beta, "float32")
        return ops.cast(x, self.compute_dtype)
