"""Logits as labels with probabilities."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (..., N), in float64."""
    logits = logits.astype(np.float64)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _labelled(logits: np.ndarray, labels, top: int | None) -> list[tuple[str, float]]:
    """(label, probability) of logits (N,), the likeliest first."""
    labels = labels or [str(n) for n in range(len(logits))]
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(labels[n], float(probabilities[n])) for n in order]
