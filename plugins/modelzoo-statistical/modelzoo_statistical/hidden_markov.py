"""The hidden Markov model as a Keras backbone: the forward algorithm is its forward pass.

Letters: B rows, T tokens, K states, V vocabulary.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from modelzoo.backbones.base import Backbone, text_inputs
from modelzoo.layers.backend.lookup import lookup
from modelzoo_statistical.markov import Chain

# Below this a probability counts as this: its logarithm is a number in float32, and so is the
# product of two.
TINY = 1e-18


@keras.saving.register_keras_serializable("modelzoo_statistical")
class HiddenMarkov(Backbone):
    """A chain of hidden states, each of which emits a token.

    Call: `{"token_ids": (B, T), "padding_mask": (B, T)}` or the ids alone -> (B, T, K), the
    probabilities of the next state by the tokens so far. Masked steps change nothing.
    `logits`: (B, T, K) -> (B, T, V), log probabilities of the next token.

    The parameters are logits: softmax makes distributions of them, so that any optimizer may move
    them. Cross-entropy of the next token, descended by gradient through the forward algorithm,
    maximises the likelihood as expectation maximisation (`markov.baum_welch`) does.
    """

    def __init__(self, vocab_size, num_states, initializer_range=1.0, **kwargs):
        super().__init__(**kwargs)
        self._remember(locals())
        self.vocab_size, self.num_states = vocab_size, num_states
        self.max_length = None  # the belief is all that is kept

        def logits(name, *shape):
            # float32 in any policy: products of many probabilities need the range.
            normal = keras.initializers.RandomNormal(0.0, initializer_range)
            return self.add_weight(
                shape=shape, initializer=normal, dtype="float32", autocast=False, name=name
            )

        self.initial_logits = logits("initial", num_states)
        self.transition_logits = logits("transition", num_states, num_states)
        self.emission_logits = logits("emission", vocab_size, num_states)  # a row a token
        self.built = True

    # === Distributions ===

    def initial(self):
        """(K,)"""
        return ops.maximum(ops.softmax(self.initial_logits), TINY)

    def transition(self):
        """(K, K), row i: of each state after state i."""
        return ops.softmax(self.transition_logits, axis=-1)

    def emission(self):
        """(V, K), column i: of each token in state i."""
        return ops.softmax(self.emission_logits, axis=0)

    @property
    def chain(self) -> Chain:
        """The parameters as numpy arrays, for `markov.viterbi` and the like."""
        arrays = (self.initial(), self.transition(), ops.transpose(self.emission()))
        found = (np.asarray(ops.convert_to_numpy(array), np.float64) for array in arrays)
        return Chain(*(array / array.sum(-1, keepdims=True) for array in found))

    def assign(self, chain: Chain) -> None:
        """Take over a chain's distributions."""
        self.initial_logits.assign(_log(chain.initial))
        self.transition_logits.assign(_log(chain.transition))
        self.emission_logits.assign(_log(chain.emission.T))

    # === The forward algorithm ===

    def call(self, inputs, training=None):
        token_ids, padding_mask, _ = text_inputs(inputs)
        real = ops.ones_like(token_ids) if padding_mask is None else padding_mask
        real = ops.expand_dims(ops.cast(real, "bool"), -1)
        rows = _evened(lookup(self.emission(), ops.cast(token_ids, "int32")))  # (B, T, K)
        transition = self.transition()
        start = ops.zeros_like(rows[:, 0]) + self.initial()

        def one(belief, step):
            row, there = step
            belief = ops.where(there, _next(belief, row, transition), belief)
            return belief, belief

        by_time = ops.transpose(rows, (1, 0, 2)), ops.transpose(real, (1, 0, 2))
        _, beliefs = ops.scan(one, start, by_time)
        return ops.transpose(beliefs, (1, 0, 2))

    def logits(self, hidden):
        """(B, T, K) -> (B, T, V)."""
        return self._log_emitted(hidden, self.emission())

    def init_cache(self, batch_size: int, max_length: int | None = None) -> dict:
        """state_belief (B, K): the logarithm of the belief over the initial distribution, so that
        a state of zeros is the start."""
        return {"state_belief": ops.zeros((batch_size, self.num_states), "float32")}

    def step(self, token_ids, positions, cache: dict) -> tuple:
        """Read T tokens (B, T) int32, one after the other; an id of -1 leaves its row as it is.

        Positions are taken for the sake of the protocol. Returns: logits (B, T, V) and the state.
        """
        emission, transition, initial = self.emission(), self.transition(), self.initial()
        rows = _evened(lookup(emission, ops.maximum(token_ids, 0)))
        real = ops.expand_dims(token_ids >= 0, -1)
        belief = ops.exp(cache["state_belief"]) * initial
        beliefs = []
        for t in range(token_ids.shape[1]):  # unrolled: T is static and small
            belief = ops.where(real[:, t], _next(belief, rows[:, t], transition), belief)
            beliefs.append(belief)
        state = ops.log(ops.maximum(belief, TINY)) - ops.log(initial)
        return self._log_emitted(ops.stack(beliefs, axis=1), emission), {"state_belief": state}

    def _log_emitted(self, beliefs, emission):
        emitted = ops.matmul(beliefs, ops.transpose(emission))
        return ops.log(ops.maximum(emitted, TINY * TINY))


def _evened(rows):
    """Probabilities (…, K) of one token in each state, such that the largest is 1: what it is by
    itself does not matter, and small ones multiply to nothing."""
    return rows / ops.maximum(ops.max(rows, axis=-1, keepdims=True), TINY * TINY)


def _next(belief, row, transition):
    """The belief (B, K) about the next state, after a token with the row (B, K)."""
    joint = ops.maximum(belief, TINY) * ops.maximum(row, TINY)
    return ops.matmul(joint / ops.sum(joint, axis=-1, keepdims=True), transition)


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, TINY)).astype(np.float32)
