"""A causal decoder: the GPT line, classical and modern."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import Backbone, count_up, text_inputs, transformer_config
from modelzoo.errors import RecipeError
from modelzoo.layers.dense import projection
from modelzoo.layers.embedding import TextEmbedding, TokenEmbedding
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class Decoder(Backbone):
    """Embeddings, a causal stack of blocks, and a language-model head, tied or not.

    Call: `{"token_ids": (B, T), "padding_mask": (B, T)}` or the token ids alone -> hidden states
    (B, T, hidden_dim); `logits` turns those into (B, T, vocab_size).

    `step` runs T tokens over a cache; Keras' `generate()`, SavedModel and TFLite all use it.
    """

    def __init__(
        self,
        config,
        vocab_size: int,
        num_layers: int,
        max_length: int,
        positions: str = "learned",
        embedding_norm: bool = False,
        final_norm: bool = True,
        tie_embeddings: bool = True,
        embedding_scale: float = 1.0,
        embedding_dim: int | None = None,
        position_offset: int = 0,
        relative_buckets: int = 0,
        head_bias: bool = False,
        logit_scale: float = 1.0,
        logit_softcap: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy = self.dtype_policy
        self.config, self.vocab_size, self.max_length = config, vocab_size, max_length
        self.logit_scale, self.logit_softcap = logit_scale, logit_softcap
        if head_bias and tie_embeddings:
            raise RecipeError("head_bias needs a head of its own: tie_embeddings = false")

        # === Layers ===
        stddev = config.initializer_range
        width = embedding_dim or config.hidden_dim
        self.tokens = TokenEmbedding(vocab_size, width, stddev, dtype=policy, name="tokens")
        self.embedding = TextEmbedding(
            config,
            self.tokens,
            positions,
            max_length,
            position_offset,
            norm=embedding_norm,
            scale=embedding_scale,
            widen="tokens",
            dtype=policy,
            name="embedding",
        )
        self.stack = TransformerStack(
            config,
            num_layers,
            causal=True,
            relative_buckets=relative_buckets,
            final_norm=final_norm,
            max_length=max_length,
            dtype=policy,
            name="stack",
        )
        self.output_projection = self.head = None
        if width != config.hidden_dim:
            self.output_projection = projection(
                width, stddev, use_bias=False, dtype=policy, name="output_projection"
            )
        if not tie_embeddings:
            self.head = projection(
                vocab_size, stddev, use_bias=head_bias, dtype=policy, name="head"
            )
        self.build()

    def build(self, input_shape=None) -> None:
        self.embedding.build()
        self.stack.build()
        if self.output_projection is not None:
            self.output_projection.build((None, None, self.config.hidden_dim))
        if self.head is not None:
            self.head.build((None, None, self.tokens.hidden_dim))
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        token_ids, padding_mask, _ = text_inputs(inputs)
        x = self.embedding(token_ids, count_up(token_ids), training=training)
        return self.stack(x, padding_mask=padding_mask, training=training)

    def logits(self, hidden) -> Tensor:
        """(B, T, hidden_dim) -> (B, T, vocab_size)."""
        if self.output_projection is not None:
            hidden = self.output_projection(hidden)
        cap, biased = self.logit_softcap, self.head is not None and self.head.use_bias
        factor = self.logit_scale / (cap or 1.0)
        if factor != 1.0 and not biased:
            # By a vector, and before the logits: the TFLite converter would multiply a number, or
            # what comes after, into a second copy of tied embeddings.
            hidden = hidden * ops.full((hidden.shape[-1],), factor, hidden.dtype)
        logits = self.tokens.logits(hidden) if self.head is None else self.head(hidden)
        logits = logits * factor if factor != 1.0 and biased else logits
        return logits if cap is None else cap * ops.tanh(logits)

    def init_cache(self, batch_size: int, max_length: int) -> dict:
        """An empty cache for `max_length` tokens; see `TransformerStack.init_cache`."""
        return self.stack.init_cache(batch_size, max_length)

    def step(self, token_ids, positions, cache: dict) -> tuple:
        """Run T tokens at consecutive `positions`, both (B, T) int32.

        Returns: logits (B, T, vocab_size) and the new cache.
        """
        x = self.embedding(token_ids, positions, training=False)
        x, cache = self.stack.step(x, positions, cache)
        return self.logits(x), cache
