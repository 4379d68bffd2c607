"""From a log-mel spectrogram to what an encoder's first block reads (Radford et al. 2022).

B batch, T columns, M bands, D width.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from modelzoo.layers.dense import normal
from modelzoo.layers.feed_forward import activation
from modelzoo.layers.frontends.mel import MelConfig
from modelzoo.layers.frontends.spectrogram import LogMelSpectrogram
from modelzoo.signature import Tensor


def paired_sines(length: int, width: int) -> np.ndarray:
    """Positions as sines in the first half and cosines in the second, (length, width) float32.

    Example:
        >>> paired_sines(2, 4)[0].tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    step = math.log(10_000.0) / (width // 2 - 1)
    angles = np.arange(length)[:, None] * np.exp(-step * np.arange(width // 2))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype("float32")


class MelStem(keras.layers.Layer):
    """Spectrogram, two convolutions over time, the second of which halves it, and positions.

    Args:
        mel: how the spectrogram is computed.
        num_columns: T of the spectrogram; even.
        hidden_dim: width D.
        activation_name: after each convolution.

    Call: audio (B, N) of `num_columns * mel.hop` samples -> (B, T / 2, D).
    """

    def __init__(
        self,
        mel: MelConfig,
        num_columns: int,
        hidden_dim: int,
        activation_name: str = "gelu",
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_columns, self.num_mels, self.hidden_dim = num_columns, mel.num_mels, hidden_dim
        self.num_samples = num_columns * mel.hop
        self.activation = activation(activation_name)
        self.spectrogram = LogMelSpectrogram(mel, name="spectrogram")

        def convolution(stride, name):
            return keras.layers.Conv1D(
                hidden_dim,
                3,
                strides=stride,
                data_format="channels_last",
                kernel_initializer=normal(initializer_range),
                dtype=self.dtype_policy,
                name=name,
            )

        self.first, self.second = convolution(1, "first"), convolution(2, "second")

    def build(self, input_shape=None) -> None:
        self.spectrogram.build()
        self.first.build((None, None, self.num_mels))
        self.second.build((None, None, self.hidden_dim))
        table = paired_sines(self.num_columns // 2, self.hidden_dim)
        self.positions = self.add_weight(
            shape=table.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(table, dtype=dtype),
            trainable=False,
            name="positions",
        )
        self.built = True

    def call(self, audio) -> Tensor:
        x = self.spectrogram(ops.reshape(audio, (-1, self.num_samples)))
        x = ops.cast(x, self.compute_dtype)
        for convolution in (self.first, self.second):
            # A column of zeros at both ends: "same" would put both at the end at stride 2.
            x = self.activation(convolution(ops.pad(x, ((0, 0), (1, 1), (0, 0)))))
        return x + ops.cast(self.positions, x.dtype)
