"""Sound in, text out: an encoder over sound and a decoder that reads it."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import count_up, transformer_config
from modelzoo.backbones.memory_decoder import MemoryDecoder
from modelzoo.layers.embedding import TextEmbedding, TokenEmbedding
from modelzoo.layers.frontends.mel import MelConfig
from modelzoo.layers.frontends.mel_stem import MelStem
from modelzoo.layers.frontends.wave_stem import WaveStem
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class SpeechEncoderDecoder(MemoryDecoder):
    """A stack over a window of sound, and a causal one over tokens that attends to it.

    Call: `{"audio": (B, N), "token_ids": (B, T), "padding_mask": (B, T)}`, the mask optional,
    N = `num_samples` of `processing` -> hidden states (B, T, hidden_dim). A model that hears
    samples takes `num_samples` (B,) too, the real ones.

    `encode` and `step` are what generation takes, in Keras and on a device.

    Args:
        config: of both stacks, or where `encoder_config` is given of the decoder.
        max_length: positions of the decoder.
        mel, num_columns: of the spectrogram that the encoder reads; see `MelStem`.
        num_samples: instead of those, for an encoder that reads samples; see `WaveStem`.
        positions: of the decoder: `"learned"`, or `"none"` where its config has rotary ones.

    Attributes:
        takes_length: whether the real length of a sound counts.
    """

    def __init__(
        self,
        config,
        vocab_size: int,
        num_layers: int,
        num_decoder_layers: int,
        max_length: int,
        mel=None,
        num_columns: int | None = None,
        num_samples: int | None = None,
        encoder_config=None,
        positions: str = "learned",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        encoder_config = config if encoder_config is None else transformer_config(encoder_config)
        policy, stddev = self.dtype_policy, config.initializer_range
        self.config, self.vocab_size, self.max_length = config, vocab_size, max_length
        self.hidden_dim, self.takes_length = config.hidden_dim, mel is None

        # === Layers ===
        if mel is None:
            rate, width = 16_000, config.hidden_dim
            self.stem = WaveStem(num_samples, width, stddev, dtype=policy, name="stem")
            self.memory_length = self.stem.num_tokens
        else:
            mel = mel if isinstance(mel, MelConfig) else MelConfig(**mel)
            rate, self.memory_length = mel.sample_rate, num_columns // 2
            self.stem = MelStem(
                mel,
                num_columns,
                config.hidden_dim,
                config.activation,
                stddev,
                dtype=policy,
                name="stem",
            )
        self.num_samples = self.stem.num_samples
        sound = {"sample_rate": rate, "num_samples": self.num_samples, "padding": "zeros"}
        self.processing = {"audio": sound}
        self.encoder = TransformerStack(encoder_config, num_layers, dtype=policy, name="encoder")
        self.tokens = TokenEmbedding(
            vocab_size, config.hidden_dim, stddev, dtype=policy, name="tokens"
        )
        self.decoder_embedding = TextEmbedding(
            config,
            self.tokens,
            positions,
            max_length,
            dtype=policy,
            name="decoder_embedding",
        )
        self.decoder = TransformerStack(
            config,
            num_decoder_layers,
            causal=True,
            cross_attention=True,
            dtype=policy,
            name="decoder",
        )
        self.head = None
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.build()

    def build(self, input_shape=None) -> None:
        for part in (self.stem, self.encoder, self.decoder_embedding, self.decoder):
            part.build()
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        encoded, mask = self._encode(inputs["audio"], inputs.get("num_samples"), training)
        target = inputs["token_ids"]
        x = self.decoder_embedding(target, count_up(target), training=training)
        return self.decoder(
            x,
            padding_mask=inputs.get("padding_mask"),
            encoded=encoded,
            encoded_mask=mask,
            training=training,
        )

    def _encode(self, audio, num_samples, training):
        """(B, S, hidden_dim), and which of it is of real sound, or None for all."""
        x, mask = self.stem(audio, num_samples) if self.takes_length else (self.stem(audio), None)
        x = self.dropout(x, training=training)
        return self.encoder(x, padding_mask=mask, training=training), mask

    def encode(self, audio, num_samples=None) -> dict:
        """Sound (B, N) as cross-attention keys and values: cross_k_i, cross_v_i.

        Where the length counts also memory_mask (B, S) int32, 1 for what is real.
        """
        encoded, mask = self._encode(audio, num_samples, False)
        memory = self.decoder.project_memory(encoded)
        return memory if mask is None else {**memory, "memory_mask": ops.cast(mask, "int32")}
