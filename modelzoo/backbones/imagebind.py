"""The towers of ImageBind that are its own: sound, depth, heat and motion."""

from __future__ import annotations

import dataclasses

import keras
from keras import ops

from modelzoo.backbones.base import Backbone, transformer_config
from modelzoo.errors import RecipeError
from modelzoo.layers.dense import projection
from modelzoo.layers.frontends.mel import MelConfig
from modelzoo.layers.frontends.patches import PatchPositions
from modelzoo.layers.frontends.spectrogram import LogMelSpectrogram
from modelzoo.layers.norms import make_norm
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class SensorEncoder(Backbone):
    """Normalised patches of a signal and a class token, a stack of blocks (Girdhar et al. 2023).

    Args:
        size: (rows, columns) of the picture that is cut into patches: bands and columns of a
            spectrogram, pixels, or channels and steps of a motion sensor.
        patch: rows and columns of a patch; `stride` from one to the next.
        mel: of a sound's spectrogram; without it the input is the picture, (B, rows, columns).

    Call: the input alone or in a dict -> `sequence` (B, 1 + P, hidden_dim) and `pooled`
    (B, hidden_dim), its class token.
    """

    def __init__(self, config, num_layers: int, size, patch, stride, mel=None, **kwargs):
        super().__init__(**kwargs)
        self._remember(locals())
        self.config = config = transformer_config(config)
        self.size, self.mel = tuple(size), None
        self.hidden_dim, self.max_length = config.hidden_dim, None
        self.processing = {}
        self.grid = tuple((s - p) // t + 1 for s, p, t in zip(size, patch, stride, strict=True))
        if min(self.grid) < 1:
            raise RecipeError(f"patches of {tuple(patch)} do not fit into {self.size}")

        # === Layers ===
        policy, stddev = self.dtype_policy, config.initializer_range
        self.spectrogram = None
        if mel is not None:
            self.mel = mel = mel if isinstance(mel, MelConfig) else MelConfig(**mel)
            self.num_samples = (size[1] - 1) * mel.hop + mel.frame_length
            self.processing["audio"] = {
                "sample_rate": mel.sample_rate,
                "num_samples": self.num_samples,
                "padding": "repeat",
            }
            self.spectrogram = LogMelSpectrogram(mel, name="spectrogram")
        self.window, self.stride = tuple(patch), tuple(stride)
        self.patches = projection(
            config.hidden_dim, stddev, use_bias=False, dtype=policy, name="patches"
        )
        self.patch_norm = make_norm(config, dtype=policy, name="patch_norm")
        self.positions = PatchPositions(
            self.grid, config.hidden_dim, True, stddev, dtype=policy, name="positions"
        )
        self.stack = TransformerStack(config, num_layers, dtype=policy, name="stack")
        self.build()

    def build(self, input_shape=None) -> None:
        self.patches.build((None, None, self.window[0] * self.window[1]))
        self.patch_norm.build((None, None, self.hidden_dim))
        self.positions.build()
        self.stack.build()
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        x = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
        if self.spectrogram is not None:
            x = ops.transpose(self.spectrogram(ops.reshape(x, (-1, self.num_samples))), (0, 2, 1))
        x = self.patch_norm(self.patches(self._patches(ops.reshape(x, (-1, *self.size)))))
        x = self.stack(self.positions(x), training=training)
        return {"sequence": x, "pooled": x[:, 0]}

    def _patches(self, x):
        """(B, rows, columns) -> (B, P, numbers of a patch), row by row."""
        (high, wide), (down, along), (rows, columns) = self.window, self.stride, self.grid
        bands = [x[:, i * down : i * down + high] for i in range(rows)]
        parts = [
            ops.reshape(band[:, :, j * along : j * along + wide], (-1, 1, high * wide))
            for band in bands
            for j in range(columns)
        ]
        return ops.concatenate(parts, axis=1)

    def get_config(self) -> dict:
        mel = None if self.mel is None else dataclasses.asdict(self.mel)
        return {**super().get_config(), "mel": mel}
