"""n-gram language models as Keras models: `fit` counts, and nothing descends.

Letters: B rows, T tokens, N order, V vocabulary.
"""

from __future__ import annotations

import zlib

import keras
import numpy as np
from keras import ops

from modelzoo.backbones.base import Backbone, text_inputs
from modelzoo.errors import ExportError
from modelzoo.tasks.causal_lm import CausalLM
from modelzoo_statistical.estimator import Estimator, contexts_of, estimate
from modelzoo_statistical.host import on_host
from modelzoo_statistical.text_store import TextStore, pieces_of


@keras.saving.register_keras_serializable("modelzoo_statistical")
class Ngram(Backbone):
    """The next token from the N - 1 before it, by counts of the text that was read.

    Call: `{"token_ids": (B, T), "padding_mask": (B, T)}` or the ids alone -> log probabilities of
    the next token (B, T, V), float32. What the mask leaves out is not there.

    Its variables are the text itself and how long it is; whatever copies a model's weights copies
    an n-gram model. Counts are made of the text when they are needed, and kept while it is the
    same. See `ngram.build` for the arguments.
    """

    def __init__(self, vocab_size, order, smoothing, discount, max_tokens, **kwargs):
        super().__init__(**kwargs)
        self._remember(locals())
        self.vocab_size, self.order = vocab_size, order
        self.smoothing, self.discount, self.max_tokens = smoothing, discount, max_tokens
        self.max_length = None  # the state is N - 1 tokens, however long the text is
        integers = {"initializer": "zeros", "dtype": "int32", "trainable": False}
        self.text = self.add_weight(shape=(max_tokens,), name="text", **integers)
        self.used = self.add_weight(shape=(), name="used", **integers)
        self._kept = _Kept()
        self.built = True

    # === The counts ===

    @property
    def estimator(self) -> Estimator:
        """The probabilities by the text that was read, as numpy arrays."""
        return self._estimator(self.text, self.used)

    def _estimator(self, text, used, stale: bool = False) -> Estimator:
        """With `stale`, one from when the text was more than half as long will do."""
        text = np.asarray(ops.convert_to_numpy(text))[: int(used)]
        return self._kept.estimator(self, text, stale)

    def learn(self, pieces) -> float:
        """Read pieces of text, `(n,) int32` each, the first token of which is context alone.

        Returns: the mean negative log probability of their tokens in nats, by what was counted
            before: by the counts when the text was more than half as long as it is now, at least.

        Raises:
            DataError: the text is longer than `max_tokens`.
        """
        pieces = list(pieces)
        contexts, tokens = _predictions(pieces, self.order)
        before = self._estimator(self.text, self.used, stale=True)
        loss = float(-np.log(before.probabilities(contexts, tokens)).mean()) if len(tokens) else 0.0
        store = self._kept.store(ops.convert_to_numpy(self.text), int(self.used))
        if store.add(pieces):
            self.text.assign(store.text)
            self.used.assign(store.used)
        return loss

    # === The next token ===

    def call(self, inputs, training=None):
        token_ids, padding_mask, _ = text_inputs(inputs)
        real = ops.ones_like(token_ids) if padding_mask is None else padding_mask
        nothing = ops.zeros((ops.shape(token_ids)[0], self.order - 1), "int32")
        contexts = self._contexts(token_ids, real, nothing)
        return self._log_probabilities(contexts)

    def logits(self, hidden):
        """Log probabilities are logits."""
        return hidden

    def init_cache(self, batch_size: int, max_length: int | None = None) -> dict:
        """state_context (B, N - 1) int32: the last tokens, each plus 1; 0 where there is none."""
        return {"state_context": ops.zeros((batch_size, self.order - 1), "int32")}

    def step(self, token_ids, positions, cache: dict) -> tuple:
        """Read T tokens (B, T) int32; an id of -1 is not there.

        Positions are taken for the sake of the protocol. Returns: logits (B, T, V) and the state.
        """
        real = ops.cast(token_ids >= 0, "int32")
        contexts = self._contexts(token_ids, real, cache["state_context"])
        return self._log_probabilities(contexts), {"state_context": contexts[:, -1]}

    def _contexts(self, token_ids, real, past):
        """(B, T, N - 1) int32, the tokens up to and with each place, each plus 1."""
        return on_host(
            lambda ids, real, past: contexts_of(ids, real.astype(bool), past - 1) + 1,
            "int32",
            lambda ids, *_: (*ids, self.order - 1),
            ops.cast(token_ids, "int32"),
            ops.cast(real, "int32"),
            past,
        )

    def _log_probabilities(self, contexts):
        def look_up(contexts, text, used):
            rows, length, width = contexts.shape
            flat = contexts.reshape(rows * length, width).astype(np.int64) - 1
            found = self._estimator(text, used).distributions(flat)
            return np.log(found).reshape(rows, length, self.vocab_size)

        shape = lambda contexts, *_: (*contexts[:2], self.vocab_size)  # noqa: E731
        return on_host(look_up, "float32", shape, contexts, self.text.value, self.used.value)

    def causal_lm(self) -> NgramLM:
        """The causal language model over it, which counts where others descend."""
        return NgramLM(self)


