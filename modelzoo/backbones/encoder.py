"""A bidirectional text encoder: BERT and its kin."""

from __future__ import annotations

import keras

from modelzoo.backbones.base import Backbone, count_up, text_inputs, transformer_config
from modelzoo.layers.dense import projection
from modelzoo.layers.embedding import TextEmbedding, TokenEmbedding
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class Encoder(Backbone):
    """Embeddings, a stack of blocks that see both ways, and a pooler if asked.

    Call: `{"token_ids": (B, T), "padding_mask": (B, T), "segment_ids": (B, T)}`, the last two
    optional, or the token ids alone -> `{"sequence": (B, T, hidden_dim)}` and with a pooler
    `"pooled": (B, hidden_dim)`, a dense tanh layer over the first token (Devlin et al. 2019).
    """

    def __init__(
        self,
        config,
        vocab_size: int,
        num_layers: int,
        max_length: int,
        positions: str = "learned",
        position_offset: int = 0,
        num_segments: int = 0,
        embedding_norm: bool = False,
        final_norm: bool = True,
        pooler: bool = False,
        embedding_dim: int | None = None,
        relative_buckets: int = 0,
        share_layers: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy = self.dtype_policy
        self.config, self.vocab_size, self.max_length = config, vocab_size, max_length
        self.num_segments = num_segments

        # === Layers ===
        stddev = config.initializer_range
        self.tokens = TokenEmbedding(
            vocab_size, embedding_dim or config.hidden_dim, stddev, dtype=policy, name="tokens"
        )
        self.embedding = TextEmbedding(
            config,
            self.tokens,
            positions,
            max_length,
            position_offset,
            num_segments=num_segments,
            norm=embedding_norm,
            dtype=policy,
            name="embedding",
        )
        self.stack = TransformerStack(
            config,
            num_layers,
            relative_buckets=relative_buckets,
            share_layers=share_layers,
            final_norm=final_norm,
            dtype=policy,
            name="stack",
        )
        self.pooler = None
        if pooler:
            self.pooler = projection(
                config.hidden_dim, stddev, activation="tanh", dtype=policy, name="pooler"
            )
        self.build()

    def build(self, input_shape=None) -> None:
        self.embedding.build()
        self.stack.build()
        if self.pooler is not None:
            self.pooler.build((None, self.config.hidden_dim))
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        token_ids, padding_mask, segment_ids = text_inputs(inputs)
        x = self.embedding(token_ids, count_up(token_ids), segment_ids, training=training)
        x = self.stack(x, padding_mask=padding_mask, training=training)
        outputs = {"sequence": x}
        if self.pooler is not None:
            outputs["pooled"] = self.pooler(x[:, 0])
        return outputs
