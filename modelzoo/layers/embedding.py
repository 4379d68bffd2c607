"""From token ids to vectors, and with the same table from vectors to logits."""

from __future__ import annotations

from typing import Literal

import keras
from keras import ops

from modelzoo.layers.backend.lookup import lookup
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.dense import normal, projection
from modelzoo.layers.norms import make_norm
from modelzoo.layers.positions import SINES, LearnedPositions, sine_positions
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
        tokens: the token table, shared with whoever else reads it. Where it is narrower than
            `hidden_dim`, a dense layer widens it; see `widen`.
        positions: `"learned"`, one of `positions.SINES`, or `"none"` for rotary and relative
            positions, which belong to attention.
        max_length: rows of learned positions.
        position_offset: what position 0 is counted as (BART: 2).
        num_segments: rows of segment embeddings (BERT: 2), or 0.
        norm: normalise the sum (BERT, BART).
        scale: factor on the token vectors (Transformer: `sqrt(hidden_dim)`).
        widen: what a dense layer makes `hidden_dim` wide: the `"sum"`, normalised (ALBERT, Lan et
            al. 2020, 3.1), or the `"tokens"` alone, without a bias (OPT-350M, Zhang et al. 2022).

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
        widen: Literal["sum", "tokens"] = "sum",
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy, width = self.dtype_policy, tokens.hidden_dim
        self.config, self.tokens, self.scale = config, tokens, scale
        self.sine = positions if positions in SINES else None
        self.offset, self.widens_tokens = position_offset, widen == "tokens"
        self.learned = self.segments = self.norm = self.projection = None
        if tokens.hidden_dim != config.hidden_dim:
            self.projection = projection(
                config.hidden_dim,
                config.initializer_range,
                use_bias=not self.widens_tokens,
                dtype=policy,
                name="projection",
            )
            width = config.hidden_dim if self.widens_tokens else width
        if positions == "learned":
            self.learned = LearnedPositions(
                max_length,
                width,
                position_offset,
                config.initializer_range,
                dtype=policy,
                name="positions",
            )
        if num_segments:
            self.segments = TokenEmbedding(
                num_segments,
                width,
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
        for layer in (self.learned, self.segments):
            if layer is not None:
                layer.build()
        narrow, wide = self.tokens.hidden_dim, self.config.hidden_dim
        if self.norm is not None:
            self.norm.build((None, None, wide if self.widens_tokens else narrow))
        if self.projection is not None:
            self.projection.build((None, None, narrow))
        self.built = True

    def call(self, token_ids, positions, segment_ids=None, training=None) -> Tensor:
        x = self.tokens(token_ids)
        if self.scale != 1.0:
            x = x * self.scale
        if self.projection is not None and self.widens_tokens:
            x = self.projection(x)
        if self.learned is not None:
            x = x + self.learned(positions)
        if self.sine is not None:
            places = positions + self.offset
            x = x + sine_positions(places, x.shape[-1], self.compute_dtype, self.sine)
        if self.segments is not None:
            ids = ops.zeros_like(token_ids) if segment_ids is None else segment_ids
            x = x + self.segments(ids)
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x, training=training)
        return x if self.projection is None or self.widens_tokens else self.projection(x)
