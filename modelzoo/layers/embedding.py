"""From token ids to vectors, and with the same table from vectors to logits."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.layers.backend.lookup import lookup
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.dense import normal, projection
from modelzoo.layers.norms import make_norm
from modelzoo.layers.positions import LearnedPositions, sine_positions
from modelzoo.signature import Tensor


class TokenEmbedding(keras.layers.Layer):
    """A table (vocab_size, hidden_dim) that is read both ways (Press and Wolf 2017).

    Call: token ids (B, T) int32 -> (B, T, hidden_dim). An id of -1 ("nothing here") reads row 0.
    `logits`: (B, T, hidden_dim) -> (B, T, vocab_size).
    """

    def __init__(self, vocab_size, hidden_dim, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size, self.hidden_dim = vocab_size, hidden_dim
        self.initializer_range = initializer_range

    def build(self, input_shape=None) -> None:
        self.embeddings = self.add_weight(
            shape=(self.vocab_size, self.hidden_dim),
            initializer=normal(self.initializer_range),
            name="embeddings",
        )
        self.built = True

    def call(self, token_ids) -> Tensor:
        ids = ops.maximum(ops.cast(token_ids, "int32"), 0)
        return ops.cast(lookup(self.embeddings, ids), self.compute_dtype)

    def logits(self, x) -> Tensor:
        # Tied, so a bundle stores the table once.
        return ops.matmul(x, ops.cast(ops.transpose(self.embeddings), x.dtype))


class TextEmbedding(keras.layers.Layer):
    """Tokens, plus positions, plus segments, normalised: what enters the first block.

    Args:
        tokens: the token table, shared with whoever else reads it. Vectors of another width than
            `hidden_dim` are projected (Lan et al. 2019, 3.1; OPT-350M).
        positions: `"learned"`, `"sine"`, or `"none"` for rotary and relative positions, which
            belong to attention.
        max_length: rows of learned positions.
        position_offset: rows before position 0 (BART: 2).
        num_segments: rows of segment embeddings (BERT: 2), or 0.
        norm: normalise the sum (BERT, BART).
        scale: factor on the token vectors (Transformer: `sqrt(hidden_dim)`).

    Call: token_ids (B, T), positions (B or 1, T), segment_ids (B, T) or None -> (B, T, hidden_dim).
    """

    def __init__(
        self,
        config: TransformerConfig,
        tokens: TokenEmbedding,
        positions: str = "learned",
        max_length: int | None = None,
        position_offset: int = 0,
        num_segments: int = 0,
        norm: bool = False,
        scale: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.config, self.tokens, self.scale = config, tokens, scale
        self.sine = positions == "sine"
        self.projection = self.learned = self.segments = self.norm = None
        if tokens.hidden_dim != config.hidden_dim:
            self.projection = projection(
                config.hidden_dim,
                config.initializer_range,
                use_bias=False,
                dtype=policy,
                name="projection",
            )
        if positions == "learned":
            self.learned = LearnedPositions(
                max_length,
                config.hidden_dim,
                position_offset,
                config.initializer_range,
                dtype=policy,
                name="positions",
            )
        if num_segments:
            self.segments = TokenEmbedding(
                num_segments,
                config.hidden_dim,
                config.initializer_range,
                dtype=policy,
                name="segments",
            )
        if norm:
            self.norm = make_norm(config, dtype=policy, name="norm")
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)

    def build(self, input_shape=None) -> None:
        if not self.tokens.built:
            self.tokens.build()
        if self.projection is not None:
            self.projection.build((None, None, self.tokens.hidden_dim))
        for layer in (self.learned, self.segments):
            if layer is not None:
                layer.build()
        if self.norm is not None:
            self.norm.build((None, None, self.config.hidden_dim))
        self.built = True

    def call(self, token_ids, positions, segment_ids=None, training=None) -> Tensor:
        x = self.tokens(token_ids)
        if self.scale != 1.0:
            x = x * self.scale
        if self.projection is not None:
            x = self.projection(x)
        if self.learned is not None:
            x = x + self.learned(positions)
        if self.sine:
            x = x + sine_positions(positions, self.config.hidden_dim, self.compute_dtype)
        if self.segments is not None:
            ids = ops.zeros_like(token_ids) if segment_ids is None else segment_ids
            x = x + self.segments(ids)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(x, training=training)
