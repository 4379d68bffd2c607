"""Figures of tags: those of `seqeval` for spans, accuracy for each word, and without a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from modelzoo.runtime.text.words import entities, is_bio

__all__ = ["frequent_tags", "span_scores", "tag_scores"]

Tags = Sequence[Sequence[str]]  # of the words of each sentence


def tag_scores(
    truth: Tags, guess: Tags, sentences: Sequence[Sequence[str]], labels: Sequence[str]
) -> dict[str, float]:
    """`accuracy`, and of B- and I- tags `precision`, `recall`, `f1`, each of a type as `f1_PER`.

    Beside them stands the `baseline_accuracy`, or `baseline_f1`: without a model, each word has the
    tag that it most often has in the other sentences.

    >>> tag_scores([["B-A", "O"]], [["B-A", "O"]], [["a", "b"]], ["O", "B-A"])["f1_A"]
    1.0
    """
    plain = frequent_tags(sentences, truth)
    scores: dict[str, float] = {"accuracy": _accuracy(truth, guess)}
    if not is_bio(labels):
        return {**scores, "baseline_accuracy": _accuracy(truth, plain)}
    found = span_scores(truth, guess)
    baseline = span_scores(truth, plain)["f1"]
    total = {name: value for name, value in found.items() if "_" not in name}
    by_type = {name: value for name, value in found.items() if "_" in name}
    return {**scores, **total, "baseline_f1": baseline, **by_type}


def span_scores(truth: Tags, guess: Tags) -> dict[str, float]:
    """`precision`, `recall` and `f1` over all spans, and of each type, as `seqeval` counts them.

    A span counts as found where its type, its first word and its last are right. A figure that has
    no spans is 0, as `seqeval`'s.

    >>> span_scores([["B-A", "I-A", "B-B"]], [["B-A", "O", "B-B"]])["f1"]
    0.5
    """
    right, found, there = (Counter[str]() for _ in range(3))
    for a, b in zip(truth, guess, strict=True):
        true, guessed = {*entities(a)}, {*entities(b)}
        for counter, spans in ((right, true & guessed), (found, guessed), (there, true)):
            counter.update(kind for kind, _, _ in spans)
    scores = _rates(right.total(), found.total(), there.total(), "")
    for kind in sorted({*found, *there}):
        scores |= _rates(right[kind], found[kind], there[kind], f"_{kind}")
    return scores


def _rates(right: int, found: int, there: int, end: str) -> dict[str, float]:
    return {
        f"precision{end}": right / found if found else 0.0,
        f"recall{end}": right / there if there else 0.0,
        f"f1{end}": 2 * right / (found + there) if found + there else 0.0,
    }


def _accuracy(truth: Tags, guess: Tags) -> float:
    pairs = [pair for a, b in zip(truth, guess, strict=True) for pair in zip(a, b, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else math.nan


def frequent_tags(
    sentences: Sequence[Sequence[str]],
    tags: Tags,
    others: tuple[Sequence[Sequence[str]], Tags] | None = None,
) -> list[list[str]]:
    """The most frequent tag of each word; of a word that is not known, of all words.

    Args:
        sentences, tags: the words that are asked for; their own tags are used without `others`
            alone, and then of each sentence those of the other sentences.
        others: the sentences and tags to count instead.

    >>> frequent_tags([["a"], ["a", "b"]], [["X"], ["Y", "Z"]])
    [['Y'], ['X', 'X']]
    """
    known, every = Counter[tuple[str, str]](), Counter[str]()
    for words, own in zip(*(others or (sentences, tags)), strict=True):
        known.update(zip(words, own, strict=True))
        every.update(own)
    by_word: dict[str, list[str]] = {}
    for word, tag in known:
        by_word.setdefault(word, []).append(tag)
    found = []
    for words, own in zip(sentences, tags, strict=True):
        mine = Counter[tuple[str, str]]() if others else Counter(zip(words, own, strict=True))
        all_mine = Counter[str]() if others else Counter(own)
        rest = max(every, key=lambda tag: every[tag] - all_mine[tag])
        row = []
        for word in words:
            counts = {tag: known[word, tag] - mine[word, tag] for tag in by_word.get(word, ())}
            best = max(counts, key=lambda tag: counts[tag], default=rest)
            row.append(best if counts.get(best) else rest)
        found.append(row)
    return found
