"""A Keras model in the generation loop that the device runtime runs too."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from modelzoo.runtime.generation.drafting import PassTimes
from modelzoo.signature import Tensor
from modelzoo.tasks.shared.step_signatures import VERIFY_LENGTHS, token_log_probs


def compiled(function, model: keras.Model) -> Callable:
    """`function(*tensors) -> tensors`, traced once for each set of shapes.

    The weights are not constants of what is compiled: training goes on and the function sees it.
    What calls a bundle is not compiled; see `bundle_model`.
    """
    if not isinstance(model, keras.Model):
        return function
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if backend == "jax":
        import jax

        variables = model.variables

        @jax.jit
        def stateless(values, *tensors):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return function(*tensors)

        return lambda *tensors: stateless([v.value for v in variables], *tensors)
    return function


class KerasStepper:
    """Implements `runtime.generation.loop.DraftStepper` with a backbone's `step`.

    Checking drafts takes a function of other shapes, and to compile it takes longer than many
    tokens. So drafts begin with the first generation before which texts over as many slots have
    shown that they would have spared more time than that.

    Args:
        backbone: has `init_cache` and `vocab_size`.
        steps: from `compile_steps`.
        batch_size: rows.
        max_length: slots of the cache; `None` where the model has no window.
        prefill_length: tokens read at once.
        context: what each step reads besides: an encoder's memory and its mask.
    """

    def __init__(self, backbone, steps, batch_size, max_length, prefill_length, context=()):
        self.batch_size, self.max_length = batch_size, max_length
        self.prefill_length, self.vocab_size = prefill_length, backbone.vocab_size
        self._prefill, self._decode, self._score = steps.prefill, steps.decode, steps.score
        self.score_lengths = (prefill_length,)
        self.pass_times: PassTimes = steps.times[max_length]
        self._drafts = self._paying_drafts()
        self._cache = backbone.init_cache(batch_size, max_length)
        self._context = context

    def prefill(self, token_ids, positions) -> None:
        self._drafts = self._paying_drafts()  # a conversation's next turn
        self._cache = self._prefill(
            int_tensor(token_ids), int_tensor(positions), self._cache, *self._context
        )

    def decode(self, token_ids, positions) -> np.ndarray:
        return self.verify(token_ids, positions)[:, -1]

    def draft_lengths(self, position: int) -> tuple[int, ...]:
        return tuple(n for n in self._drafts if position + n <= self.max_length)

    def verify(self, token_ids, positions) -> np.ndarray:
        logits, self._cache = self._decode(
            int_tensor(token_ids), int_tensor(positions), self._cache, *self._context
        )
        return keras.ops.convert_to_numpy(logits)

    def score(self, token_ids, positions, target_ids) -> tuple[np.ndarray, np.ndarray]:
        log_probs, gap, self._cache = self._score(
            int_tensor(target_ids),
            int_tensor(token_ids),
            int_tensor(positions),
            self._cache,
            *self._context,
        )
        return keras.ops.convert_to_numpy(log_probs), keras.ops.convert_to_numpy(gap)

    def _paying_drafts(self) -> tuple[int, ...]:
        if self.batch_size > 1 or self.max_length is None:
            return ()
        times = self.pass_times
        worth = times.spared * (times.of(1) or 0.0) > times.first.get(1, math.inf)
        return tuple(n for n in VERIFY_LENGTHS if worth or n in times.first)


class Steps(NamedTuple):
    """A backbone's compiled steps.

    Attributes:
        prefill: (token_ids, positions, cache, *context) -> cache.
        decode: the same -> logits (B, T, V) float32 and cache; T is 1, or a draft's length.
        score: target_ids (B, T) and the same -> what `token_log_probs` gives, and cache.
        times: slots -> how long passes over them take.
    """

    prefill: Callable
    decode: Callable
    score: Callable
    times: defaultdict[int | None, PassTimes]


def compile_steps(backbone, model: keras.Model) -> Steps:
    """`prefill`, which gives the cache alone and so never computes logits, and `decode`."""

    def prefill(*tensors):
        return backbone.step(*tensors)[1]

    def decode(*tensors):
        logits, cache = backbone.step(*tensors)
        return keras.ops.cast(logits, "float32"), cache

    def score(target_ids, *tensors):
        logits, cache = backbone.step(*tensors)
        return *token_log_probs(logits, target_ids), cache

    functions = (compiled(function, model) for function in (prefill, decode, score))
    return Steps(*functions, defaultdict(PassTimes))


def window(
    max_length: int | None, longest_prompt: int, max_new_tokens: int | None
) -> tuple[int | None, int]:
    """Slots for a generation and tokens of a prefill call, of few sizes, so that few are compiled.

    >>> window(1024, longest_prompt=10, max_new_tokens=64)
    (128, 16)
    >>> window(None, longest_prompt=10, max_new_tokens=64)
    (None, 16)
    """
    prefill = min(power_of_two(longest_prompt, 16), 256)
    if max_length is None:
        return None, min(prefill, 32)  # recurrent steps are unrolled
    slots = max_length
    if max_new_tokens is not None:
        slots = min(power_of_two(longest_prompt + max_new_tokens, 64), max_length)
    return slots, min(prefill, slots)


def power_of_two(number: int, least: int) -> int:
    """The smallest power of two that is at least `number` and `least`."""
    return max(least, 1 << max(number - 1, 0).bit_length())


def int_tensor(array) -> Tensor:
    return keras.ops.convert_to_tensor(array, dtype="int32")
