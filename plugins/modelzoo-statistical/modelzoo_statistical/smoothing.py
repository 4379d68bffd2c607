"""From counts to probabilities: Witten-Bell, Kneser-Ney and modified Kneser-Ney. numpy only.

All are interpolated: p(w | h) = alpha(h w) + gamma(h) p(w | h'), where h' is the context h without
its first token, and below the unigrams stands the uniform distribution over the vocabulary. They
differ in what they take from the seen n-grams for the unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from modelzoo_statistical.counts import Counts, Order

Smoothing = Literal["kneser-ney", "modified-kneser-ney", "witten-bell"]

# Where a text is too small to have n-grams that occur once, twice, three and four times, the
# estimates of the discounts are not defined, and these stand in for them, as in KenLM.
FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Discounts:
    """What is taken from n-grams that occur once, twice, and more often.

    Attributes:
        values: the three.
        estimated: from the counts of counts; otherwise the text was too small, or they were given.
    """

    values: tuple[float, float, float]
    estimated: bool

    def of(self, counts: np.ndarray) -> np.ndarray:
        """The discount of each count, 0 for none."""
        return np.array([0.0, *self.values])[np.minimum(counts, 3)]


@dataclass(frozen=True)
class Weights:
    """alpha (M,) of the n-grams of one order, and gamma (M',) of their contexts."""

    alpha: np.ndarray
    gamma: np.ndarray


def estimate_discounts(counts: np.ndarray, single: bool = False) -> Discounts:
    """The discounts of one order from its counts of counts (Chen and Goodman 1998, section 5.5).

    Args:
        counts: (M,) of the n-grams.
        single: one discount n1 / (n1 + 2 n2) for all (Kneser and Ney 1995).

    Example:
        >>> estimate_discounts(np.array([1] * 8 + [2] * 4 + [3] * 2 + [4])).values
        (0.5, 1.25, 2.0)
    """
    n1, n2, n3, n4 = (int(np.sum(counts == number)) for number in (1, 2, 3, 4))
    if n1 and n2 and single:
        return Discounts((n1 / (n1 + 2 * n2),) * 3, True)
    if single:
        return Discounts((FALLBACK[0],) * 3, False)
    if not (n1 and n2 and n3 and n4):
        return Discounts(FALLBACK, False)
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    # More is never taken than there is, and never given; odd counts of counts would ask for it.
    if not all(0 <= value <= most for most, value in enumerate(found, 1)):
        return Discounts(FALLBACK, False)
    return Discounts(found, True)


def smooth(
    counts: Counts,
    smoothing: Smoothing = "modified-kneser-ney",
    *,
    discount: float | None = None,
    uniform: bool = True,
) -> tuple[tuple[Weights, ...], tuple[Discounts, ...]]:
    """The weights of each order, and the discounts behind them (none for Witten-Bell).

    Args:
        discount: of Kneser-Ney, the same for all orders, in place of the estimates.
        uniform: go down to the uniform distribution, so that every token is possible. Without it
            unigrams are plain relative frequencies.

    Example:
        >>> from modelzoo_statistical.counts import count_ngrams
        >>> weights, _ = smooth(count_ngrams(np.array([0, 1, 0, 1, 1]), 2, 2), "witten-bell")
        >>> weights[1].alpha.tolist()  # of 01, 10, 11: 2 / (2 + 1), 1 / (2 + 2), 1 / (2 + 2)
        [0.6666666666666666, 0.25, 0.25]
    """
    if smoothing == "witten-bell":
        plain = [_witten_bell(order) for order in counts.orders]
        found: list[Discounts] = []
    else:
        kept = [_kept_counts(counts, k) for k in range(1, len(counts.orders) + 1)]
        found = [
            Discounts((discount,) * 3, False)
            if discount is not None
            else estimate_discounts(one, smoothing == "kneser-ney")
            for one in kept
        ]
        plain = [
            _discounted(order, one, taken.of(one))
            for order, one, taken in zip(counts.orders, kept, found, strict=True)
        ]
    if not uniform:
        order = counts.orders[0]
        number = order.counts if smoothing == "witten-bell" else _kept_counts(counts, 1)
        plain[0] = _discounted(order, number, np.zeros(len(number)))
    return tuple(plain), tuple(found)


def _kept_counts(counts: Counts, order: int) -> np.ndarray:
    """What Kneser-Ney counts: occurrences in the highest order, different left tokens below."""
    one = counts.orders[order - 1]
    return one.counts if order == len(counts.orders) else one.continuations


def _discounted(order: Order, counts: np.ndarray, taken: np.ndarray) -> Weights:
    """(c - d) / sum of c, and what was taken from all is what the context gives away."""
    taken = np.minimum(taken, counts)
    total = order.sums(counts)
    alpha = (counts - taken) / np.maximum(total, 1)[order.parents]
    gamma = np.where(total > 0, order.sums(taken) / np.maximum(total, 1), 1.0)
    return Weights(alpha, gamma)


def _witten_bell(order: Order) -> Weights:
    """c / (n + t) for a context seen n times with t different tokens behind it; it gives t away
    (Witten and Bell 1991, method C)."""
    total, kinds = order.sums(order.counts), order.sums(order.counts > 0)
    whole = np.maximum(total + kinds, 1)
    gamma = np.where(total > 0, kinds / whole, 1.0)
    return Weights(order.counts / whole[order.parents], gamma)
