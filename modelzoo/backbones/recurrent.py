"""Recurrent networks: the LSTM and GRU language models that every decoder has to beat, and
encoders that read both ways.
"""

from __future__ import annotations

from functools import partial

import keras
from keras import ops

from modelzoo.backbones.base import Backbone, text_inputs
from modelzoo.layers.embedding import TokenEmbedding
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class Recurrent(Backbone):
    """Embedding, a pile of LSTM or GRU layers, and a head, tied or not (Zaremba et al. 2014).

    Call: `{"token_ids": (B, T), "padding_mask": (B, T)}` or the token ids alone -> hidden states
    (B, T, width of the last layer). Masked steps leave the state as it was.

    The same protocol as `Decoder`, with the layers' states in the place of keys and values: a
    device needs memory for one state, whatever the length of the text.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_dims,
        cell: str = "lstm",
        tie_embeddings: bool = False,
        dropout: float = 0.0,
        initializer_range: float = 0.05,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        policy = self.dtype_policy
        self.vocab_size, self.embedding_dim, self.cell = vocab_size, embedding_dim, cell
        self.hidden_dims = tuple(hidden_dims)
        self.max_length = None  # no window: the state is all that is kept
        uniform = keras.initializers.RandomUniform(-initializer_range, initializer_range)

        # === Layers ===
        self.tokens = TokenEmbedding(
            vocab_size, embedding_dim, initializer_range, dtype=policy, name="tokens"
        )
        layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
        self.recurrent = [
            layer(width, return_sequences=True, dtype=policy, name=f"{cell}_{i}")
            for i, width in enumerate(self.hidden_dims)
        ]
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.head = self.head_bias = None
        if tie_embeddings:
            self.head_bias = self.add_weight(
                shape=(vocab_size,), initializer="zeros", name="head_bias"
            )
        else:
            self.head = keras.layers.Dense(
                vocab_size, kernel_initializer=uniform, dtype=policy, name="head"
            )
        self.build()

    def build(self, input_shape=None) -> None:
        self.tokens.build()
        width = self.embedding_dim
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = layer.units
        if self.head is not None:
            self.head.build((None, None, width))
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        token_ids, padding_mask, _ = text_inputs(inputs)
        mask = None if padding_mask is None else ops.cast(padding_mask, "bool")
        x = self.dropout(self.tokens(token_ids), training=training)
        for layer in self.recurrent:
            x = self.dropout(layer(x, mask=mask, training=training), training=training)
        return x

    def logits(self, hidden) -> Tensor:
        """(B, T, width) -> (B, T, vocab_size)."""
        if self.head is not None:
            return self.head(hidden)
        return self.tokens.logits(hidden) + ops.cast(self.head_bias, hidden.dtype)

    def init_cache(self, batch_size: int, max_length: int | None = None) -> dict:
        """Zero states: state_h_i and for LSTM state_c_i, each (B, width)."""
        kinds = ("h", "c") if self.cell == "lstm" else ("h",)
        return {
            f"state_{kind}_{i}": ops.zeros((batch_size, width), self.compute_dtype)
            for i, width in enumerate(self.hidden_dims)
            for kind in kinds
        }

    def step(self, token_ids, positions, cache: dict) -> tuple:
        """Run T tokens (B, T) int32, one after the other; an id of -1 leaves its row's state alone.

        Positions are taken for the sake of the protocol. Returns: logits (B, T, vocab_size) and
        the new states.
        """
        x = self.tokens(token_ids)
        real = ops.expand_dims(token_ids >= 0, -1)  # (B, T, 1)
        cache = dict(cache)
        for i, layer in enumerate(self.recurrent):
            names = [name for name in (f"state_h_{i}", f"state_c_{i}") if name in cache]
            states, outputs = [cache[name] for name in names], []
            for t in range(token_ids.shape[1]):  # unrolled: T is static and small
                _, new = layer.cell(x[:, t], states, training=False)
                states = [ops.where(real[:, t], n, s) for n, s in zip(new, states, strict=True)]
                outputs.append(states[0])
            x = ops.stack(outputs, axis=1)
            cache.update(zip(names, states, strict=True))
        return self.logits(x), cache


@keras.saving.register_keras_serializable("modelzoo")
class RecurrentEncoder(Backbone):
    """Embedding and a pile of LSTM or GRU layers that read both ways (Graves & Schmidhuber 2005).

    Call: `{"token_ids": (B, T), "padding_mask": (B, T)}` or the token ids alone -> (B, T,
    hidden_dim), the two directions of the last layer side by side. Padding on the right leaves the
    states as they were, so that the way back begins at the last real token.

    The cells are PyTorch's: `weights.torch_recurrent` reads a `torch.nn.LSTM` or `GRU`.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_dims,
        cell: str = "lstm",
        dropout: float = 0.0,
        initializer_range: float = 0.05,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        policy = self.dtype_policy
        self.vocab_size, self.embedding_dim, self.cell = vocab_size, embedding_dim, cell
        self.hidden_dims = tuple(hidden_dims)
        self.hidden_dim = 2 * self.hidden_dims[-1]
        self.max_length = None

        # === Layers ===
        self.tokens = TokenEmbedding(
            vocab_size, embedding_dim, initializer_range, dtype=policy, name="tokens"
        )
        make = {
            "lstm": keras.layers.LSTM,
            # Two biases: what the reset gate multiplies has one of its own, as PyTorch's.
            "gru": partial(keras.layers.GRU, reset_after=True),
        }[cell]
        self.forth, self.back = (
            [
                make(width, return_sequences=True, dtype=policy, name=f"{cell}_{i}{way}", **how)
                for i, width in enumerate(self.hidden_dims)
            ]
            for way, how in (("", {}), ("_back", {"go_backwards": True}))
        )
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.build()

    def build(self, input_shape=None) -> None:
        self.tokens.build()
        width = self.embedding_dim
        for forth, back in zip(self.forth, self.back, strict=True):
            forth.build((None, None, width))
            back.build((None, None, width))
            width = 2 * forth.units
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        token_ids, padding_mask, _ = text_inputs(inputs)
        mask = None if padding_mask is None else ops.cast(padding_mask, "bool")
        x = self.dropout(self.tokens(token_ids), training=training)
        for forth, back in zip(self.forth, self.back, strict=True):
            ways = forth(x, mask=mask, training=training), back(x, mask=mask, training=training)
            x = ops.concatenate([ways[0], ops.flip(ways[1], axis=1)], axis=-1)
            x = self.dropout(x, training=training)
        return x
