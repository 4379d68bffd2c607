"""Trains a unigram vocabulary (Kudo 2018, Subword Regularization), the same at every run.

The usual trainers sum probabilities in the order of a hash map or of threads, and differ from run
to run. Here counts are integers: each word is segmented once, by its best path (Viterbi, in Rust),
pieces are counted, and those whose loss would cost least are dropped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import PreTokenizer

_MAX_PIECE = 16  # characters, that is bytes
_MAX_WORDS = 200_000  # distinct words; rarer ones add time and no pieces
_SHRINK = 0.75  # of the pieces left after each round
_ROUNDS = 2  # of expectation and maximisation between two cuts


def train_unigram(
    texts: Iterable[str], words: PreTokenizer, vocab_size: int, alphabet: Sequence[str]
) -> list[tuple[str, float]]:
    """The pieces and their log probabilities, best first after the alphabet.

    Args:
        texts: the corpus.
        words: cuts a text into words, written in the alphabet.
        vocab_size: at most this many pieces, the alphabet included.
        alphabet: pieces that are always kept.
    """
    counter: Counter[str] = Counter()
    for text in texts:
        counter.update(word for word, _ in words.pre_tokenize_str(text))
    common = sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:_MAX_WORDS]
    vocabulary, weights = [word for word, _ in common], np.array([n for _, n in common])

    pieces = _seed(common, 4 * vocab_size, alphabet)
    wanted = max(0, vocab_size - len(alphabet))
    while True:
        for _ in range(_ROUNDS):
            pieces = _reestimate(pieces, vocabulary, weights)
        learned = len(pieces) - len(alphabet)
        if learned <= wanted:
            return pieces
        pieces = _prune(pieces, len(alphabet), max(wanted, int(_SHRINK * learned)))


def _seed(
    common: list[tuple[str, int]], size: int, alphabet: Sequence[str]
) -> list[tuple[str, float]]:
    """The alphabet, and the substrings that cover most of the text."""
    substrings: Counter[str] = Counter()
    for word, count in common:
        for start in range(len(word)):
            for end in range(start + 2, min(start + _MAX_PIECE, len(word)) + 1):
                substrings[word[start:end]] += count
    frequent = [(piece, n * len(piece)) for piece, n in substrings.items() if n > 1]
    frequent.sort(key=lambda item: (-item[1], item[0]))
    scored = [(letter, 1) for letter in alphabet] + frequent[:size]
    total = sum(score for _, score in scored)
    return [(piece, math.log(score / total)) for piece, score in scored]


def _reestimate(
    pieces: list[tuple[str, float]], words: list[str], weights: np.ndarray
) -> list[tuple[str, float]]:
    """Log probabilities from the pieces of each word's best segmentation."""
    model = Tokenizer(models.Unigram(pieces))
    counts = np.zeros(len(pieces), np.int64)
    for start in range(0, len(words), 50_000):
        encodings = model.encode_batch_fast(words[start : start + 50_000], add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        repeats = np.repeat(weights[start : start + 50_000], [len(word) for word in ids])
        np.add.at(counts, np.concatenate([np.array(word, np.int64) for word in ids]), repeats)
    # Half a count for what was never used: unlikely, but still able to spell any byte.
    smoothed = np.maximum(counts, 0.5)
    total = math.log(smoothed.sum())
    return [(piece, math.log(n) - total) for (piece, _), n in zip(pieces, smoothed, strict=True)]


def _prune(pieces: list[tuple[str, float]], keep: int, wanted: int) -> list[tuple[str, float]]:
    """Drops the pieces that cost the text least likelihood; the first `keep` stay.

    Without a piece, its text is spelled by the best two others: that difference, times its count.
    """
    score = dict(pieces)

    def loss(piece: str, own: float) -> float:
        halves = (
            score[piece[:cut]] + score[piece[cut:]]
            for cut in range(1, len(piece))
            if piece[:cut] in score and piece[cut:] in score
        )
        letters = sum(score[letter] for letter in piece)
        return math.exp(own) * (own - max(halves, default=letters))

    learned = sorted(
        ((piece, own) for piece, own in pieces[keep:]),
        key=lambda item: (-loss(*item), item[0]),
    )
    return pieces[:keep] + learned[:wanted]
