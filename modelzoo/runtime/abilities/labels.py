"""Logits as labels with probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (..., N), in float64."""
    logits = logits.astype(np.float64)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probability of each logit by itself, in float64."""
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


# What turns logits into an answer, by the problem that a classifier was trained for; these are the
# names in `config.json`. A regression's number is the logit itself.
ANSWERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "single_label_classification": softmax,
    "multi_label_classification": sigmoid,
    "regression": lambda logits: logits,
}


def _labelled(
    logits: np.ndarray, labels, top: int | None, problem_type: str | None = None
) -> list[tuple[str, float]]:
    """(label, probability) of logits (N,), the likeliest first; a number each of a regression."""
    labels = labels or [str(n) for n in range(len(logits))]
    probabilities = ANSWERS[problem_type or "single_label_classification"](logits)
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(labels[n], float(probabilities[n])) for n in order]
