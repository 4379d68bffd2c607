"""An encoder and a decoder that reads it: T5, BART and the first Transformer."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import count_up, transformer_config
from modelzoo.backbones.memory_decoder import MemoryDecoder
from modelzoo.layers.dense import projection
from modelzoo.layers.embedding import TextEmbedding, TokenEmbedding
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class EncoderDecoder(MemoryDecoder):
    """Two stacks over one token table; the second attends to what the first made of the source.

    Call: `{"token_ids": (B, S), "padding_mask": (B, S), "decoder_token_ids": (B, T),
    "decoder_padding_mask": (B, T)}`, masks optional -> hidden states (B, T, hidden_dim).
    """

    def __init__(
        self,
        config,
        vocab_size: int,
        num_layers: int,
        num_decoder_layers: int,
        max_length: int,
        positions: str = "learned",
        position_offset: int = 0,
        relative_buckets: int = 0,
        relative_max_distance: int = 128,
        relative_each: bool = False,
        embedding_norm: bool = False,
        embedding_scale: float = 1.0,
        embedding_range: float | None = None,
        final_norm: bool = True,
        tie_embeddings: bool = True,
        logit_scale: float = 1.0,
        logit_bias: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy = self.dtype_policy
        self.config, self.vocab_size, self.max_length = config, vocab_size, max_length
        self.logit_scale = logit_scale

        # === Layers ===
        self.tokens = TokenEmbedding(
            vocab_size,
            config.hidden_dim,
            embedding_range or config.initializer_range,
            dtype=policy,
            name="tokens",
        )

        def embedding(name):
            return TextEmbedding(
                config,
                self.tokens,
                positions,
                max_length,
                position_offset,
                norm=embedding_norm,
                scale=embedding_scale,
                dtype=policy,
                name=name,
            )

        def stack(name, layers, **options):
            return TransformerStack(
                config,
                layers,
                relative_buckets=relative_buckets,
                relative_max_distance=relative_max_distance,
                relative_each=relative_each,
                final_norm=final_norm,
                dtype=policy,
                name=name,
                **options,
            )

        self.encoder_embedding = embedding("encoder_embedding")
        self.encoder = stack("encoder", num_layers)
        self.decoder_embedding = embedding("decoder_embedding")
        self.decoder = stack("decoder", num_decoder_layers, causal=True, cross_attention=True)
        self.logit_bias = None
        if logit_bias:
            self.logit_bias = self.add_weight((vocab_size,), "zeros", name="logit_bias")
        self.head = None
        if not tie_embeddings:
            self.head = projection(
                vocab_size, config.initializer_range, use_bias=False, dtype=policy, name="head"
            )
        self.build()

    def build(self, input_shape=None) -> None:
        for part in (self.encoder_embedding, self.encoder, self.decoder_embedding, self.decoder):
            part.build()
        if self.head is not None:
            self.head.build((None, None, self.config.hidden_dim))
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        encoded, source_mask = self._read(inputs, training)
        target = inputs["decoder_token_ids"]
        x = self.decoder_embedding(target, count_up(target), training=training)
        return self.decoder(
            x,
            padding_mask=inputs.get("decoder_padding_mask"),
            encoded=encoded,
            encoded_mask=source_mask,
            training=training,
        )

    def _read(self, inputs, training) -> tuple:
        """What the encoder makes of a source, and which of it is real."""
        token_ids, mask = inputs["token_ids"], inputs.get("padding_mask")
        x = self.encoder_embedding(token_ids, count_up(token_ids), training=training)
        return self.encoder(x, padding_mask=mask, training=training), mask

    def logits(self, hidden) -> Tensor:
        """(B, T, hidden_dim) -> (B, T, vocab_size)."""
        if self.logit_scale != 1.0:
            # A vector: the TFLite converter would fold a number into a second copy of the table.
            hidden = hidden * ops.full(hidden.shape[-1:], self.logit_scale, hidden.dtype)
        logits = super().logits(hidden)
        if self.logit_bias is not None:
            logits = logits + ops.cast(self.logit_bias, logits.dtype)
        return logits

    def encode(self, token_ids, padding_mask=None) -> dict:
        """The source (B, S) as cross-attention keys and values: cross_k_i, cross_v_i."""
        source = {"token_ids": token_ids, "padding_mask": padding_mask}
        return self.decoder.project_memory(self._read(source, False)[0])