@keras.saving.register_keras_serializable("modelzoo_statistical")
class NgramLM(CausalLM):
    """A causal language model whose `fit` reads each batch once and counts.

    The loss that `fit` shows is that of each batch before it was counted. Passing over the data
    a second time changes nothing. Optimizer and learning rate play no part.

    Example:
        >>> model = modelzoo.build("statistical/kneser-ney-5")
        >>> history = model.fit(modelzoo.dataset(model, "corpus.txt"), verbose=0)
        >>> model.generate("In the beginning", max_new_tokens=5)
        ' God created heaven and earth'
    """

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self._counting = False  # whether the last step counted

    @property
    def run_eagerly(self) -> bool:
        """Always: the work is numpy's, and no graph's."""
        return True

    @run_eagerly.setter
    def run_eagerly(self, value):
        """Whatever `compile` is told."""

    def train_step(self, *arguments):
        # TensorFlow: train_step(data). JAX: train_step(variables, data), which gives them back.
        if len(arguments) == 1:
            return self._count(arguments[0])
        state, data = arguments
        trainable, others, optimizer, metrics = state
        kept = [*self.trainable_variables, *self.non_trainable_variables, *self.metrics_variables]
        mapping = zip(kept, [*trainable, *others, *metrics], strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)) as scope:
            logs = self._count(data)

        def after(variables):
            return [scope.get_current_value(variable) for variable in variables]

        others, metrics = after(self.non_trainable_variables), after(self.metrics_variables)
        return logs, (trainable, others, optimizer, metrics)

    def _count(self, data) -> dict:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        token_ids, padding_mask, _ = text_inputs(x)
        parts = (token_ids, padding_mask, y, weight)
        ids, real, y, weight = (None if p is None else ops.convert_to_numpy(p) for p in parts)
        everywhere = np.ones(ids.shape, bool)
        real = everywhere if real is None else real
        weight = everywhere if weight is None else np.broadcast_to(weight.T, ids.T.shape).T > 0
        loss = self.backbone.learn(pieces_of(ids, real, y, weight))
        self._counting = True
        self._loss_tracker.update_state(loss)
        return self.get_metrics_result()

    def test_step(self, *arguments):
        self._counting = False
        return super().test_step(*arguments)

    def get_metrics_result(self):
        """Of a step that counted, the loss alone: for other figures it would have to look at all
        of the vocabulary behind each token of the training text."""
        if self._counting:
            return {"loss": self._loss_tracker.result()}
        return super().get_metrics_result()

    def export_signatures(
        self,
        max_length: int | None = None,
        windows: tuple[int, ...] | None = None,
        prefill_lengths: tuple[int, ...] | None = None,
    ) -> dict:
        """Not for devices.

        Raises:
            ExportError: always.
        """
        raise ExportError(
            "an n-gram model is a text and its counts, which the formats of devices cannot hold",
            next_step="run it where Keras is: modelzoo run DIR 'text'; of this plugin's models "
            "statistical/hmm can be exported",
        )


class _Kept:
    """What was worked out of a text, while the text is the same. Never saved."""

    def __init__(self):
        self._key, self._estimator, self._store = None, None, None

    def estimator(self, model: Ngram, text: np.ndarray, stale: bool) -> Estimator:
        size = 0 if self._key is None else self._key[0]
        if stale and self._estimator is not None and size <= len(text) < max(2 * size, 1):
            return self._estimator
        key = len(text), zlib.crc32(text.tobytes())
        if key != self._key:
            self._estimator = estimate(
                text, model.order, model.vocab_size, model.smoothing, discount=model.discount
            )
            self._key = key
        return self._estimator

    def store(self, text: np.ndarray, used: int) -> TextStore:
        kept = self._store
        same = kept is not None and kept.used == used and np.array_equal(kept.text, text)
        if not same:
            self._store = TextStore(text, used)
        return self._store


def _predictions(pieces, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The contexts (R, N - 1) and the tokens (R,) that the pieces ask for."""
    contexts, tokens = [np.zeros((0, order - 1), np.int64)], [np.zeros(0, np.int64)]
    for piece in pieces:
        padded = np.concatenate([np.full(max(order - 2, 0), -1, np.int64), piece])
        if order > 1:
            windows = np.lib.stride_tricks.sliding_window_view(padded[:-1], order - 1)
        else:
            windows = np.zeros((len(piece) - 1, 0), np.int64)
        contexts.append(windows)
        tokens.append(piece[1:])
    return np.concatenate(contexts), np.concatenate(tokens)
