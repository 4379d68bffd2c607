"""Counting in sorted arrays, against counting in dictionaries."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from modelzoo_statistical.counts import BREAK, count_ngrams

VOCAB = 7


def random_text(seed: int, length: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    text = np.minimum(rng.geometric(0.35, length) - 1, VOCAB - 1)
    text[rng.choice(length, 12, replace=False)] = BREAK
    return text


def pieces(text: np.ndarray) -> list[list[int]]:
    found, piece = [], []
    for token in [*text.tolist(), BREAK]:
        if token == BREAK:
            found.append(piece)
            piece = []
        else:
            piece.append(token)
    return found


def dictionaries(text: np.ndarray, order: int) -> list[Counter]:
    """The n-grams of each order that end at a token with another before it."""
    found = [Counter() for _ in range(order)]
    for piece in pieces(text):
        for end in range(1, len(piece)):
            for size in range(1, min(order, end + 1) + 1):
                found[size - 1][tuple(piece[end + 1 - size : end + 1])] += 1
    return found


def spelled(counts, order: int) -> list[tuple[int, ...]]:
    """The tokens of each n-gram of an order, by walking up its contexts."""
    if order == 1:
        return [(token,) for token in range(counts.vocab_size)]
    above = spelled(counts, order - 1)
    keys = counts.orders[order - 1].keys
    return [(*above[key // counts.vocab_size], int(key % counts.vocab_size)) for key in keys]


@pytest.mark.parametrize("seed", range(5))
def test_every_order_holds_what_dictionaries_count(seed):
    text = random_text(seed)
    counts = count_ngrams(text, 4, VOCAB)
    for size, expected in enumerate(dictionaries(text, 4), 1):
        found = dict(zip(spelled(counts, size), counts.orders[size - 1].counts, strict=True))
        assert {gram: count for gram, count in found.items() if count} == dict(expected)


@pytest.mark.parametrize("seed", range(5))
def test_continuations_are_the_different_tokens_to_the_left(seed):
    text = random_text(seed)
    counts, expected = count_ngrams(text, 4, VOCAB), dictionaries(text, 4)
    for size in (1, 2, 3):
        left = Counter(gram[1:] for gram in expected[size])
        found = counts.orders[size - 1].continuations
        for gram, number in zip(spelled(counts, size), found, strict=True):
            assert number == left[gram], gram


def test_followers_of_a_context_stand_together():
    counts = count_ngrams(random_text(0), 3, VOCAB)
    grams, bigrams = spelled(counts, 3), spelled(counts, 2)
    starts = counts.orders[2].starts
    assert len(starts) == len(bigrams) + 1 and starts[-1] == len(grams)
    for number, bigram in enumerate(bigrams):
        assert all(gram[:2] == bigram for gram in grams[starts[number] : starts[number + 1]])


def test_an_ngram_is_found_by_its_context_and_token_and_a_missing_one_is_not():
    counts = count_ngrams(np.array([0, 1, 2, 0, 1, 3]), 3, VOCAB)
    bigram = counts.find(2, np.array([0]), np.array([1]))
    assert counts.find(3, bigram, np.array([3]))[0] >= 0
    assert counts.find(3, bigram, np.array([0]))[0] == -1
    assert counts.find(3, np.array([-1]), np.array([3]))[0] == -1


@pytest.mark.parametrize("text", [[], [BREAK], [3], [3, BREAK, 4]])
def test_a_text_without_two_tokens_in_a_row_counts_nothing(text):
    counts = count_ngrams(np.array(text, np.int32), 3, VOCAB)
    assert [int(order.counts.sum()) for order in counts.orders] == [0, 0, 0]


def test_keys_of_a_large_vocabulary_do_not_collide():
    vocab = 250_000
    text = np.random.default_rng(0).integers(vocab - 5, vocab, 3000)
    counts = count_ngrams(text, 5, vocab)
    for size, expected in enumerate(dictionaries(text, 5), 1):
        assert np.count_nonzero(counts.orders[size - 1].counts) == len(expected)


def test_fivegrams_of_three_hundred_thousand_tokens_take_about_a_second():
    text = np.random.default_rng(0).zipf(1.3, 300_000) % 4096
    began = time.process_time()
    counts = count_ngrams(text, 5, 4096)
    assert len(counts.orders[4].keys) > 100_000
    assert time.process_time() - began < 5  # 0.2 s on a quiet machine; dictionaries take 3 s
