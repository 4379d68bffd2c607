"""Overlapping patches of a spectrogram as tokens (Gong et al. 2021).

B batch, T columns, M bands, P patches, D width.
"""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.layers.dense import normal
from modelzoo.signature import Tensor


class SpectrogramPatches(keras.layers.Layer):
    """A class token, a distillation token and a token a patch, with learned positions.

    Patches count along time first, from the lowest bands up.

    Args:
        num_columns, num_mels: of the spectrogram.
        hidden_dim: width of a token.
        patch_size: columns and bands of a patch.
        time_stride, frequency_stride: from a patch to the next.

    Call: (B, T, M) -> (B, 2 + P, D).

    Example:
        >>> SpectrogramPatches(1024, 128, 768).num_patches
        1212
    """

    def __init__(
        self,
        num_columns: int,
        num_mels: int,
        hidden_dim: int,
        patch_size: int = 16,
        time_stride: int = 10,
        frequency_stride: int = 10,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_dim, self.initializer_range = hidden_dim, initializer_range
        self.input_size = (num_columns, num_mels)
        along = (num_columns - patch_size) // time_stride + 1
        self.num_patches = along * ((num_mels - patch_size) // frequency_stride + 1)
        self.projection = keras.layers.Conv2D(
            hidden_dim,
            patch_size,
            strides=(time_stride, frequency_stride),
            data_format="channels_last",
            kernel_initializer=normal(initializer_range),
            dtype=self.dtype_policy,
            name="projection",
        )

    def build(self, input_shape=None) -> None:
        self.projection.build((None, *self.input_size, 1))

        def token(name, count):
            shape = (1, count, self.hidden_dim)
            return self.add_weight(
                shape=shape, initializer=normal(self.initializer_range), name=name
            )

        self.class_token = token("class_token", 1)
        self.distillation_token = token("distillation_token", 1)
        self.positions = token("positions", self.num_patches + 2)
        self.built = True

    def call(self, mel) -> Tensor:
        patches = self.projection(ops.expand_dims(mel, -1))  # (B, T', M', D)
        patches = ops.transpose(patches, (0, 2, 1, 3))
        patches = ops.reshape(patches, (-1, self.num_patches, self.hidden_dim))
        # Added to what broadcasts over the batch, which needs no shape at run time.
        first = ops.concatenate([self.class_token, self.distillation_token], axis=1)
        first = first + ops.zeros_like(patches[:, :2])
        x = ops.concatenate([ops.cast(first, patches.dtype), patches], axis=1)
        return x + ops.cast(self.positions, x.dtype)
