"""Probabilities of the next token, from counts and their weights. numpy only.

Letters: R contexts, N order, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelzoo_statistical.counts import Counts, count_ngrams
from modelzoo_statistical.smoothing import Discounts, Smoothing, Weights, smooth

_ROWS = 256  # contexts at once: (256, V) doubles stay near the processor


@dataclass(frozen=True)
class Estimator:
    """A smoothed n-gram model.

    A context is the last N - 1 tokens, the latest last, with -1 in the place of tokens that there
    are not.

    Example:
        >>> model = estimate(np.array([0, 1, 2, 0, 1, 3]), order=2, vocab_size=4)
        >>> model.distributions(np.array([[1], [-1]])).sum(-1).round(12).tolist()
        [1.0, 1.0]
    """

    counts: Counts
    weights: tuple[Weights, ...]
    discounts: tuple[Discounts, ...] = ()

    @property
    def order(self) -> int:
        return len(self.weights)

    @property
    def vocab_size(self) -> int:
        return self.counts.vocab_size

    def distributions(self, contexts: np.ndarray) -> np.ndarray:
        """(R, N - 1) contexts -> (R, V) probabilities, float64."""
        contexts = np.asarray(contexts, np.int64)
        parts = [
            self._distributions(contexts[first : first + _ROWS])
            for first in range(0, len(contexts), _ROWS)
        ]
        return np.concatenate([np.zeros((0, self.vocab_size)), *parts])

    def _distributions(self, contexts: np.ndarray) -> np.ndarray:
        found = np.repeat(self._unigrams()[None], len(contexts), axis=0)
        for k, numbers in enumerate(self._numbers(contexts), 2):
            order, weights = self.counts.orders[k - 1], self.weights[k - 1]
            seen = np.flatnonzero(numbers >= 0)
            numbers = numbers[seen]
            gamma = np.ones(len(contexts))
            gamma[seen] = weights.gamma[numbers]
            found *= gamma[:, None]
            first, sizes = order.starts[numbers], np.diff(order.starts)[numbers]
            # The places of all followers of all contexts, one context after the other.
            skipped = np.cumsum(sizes) - sizes
            places = np.arange(sizes.sum()) + np.repeat(first - skipped, sizes)
            tokens = order.keys[places] % self.vocab_size
            found[np.repeat(seen, sizes), tokens] += weights.alpha[places]
        return found

    def probabilities(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(R,) float64: of one token (R,) behind each context (R, N - 1)."""
        tokens = np.asarray(tokens, np.int64)
        found = self._unigrams()[tokens]
        for k, numbers in enumerate(self._numbers(np.asarray(contexts, np.int64)), 2):
            weights = self.weights[k - 1]
            known = numbers >= 0
            places = self.counts.find(k, numbers, tokens)
            gamma = np.ones(len(tokens))
            gamma[known] = weights.gamma[numbers[known]]
            found *= gamma
            hit = places >= 0
            found[hit] += weights.alpha[places[hit]]
        return found

    def _unigrams(self) -> np.ndarray:
        weights = self.weights[0]
        return weights.alpha + weights.gamma[0] / self.vocab_size

    def _numbers(self, contexts: np.ndarray) -> list[np.ndarray]:
        """For k = 1 … N - 1 the numbers (R,) of the contexts' last k tokens, -1 where unseen."""
        found = []
        for k in range(1, self.order):
            numbers = contexts[:, -k]
            for size in range(2, k + 1):
                numbers = self.counts.find(size, numbers, contexts[:, size - 1 - k])
            found.append(numbers)
        return found


def estimate(
    text: np.ndarray,
    order: int,
    vocab_size: int,
    smoothing: Smoothing = "modified-kneser-ney",
    *,
    discount: float | None = None,
    uniform: bool = True,
) -> Estimator:
    """Count a text and smooth the counts; see `count_ngrams` and `smooth`."""
    counts = count_ngrams(text, order, vocab_size)
    return Estimator(counts, *smooth(counts, smoothing, discount=discount, uniform=uniform))


def contexts_of(tokens: np.ndarray, real: np.ndarray, past: np.ndarray) -> np.ndarray:
    """The context after each token of a batch.

    Args:
        tokens: (B, T) ids.
        real: (B, T) bool; what is not real is not there.
        past: (B, N - 1), the context before the first, -1 for tokens that there are not.

    Returns: (B, T, N - 1).

    Example:
        >>> contexts_of(np.array([[5, 6]]), np.array([[True, True]]), np.array([[-1, 4]])).tolist()
        [[[4, 5], [5, 6]]]
    """
    (rows, length), width = tokens.shape, past.shape[1]
    # The real tokens moved to the left, behind the past.
    packed = np.concatenate([past, np.full((rows, length), -1, past.dtype)], axis=1)
    count = np.cumsum(real, axis=1)  # real tokens up to and with each place
    row, place = np.nonzero(real)
    packed[row, width + count[row, place] - 1] = tokens[row, place]
    index = count[:, :, None] + np.arange(width)
    return np.take_along_axis(packed[:, None], index, axis=2) if width else index
