"""A spectrogram read as a picture: the Audio Spectrogram Transformer."""

from __future__ import annotations

import keras

from modelzoo.backbones.base import Backbone, transformer_config
from modelzoo.layers.frontends.mel import MelConfig
from modelzoo.layers.frontends.spectrogram import LogMelSpectrogram
from modelzoo.layers.frontends.spectrogram_patches import SpectrogramPatches
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class AudioTransformer(Backbone):
    """Log-mel spectrogram, patches, a stack of blocks that see all of them.

    Call: `{"audio": (B, N), "num_samples": (B,)}`, the second optional, or the audio alone, with
    N = `num_samples` of `processing` -> `{"sequence": (B, 2 + P, hidden_dim), "pooled": (B,
    hidden_dim)}`: the mean of the class token and the distillation token.

    Args:
        config: a `TransformerConfig`.
        mel: a `MelConfig` whose columns begin at a sample, not about it.
        num_columns: of the spectrogram; N is what they take.
    """

    def __init__(
        self,
        config,
        num_layers: int,
        mel,
        num_columns: int,
        patch_size: int = 16,
        time_stride: int = 10,
        frequency_stride: int = 10,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        self.config = config = transformer_config(config)
        mel = mel if isinstance(mel, MelConfig) else MelConfig(**mel)
        policy = self.dtype_policy
        self.hidden_dim, self.max_length = config.hidden_dim, None
        self.num_samples = (num_columns - 1) * mel.hop + mel.frame_length
        self.processing = {
            "audio": {
                "sample_rate": mel.sample_rate,
                "num_samples": self.num_samples,
                "padding": "zeros",
            }
        }

        # === Layers ===
        self.spectrogram = LogMelSpectrogram(mel, name="spectrogram")
        self.patches = SpectrogramPatches(
            num_columns,
            mel.num_mels,
            config.hidden_dim,
            patch_size,
            time_stride,
            frequency_stride,
            config.initializer_range,
            dtype=policy,
            name="patches",
        )
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.stack = TransformerStack(config, num_layers, dtype=policy, name="stack")
        self.build()

    def build(self, input_shape=None) -> None:
        for layer in (self.spectrogram, self.patches, self.stack):
            layer.build()
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        inputs = inputs if isinstance(inputs, dict) else {"audio": inputs}
        audio = keras.ops.reshape(inputs["audio"], (-1, self.num_samples))
        mel = self.spectrogram(audio, inputs.get("num_samples"))
        x = self.dropout(self.patches(mel), training=training)
        x = self.stack(x, training=training)
        return {"sequence": x, "pooled": (x[:, 0] + x[:, 1]) / 2}
