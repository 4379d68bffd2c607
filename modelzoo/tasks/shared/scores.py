"""Figures over a whole data set, exact whatever the batches: sums first, one division last."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from modelzoo.tasks.shared.stepper import compiled


def token_scores(model, batches, output: str | None = None) -> dict[str, float]:
    """Mean negative log-likelihood (nats) and accuracy of an output's tokens, and their number.

    Args:
        batches: (x, y, sample_weight) as `fit` takes them.
        output: the key in the dicts that model, y and sample_weight are; `None` if they are arrays.
    """

    def score(x, y, weight):
        logits = model(x, training=False)
        if output is not None:
            logits, y, weight = logits[output], y[output], weight[output]
        logits = ops.cast(logits, "float32")
        y, weight = ops.cast(y, "int32"), ops.cast(weight, "float32")
        chosen = ops.take_along_axis(logits, ops.expand_dims(y, -1), axis=-1)
        nll = ops.logsumexp(logits, axis=-1) - ops.squeeze(chosen, -1)
        right = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), y), "float32")
        return ops.sum(nll * weight), ops.sum(right * weight), ops.sum(weight)

    sums = model.compile_once(f"scores/{output}", lambda: compiled(score, model))
    total = np.zeros(3)
    for x, y, weight in batches:
        total += [float(ops.convert_to_numpy(value)) for value in sums(x, y, weight)]
    nll, right, count = total.tolist()
    if not count:
        return {"loss": math.nan, "accuracy": math.nan, "tokens": 0}
    return {"loss": nll / count, "accuracy": right / count, "tokens": int(count)}


def with_perplexity(scores: dict[str, float]) -> dict[str, float]:
    """The scores and `perplexity`, the exponential of their `loss`; a finite number always.

    >>> with_perplexity({"loss": 0.0})
    {'loss': 0.0, 'perplexity': 1.0}
    """
    return {**scores, "perplexity": math.exp(min(scores["loss"], 700.0))}


def predictions(model, batches) -> tuple[np.ndarray, np.ndarray]:
    """What a model answers to each real row of `batches` once, and the row's y: (N, …) and (N,)."""
    found, truth = [], []
    for x, y, weight in batches.evaluation():
        real = np.asarray(weight) > 0
        found.append(np.asarray(model.predict_on_batch(x))[real])
        truth.append(np.asarray(y)[real])
    batches.predicted = np.concatenate(found), np.concatenate(truth)  # for a closer look
    return batches.predicted


def classification_scores(
    logits: np.ndarray, truth: np.ndarray, *, top5: bool = False
) -> dict[str, float]:
    """`loss` (nats), `accuracy`, `f1` (macro) of logits (N, labels) for the right labels (N,).

    Args:
        top5: with the share of right labels among the five likeliest, where there are six or more.

    >>> scores = classification_scores(np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([0, 1]))
    >>> {name: round(value, 4) for name, value in scores.items()}
    {'loss': 1.1269, 'accuracy': 0.5, 'f1': 0.3333, 'examples': 2}
    """
    logits = logits.astype(np.float64)
    guess, count = logits.argmax(-1), logits.shape[-1]
    own = np.take_along_axis(logits, truth[:, None], -1)
    scores = {
        "loss": float(negative_log_likelihood(logits, truth).mean()),
        "accuracy": float((guess == truth).mean()),
    }
    if top5 and count > 5:
        scores["top5"] = float(((logits > own).sum(-1) < 5).mean())
    return {**scores, "f1": macro_f1(truth, guess, count), "examples": len(truth)}


def confusion(truth: np.ndarray, guess: np.ndarray, num_labels: int) -> np.ndarray:
    """(labels, labels): examples of the row's label that were given the column's.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(truth * num_labels + guess, minlength=num_labels**2)
    return cells.reshape(num_labels, num_labels)


def class_scores(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """`precision`, `recall`, `f1` and `examples` of each label of a confusion matrix; nan where a
    figure has no examples.

    >>> {name: values.tolist() for name, values in class_scores(np.array([[1, 1], [0, 1]])).items()}
    {'precision': [1.0, 0.5], 'recall': [0.5, 1.0], 'f1': [0.6..., 0.6...], 'examples': [2, 1]}
    """
    return ratios(np.diagonal(matrix), matrix.sum(0), matrix.sum(1))


def ratios(hits: np.ndarray, found: np.ndarray, there: np.ndarray) -> dict[str, np.ndarray]:
    """The same of how often each label was right, given, and there."""
    with np.errstate(invalid="ignore"):
        return {
            "precision": hits / found,
            "recall": hits / there,
            "f1": 2 * hits / (found + there),
            "examples": there,
        }


def negative_log_likelihood(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(N,) nats of ids (N,) under logits (N, V).

    >>> negative_log_likelihood(np.zeros((1, 2)), np.array([0])).round(4).tolist()
    [0.6931]
    """
    logits = logits.astype(np.float64)
    peak = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - peak).sum(-1)) + peak[:, 0]
    return log_sum - logits[np.arange(len(ids)), ids]


def macro_f1(truth: np.ndarray, guess: np.ndarray, num_labels: int) -> float:
    """The mean over labels of 2 TP / (2 TP + FP + FN); a label that nobody uses does not count.

    >>> round(macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), 4)
    0.6667
    """
    scores = []
    for label in range(num_labels):
        hits = np.sum((truth == label) & (guess == label))
        used = np.sum(truth == label) + np.sum(guess == label)
        if used:
            scores.append(2 * hits / used)
    return float(np.mean(scores)) if scores else math.nan
