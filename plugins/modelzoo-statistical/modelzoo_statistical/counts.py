"""n-gram counts of a text as sorted arrays of integers: no object for each n-gram. numpy only.

Letters: V vocabulary, N order, L tokens of the text, M n-grams of one order.

An n-gram of order k has a number: its place among the sorted keys `number of its first k - 1 tokens
* V + its last token`. So all that follows one context stands together, and a key fits 64 bits
whatever V and N are. A unigram's number is its token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BREAK = -1  # in a text: no n-gram reaches over it


@dataclass(frozen=True)
class Order:
    """All n-grams of one order k.

    Attributes:
        keys: (M,) int64, sorted. For k = 1 all tokens 0..V-1, seen or not.
        counts: (M,) int64, how often each occurs.
        continuations: (M,) int64, before how many different tokens' n-grams it stands: the number
            of different tokens seen to its left. Zeros for the highest order, which has no left.
        starts: (M' + 1,) int64: what follows context c, one of the M' of order k - 1, are the
            keys from `starts[c]` to `starts[c + 1]`.
    """

    keys: np.ndarray
    counts: np.ndarray
    continuations: np.ndarray
    starts: np.ndarray

    @property
    def parents(self) -> np.ndarray:
        """(M,) int64: the context of each n-gram."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(M,) values -> (M',) their sum in each context."""
        running = np.concatenate([[0], np.cumsum(values)])
        return running[self.starts[1:]] - running[self.starts[:-1]]


@dataclass(frozen=True)
class Counts:
    """The n-grams of orders 1 to N over a vocabulary; `orders[k - 1]` is order k."""

    orders: tuple[Order, ...]
    vocab_size: int

    def find(self, order: int, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The numbers of the n-grams `context, token` of one order, -1 where there is none.

        Args:
            order: from 1; then the contexts are not looked at.
            contexts: (…) numbers of order `order - 1`, -1 for none.
            tokens: (…) ids, -1 for none.
        """
        if order == 1:
            return np.asarray(tokens, np.int64)
        keys = self.orders[order - 1].keys
        if not len(keys):
            return np.full(np.shape(tokens), -1, np.int64)
        wanted = np.asarray(contexts, np.int64) * self.vocab_size + tokens
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = (keys[place] == wanted) & (np.asarray(contexts) >= 0) & (np.asarray(tokens) >= 0)
        return np.where(hit, place, -1)


def count_ngrams(text: np.ndarray, order: int, vocab_size: int) -> Counts:
    """Count the n-grams of a text up to an order.

    Args:
        text: (L,) int, token ids, with `BREAK` between pieces. The first token of a piece is read
            and not predicted: it counts as context, and not as a unigram.
        order: N, 1 or more.
        vocab_size: V; all ids are below it.

    Example:
        >>> counts = count_ngrams(np.array([0, 1, 0, 1, 1]), 2, 2)
        >>> counts.orders[1].keys.tolist(), counts.orders[1].counts.tolist()  # 01, 10, 11
        ([1, 2, 3], [2, 1, 1])
        >>> counts.orders[0].continuations.tolist()  # 0 follows 1; 1 follows both
        [1, 2]
    """
    text = np.asarray(text, np.int64)
    run = _tokens_since_break(text)
    unigrams = np.bincount(text[run >= 2], minlength=vocab_size)
    found = [(np.arange(vocab_size), unigrams, np.array([0, vocab_size]))]
    continuations = []
    numbers = text  # of the n-gram of the order below that ends at each place
    for k in range(2, order + 1):
        ends = np.flatnonzero(run >= k)
        wanted = numbers[ends - 1] * vocab_size + text[ends]
        keys, inverse, counts = np.unique(wanted, return_inverse=True, return_counts=True)
        below = len(found[-1][0])
        suffixes = np.empty(len(keys), np.int64)  # the n-gram without its first token
        suffixes[inverse] = numbers[ends]
        continuations.append(np.bincount(suffixes, minlength=below))
        parents = keys // vocab_size
        starts = np.concatenate([[0], np.cumsum(np.bincount(parents, minlength=below))])
        found.append((keys, counts, starts))
        numbers = np.full(len(text), -1, np.int64)
        numbers[ends] = inverse
    continuations.append(np.zeros(len(found[-1][0]), np.int64))
    orders = (
        Order(keys, counts, left, starts)
        for (keys, counts, starts), left in zip(found, continuations, strict=True)
    )
    return Counts(tuple(orders), vocab_size)


def _tokens_since_break(text: np.ndarray) -> np.ndarray:
    """(L,) int: tokens of the piece up to and with each place; 0 at a break.

    >>> _tokens_since_break(np.array([5, 6, -1, 7])).tolist()
    [1, 2, 0, 1]
    """
    places = np.arange(len(text))
    last_break = np.maximum.accumulate(np.where(text == BREAK, places, -1), axis=0)
    return places - last_break if len(text) else places
