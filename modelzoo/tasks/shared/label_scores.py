"""Figures of classifiers beyond one label of several: many labels, numbers, calibration."""

from __future__ import annotations

import math

import numpy as np

from modelzoo.runtime.abilities.labels import sigmoid, softmax
from modelzoo.tasks.shared.scores import classification_scores, ratios

_BINS = 15  # Guo et al. 2017


def text_scores(
    logits: np.ndarray,
    truth: np.ndarray,
    problem_type: str | None = None,
    thresholds: list[float] | None = None,
) -> dict[str, float]:
    """The figures of a classifier for its problem: of one label of several by default.

    Args:
        logits: (N, labels).
        truth: (N,) the right label; (N, labels) of the other problems.
        thresholds: of each label, where several may apply.
    """
    if problem_type == "regression":
        return regression_scores(logits, truth)
    if problem_type == "multi_label_classification":
        return multi_label_scores(logits, truth, thresholds)
    scores, shares = classification_scores(logits, truth), softmax(logits)
    right = shares.argmax(-1) == truth
    return {**scores, "ece": calibration_error(shares.max(-1), right)}


def multi_label_scores(
    logits: np.ndarray, truth: np.ndarray, thresholds: list[float] | None = None
) -> dict[str, float]:
    """`loss` (nats, the mean over labels), `accuracy` (of whole rows), `f1` (macro), `f1_micro`,
    `average_precision` (macro), `ece`.

    Args:
        logits, truth: (N, labels); truth is 1 where a label applies.
        thresholds: the least probability of each label that applies. Default: 0.5 each.

    >>> scores = multi_label_scores(np.array([[2.0, -1.0], [3.0, 1.0]]), np.array([[1, 0], [1, 0]]))
    >>> scores["accuracy"], scores["f1"], round(scores["f1_micro"], 3)
    (0.5, 0.5, 0.8)
    """
    logits, real = logits.astype(np.float64), truth > 0
    shares, guess = sigmoid(logits), given(logits, thresholds)
    hits, said, there = (guess & real).sum(0), guess.sum(0), real.sum(0)
    f1 = scores_of_each(guess, real)["f1"]
    total = int(said.sum() + there.sum())
    ranked = [average_precision(shares[:, n], real[:, n]) for n in np.flatnonzero(there)]
    return {
        "loss": float(np.logaddexp(0.0, np.where(real, -logits, logits)).mean()),
        "accuracy": float((guess == real).all(-1).mean()),
        "f1": float(np.nanmean(f1)) if total else math.nan,
        "f1_micro": 2 * int(hits.sum()) / total if total else math.nan,
        "average_precision": float(np.mean(ranked)) if ranked else math.nan,
        "ece": calibration_error(shares, real),
        "examples": len(truth),
    }


def given(logits: np.ndarray, thresholds: list[float] | None = None) -> np.ndarray:
    """(N, labels): whether each label reaches its threshold, 0.5 by default.

    >>> given(np.array([[0.1, -0.1]])).tolist(), given(np.array([[0.1, -0.1]]), [0.6, 0.4]).tolist()
    ([[True, False]], [[False, True]])
    """
    return sigmoid(logits) >= (0.5 if thresholds is None else np.asarray(thresholds))


def scores_of_each(guess: np.ndarray, real: np.ndarray) -> dict[str, np.ndarray]:
    """`precision`, `recall`, `f1` and `examples` of each label, as `scores.class_scores` has them.

    Args:
        guess, real: (N, labels), whether a label is given, and whether it applies.
    """
    return ratios((guess & real).sum(0), guess.sum(0), real.sum(0))


def regression_scores(answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`loss` (mean squared error), `mae`, `pearson`, `spearman`: means over the numbers of a row.

    >>> scores = regression_scores(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [5.0]]))
    >>> {name: round(value, 3) for name, value in scores.items()}
    {'loss': 0.667, 'mae': 0.667, 'pearson': 0.982, 'spearman': 1.0, 'examples': 3}
    """
    answers, truth = answers.astype(np.float64), truth.astype(np.float64)
    pairs = list(zip(answers.T, truth.T, strict=True))
    ranks = [(_ranks(a), _ranks(b)) for a, b in pairs]
    return {
        "loss": float(((answers - truth) ** 2).mean()),
        "mae": float(abs(answers - truth).mean()),
        "pearson": float(np.mean([_correlation(*pair) for pair in pairs])),
        "spearman": float(np.mean([_correlation(*pair) for pair in ranks])),
        "examples": len(truth),
    }


def calibration_error(shares: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, 2): how far probabilities are from how often
    they come true, the mean over bins of equal width, weighed by their sizes.

    Args:
        shares: probabilities, of any shape.
        right: of the same shape, whether each came true.

    >>> round(calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 4)
    0.4
    """
    shares, right = np.ravel(shares), np.ravel(right)
    bins = np.clip(np.ceil(shares * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, shares - right, _BINS)
    return float(abs(gaps).sum() / len(shares))


def average_precision(scores: np.ndarray, right: np.ndarray) -> float:
    """The mean precision over the right rows, the highest score first; equal scores come together.

    >>> round(average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True])), 4)
    0.8333
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of each group of equal scores
    hits = np.cumsum(right[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def best_thresholds(logits: np.ndarray, truth: np.ndarray) -> list[float]:
    """The threshold of each label with the highest F1; 0.5 where no row has the label.

    It lies in the middle between the two probabilities that it parts, rounded to four digits where
    that parts them too.

    >>> best_thresholds(np.array([[-2.0], [-1.0], [1.0]]), np.array([[0], [1], [1]]))
    [0.1941]
    """
    return [
        _best_threshold(one, real)
        for one, real in zip(sigmoid(logits).T, (truth > 0).T, strict=True)
    ]


def _best_threshold(shares: np.ndarray, real: np.ndarray) -> float:
    if not real.any():
        return 0.5
    order = np.argsort(-shares, kind="stable")
    falling, hits = shares[order], np.cumsum(real[order])
    ends = np.append(falling[:-1] > falling[1:], True)  # no threshold parts equal probabilities
    f1 = np.where(ends, 2 * hits / (np.arange(1, len(hits) + 1) + real.sum()), -1.0)
    last = int(f1.argmax())
    low = falling[last + 1] if last + 1 < len(falling) else 0.0
    middle = float(low + falling[last]) / 2
    return round(middle, 4) if low < round(middle, 4) <= falling[last] else middle


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 on; equal values share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[group]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt((a @ a) * (b @ b))
    return float(a @ b) / scale if scale else math.nan
