"""HTSAT: a spectrogram folded into a square, read by a Swin transformer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from modelzoo.backbones.base import Backbone
from modelzoo.errors import RecipeError
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.frontends.mel import MelConfig
from modelzoo.layers.frontends.patches import PatchEmbedding
from modelzoo.layers.frontends.spectrogram import LogMelSpectrogram
from modelzoo.layers.frontends.swin import PatchMerging, SwinBlock
from modelzoo.signature import Tensor


class BandScale(keras.layers.Layer):
    """A trained factor and offset for each band. Call: (B, T, M) -> the same.

    HTSAT normalises bands by statistics of the batch. On a device these are constants, which this
    reads; in training it keeps rows of a batch apart, so that shards and chunks of a batch give
    the whole batch's gradients.
    """

    def build(self, input_shape) -> None:
        bands = input_shape[-1]
        self.scale = self.add_weight(shape=(bands,), initializer="ones", name="scale")
        self.offset = self.add_weight(shape=(bands,), initializer="zeros", name="offset")
        self.built = True

    def call(self, x) -> Tensor:
        return x * ops.cast(self.scale, x.dtype) + ops.cast(self.offset, x.dtype)


@keras.saving.register_keras_serializable("modelzoo")
class SwinAudio(Backbone):
    """HTSAT (Chen et al. 2022), the audio tower of CLAP.

    Args:
        mel: a `MelConfig`, whose columns are stretched to `side * ratio`, where `side = ratio *
            num_mels`, the stretches of time that lie one below the other in the square.
        depths, num_heads: blocks and heads of each stage; the width doubles between them.
        side: of the square, in bins.

    Call: `{"audio": (B, N)}` or the audio alone -> `sequence` (B, P, hidden_dim), the last stage's
    grid row by row, and `pooled` (B, hidden_dim), their mean. `num_samples` is not needed: a sound
    that is too short is repeated (`processing`).
    """

    def __init__(
        self,
        mel,
        num_samples: int,
        width: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (4, 8, 16, 32),
        window: int = 8,
        patch_size: int = 4,
        side: int = 256,
        norm_epsilon: float = 1e-5,
        dropout: float = 0.0,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        mel = mel if isinstance(mel, MelConfig) else MelConfig(**mel)
        self.config, self.max_length = None, None
        self.hidden_dim = width * 2 ** (len(depths) - 1)
        self.processing = {
            "audio": {
                "sample_rate": mel.sample_rate,
                "num_samples": num_samples,
                "padding": "repeat",
            }
        }
        self.mel, self.side, self.ratio = mel, side, side // mel.num_mels
        grid = side // patch_size
        _check(mel, num_samples, side, grid, depths, window, num_heads)

        # === Layers ===
        policy = self.dtype_policy
        self.spectrogram = LogMelSpectrogram(mel, name="spectrogram")
        self.band_scale = BandScale(dtype=policy, name="band_scale")
        self.patches = PatchEmbedding(
            patch_size,
            width,
            channels=1,
            initializer_range=initializer_range,
            dtype=policy,
            name="patches",
        )
        norm = {"epsilon": norm_epsilon, "dtype": policy}
        self.patch_norm = keras.layers.LayerNormalization(name="patch_norm", **norm)
        self.blocks, self.merges, self.grids = [], [], []
        for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            config = TransformerConfig(
                hidden_dim=width * 2**stage,
                num_heads=heads,
                ffn_dim=4 * width * 2**stage,
                norm_epsilon=norm_epsilon,
                dropout=dropout,
                initializer_range=initializer_range,
            )
            size = min(window, grid)
            self.grids.append((grid, grid))
            for i in range(depth):
                shift = size // 2 if i % 2 and grid > size else 0
                name = f"stage_{stage}_block_{i}"
                self.blocks.append(
                    SwinBlock(config, (grid, grid), size, shift, dtype=policy, name=name)
                )
            if stage < len(depths) - 1:
                self.merges.append(
                    PatchMerging(
                        width * 2**stage,
                        norm_epsilon,
                        initializer_range,
                        dtype=policy,
                        name=f"merge_{stage}",
                    )
                )
                grid //= 2
        self.depths = list(depths)
        self.final_norm = keras.layers.LayerNormalization(name="final_norm", **norm)
        self.build()

    def build(self, input_shape=None) -> None:
        self.band_scale.build((None, None, self.mel.num_mels))
        self.patches.build()
        self.patch_norm.build((None, None, self.patches.hidden_dim))
        for layer in (*self.blocks, *self.merges):
            layer.build()
        self.final_norm.build((None, None, self.hidden_dim))
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        audio = inputs["audio"] if isinstance(inputs, dict) else inputs
        x = self.patches(self._square(self.band_scale(self.spectrogram(audio))))
        x = ops.reshape(self.patch_norm(x), (-1, *self.grids[0], self.patches.hidden_dim))
        blocks = iter(self.blocks)
        for stage, depth in enumerate(self.depths):
            for _ in range(depth):
                x = next(blocks)(x, training=training)
            if stage < len(self.merges):
                x = self.merges[stage](x)
        height, width = self.grids[-1]
        x = self.final_norm(ops.reshape(x, (-1, height * width, self.hidden_dim)))
        return {"sequence": x, "pooled": ops.mean(x, axis=1)}

    def _square(self, x):
        """(B, T, M) -> (B, side, side, 1): stretches of time one below the other, bands down."""
        x = stretched(x, self.side * self.ratio)
        x = ops.reshape(x, (-1, self.ratio, self.side, self.mel.num_mels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2)), (-1, self.side, self.side, 1))

    def get_config(self) -> dict:
        config = super().get_config()
        if isinstance(self._options["mel"], MelConfig):
            config["mel"] = dataclasses.asdict(self._options["mel"])
        return config


def stretched(x, columns: int) -> Tensor:
    """(B, T, M) -> (B, columns, M), bicubic, both ends kept: a weighted sum of four neighbours.

    Example:
        >>> stretched(ops.ones((1, 5, 2)), 9).shape[1]
        9
    """
    length = x.shape[1]
    if length == columns:
        return x
    places, weights = _neighbours(length, columns)
    parts = [ops.take(x, p, axis=1) * w for p, w in zip(places, weights, strict=True)]
    return sum(parts[1:], parts[0])


def _neighbours(length: int, columns: int, a: float = -0.75):
    """Four (columns,) int32 of places, and four (columns, 1) float32 of their weights."""
    where = np.arange(columns) * (length - 1) / max(columns - 1, 1)
    first = np.floor(where)
    places = [np.clip(first + step, 0, length - 1).astype("int32") for step in (-1, 0, 1, 2)]
    weights = []
    for step in (-1, 0, 1, 2):
        d = np.abs(where - first - step)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * (d**3 - 5 * d**2 + 8 * d - 4)
        weights.append(np.where(d <= 1, near, far).astype("float32")[:, None])
    return places, weights


def _check(mel, num_samples, side, grid, depths, window, num_heads) -> None:
    columns, room = mel.num_columns(num_samples), side * (side // mel.num_mels)
    if side % mel.num_mels or columns > room:
        raise RecipeError(
            f"{columns} columns of {mel.num_mels} bands do not fold into a square of {side}"
        )
    if len(depths) != len(num_heads):
        raise RecipeError(f"depths has {len(depths)} stages and num_heads {len(num_heads)}")
    for stage in range(len(depths)):
        size = grid // 2**stage
        if size % min(window, size) or (size % 2 and stage < len(depths) - 1):
            raise RecipeError(f"a grid of {size} does not divide into windows of {window}")
