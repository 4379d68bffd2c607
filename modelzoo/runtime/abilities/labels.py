"""Logits as labels with probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelzoo.errors import BundleError, ModelzooError, nearest


def check_numbers(values: np.ndarray, title: str) -> None:
    """Raise a ModelzooError where an answer is NaN or infinite, which no answer can be.

    >>> check_numbers(np.array([0.5, np.nan]), "the model's answer")
    Traceback (most recent call last):
    modelzoo.errors.ModelzooError: the model's answer holds NaN or infinity: 1 of 2 numbers
      next: its weights are damaged, or its precision is too low: export or train it again
    """
    if not np.isfinite(values).all():
        wrong = values.size - int(np.isfinite(values).sum())
        raise ModelzooError(
            f"{title} holds NaN or infinity: {wrong} of {values.size} numbers",
            next_step="its weights are damaged, or its precision is too low: export or train it "
            "again",
        )


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


def check_threshold(threshold: float | None, problem_type: str | None = None) -> None:
    """
    Raises:
        ModelzooError: no probability, or one for numbers that are none.

    >>> check_threshold(1.5)
    Traceback (most recent call last):
    modelzoo.errors.ModelzooError: a threshold must be from 0 to 1, not 1.5
    """
    if threshold is None:
        return
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not is_number or not 0 <= threshold <= 1:
        raise ModelzooError(f"a threshold must be from 0 to 1, not {threshold!r}")
    if problem_type == "regression":
        raise ModelzooError(
            "a threshold is for probabilities, and a regression answers with numbers",
            next_step="leave the threshold out",
        )


def labelled(
    logits: np.ndarray,
    labels,
    top: int | None,
    problem_type: str | None = None,
    least: float | list[float] | None = None,
) -> list[tuple[str, float]]:
    """(label, probability) of logits (N,), the likeliest first; a number each of a regression.

    Args:
        least: the least probability of what is given, or that of each label.
    """
    check_numbers(logits, "the model's answer")
    labels = labels or [str(n) for n in range(len(logits))]
    if len(labels) != len(logits):
        raise BundleError(
            f"the model has {len(logits)} answers, and {len(labels)} labels are stated for them",
            next_step="export the model again",
        )
    problem_type = problem_type or "single_label_classification"
    if problem_type not in ANSWERS:
        raise BundleError(
            f"the problem type {problem_type!r} is not one of {', '.join(ANSWERS)}",
            did_you_mean=nearest(problem_type, ANSWERS),
        )
    probabilities = ANSWERS[problem_type](logits)
    order = np.argsort(-probabilities, kind="stable")
    if least is not None:
        order = order[(probabilities >= _least_of_each(least, labels))[order]]
    order = order[:top]
    return [(labels[n], float(probabilities[n])) for n in order]


def _least_of_each(least: float | list[float], labels: list[str]) -> np.ndarray:
    if isinstance(least, int | float):
        return np.full(len(labels), least)
    numbers = all(isinstance(one, int | float) and 0 <= one <= 1 for one in least)
    if len(least) != len(labels) or not numbers:
        raise BundleError(
            f"the thresholds must be {len(labels)} numbers from 0 to 1, not {least}",
            next_step="export the model again",
        )
    return np.array(least, float)
