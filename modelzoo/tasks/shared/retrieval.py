"""How well things of one kind find those of another that belong to them.

N rows, E width of the embeddings. In a figure's name, `image_to_text_recall@5` is the share of
images with a text of their own among the five nearest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelzoo.tasks.shared.scores import negative_log_likelihood

TOPS = (1, 5, 10)
_NEAR = 1e-6  # cosines of float32 vectors that are no further apart count as equal
_ROWS = 1024  # of the similarities at once


def pair_figures(
    pair: tuple[str, str],
    vectors: Mapping[str, np.ndarray],
    numbers: Mapping[str, np.ndarray],
    factors: Mapping[tuple[str, str], float],
    bias: float = 0.0,
    loss: str = "softmax",
) -> tuple[float, dict[str, float]]:
    """The loss of a pair of kinds over a whole set, and its recalls both ways.

    Args:
        vectors: kind -> (N, E) of length 1.
        numbers: kind -> (N,), equal where two rows hold the same, -1 where it is missing.
        factors, bias: what makes logits of cosines.

    Example:
        >>> e, n = np.eye(3), np.arange(3)
        >>> _, found = pair_figures(
        ...     ("image", "text"),
        ...     {"image": e, "text": e[[0, 2, 1]]},
        ...     {"image": n, "text": n},
        ...     {("image", "text"): 1.0, ("text", "image"): 1.0},
        ... )
        >>> round(found["image_to_text_recall@1"], 4)
        0.3333
    """
    both = np.logical_and(*(numbers[kind] >= 0 for kind in pair))
    rows = {kind: (vectors[kind][both].astype(np.float64), numbers[kind][both]) for kind in pair}
    if not both.any():
        raise ValueError(f"no row holds both {pair[0]} and {pair[1]}")
    total, figures = 0.0, {}
    for asking, asked in (pair, pair[::-1]):
        ranks = recall_ranks(*rows[asking], *rows[asked])
        name = f"{asking}_to_{asked}_recall"
        figures |= {f"{name}@{top}": float((ranks <= top).mean()) for top in TOPS}
        factor = factors[asking, asked]
        total += 0.5 * _loss(rows[asking], rows[asked], factor, bias, loss)
    return total, figures


def retrieval_scores(
    first: np.ndarray, second: np.ndarray, texts: np.ndarray, scale: float
) -> dict[str, float]:
    """How well each first vector finds its second among all distinct ones, by their cosine.

    Args:
        first, second: (N, width); row i of both belongs together.
        texts: (N,), equal where two second texts are the same text: it counts once.
        scale: what the cosines are multiplied by in the loss.

    Returns: `loss` (nats), `recall@1`, `recall@5`. A wrong text that is as near as the right one,
    give or take float32's rounding, counts as nearer.

    >>> e = np.eye(3)
    >>> retrieval_scores(e, e[[0, 1, 0]], np.array([0, 1, 2]), 20.0)["recall@1"]
    0.3333333333333333
    """
    first, second = _unit(first), _unit(second)
    ranks = recall_ranks(first, np.arange(len(first)), second, texts)
    _, kept, right = np.unique(texts, return_index=True, return_inverse=True)
    wanted, nll = second[kept].T, []
    for start in range(0, len(first), _ROWS):
        block = slice(start, start + _ROWS)
        nll.append(negative_log_likelihood(scale * (first[block] @ wanted), right[block]))
    scores = {"loss": float(np.concatenate(nll).mean())}
    return scores | {f"recall@{top}": float((ranks <= top).mean()) for top in (1, 5)}


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def recall_ranks(
    questions: np.ndarray, asking: np.ndarray, answers: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """The place of the first right answer to each question, from 1 on: (N,) int.

    Row i of both belongs together. An answer that stands in several rows is one answer, and right
    for each of the questions whose rows hold it. A wrong answer that is as near as the best right
    one counts as nearer.

    Args:
        questions, answers: (N, E) of length 1.
        asking, asked: (N,), what stands in each row.
    """
    _, kept, answer_of = np.unique(asked, return_index=True, return_inverse=True)
    _, question_of = np.unique(asking, return_inverse=True)
    wanted, ranks = answers[kept].T, []
    for start in range(0, len(questions), _ROWS):
        cosines = questions[start : start + _ROWS] @ wanted
        these, row_of = np.unique(question_of[start : start + _ROWS], return_inverse=True)
        place = np.searchsorted(these, question_of)
        same = these[np.minimum(place, len(these) - 1)] == question_of
        right = np.zeros((len(these), len(kept)), bool)  # of this block: a whole set's is too large
        right[place[same], answer_of[same]] = True
        own = right[row_of]
        best = np.where(own, cosines, -np.inf).max(-1, keepdims=True)
        ranks.append(1 + ((cosines >= best - _NEAR) & ~own).sum(-1))
    return np.concatenate(ranks)


def _loss(questions, answers, factor: float, bias: float, loss: str) -> float:
    """The mean over questions; rows that hold the same are not wrong answers."""
    (ours, asking), (theirs, asked) = questions, answers
    total = 0.0
    for start in range(0, len(ours), _ROWS):
        block = slice(start, start + _ROWS)
        logits = factor * (ours[block] @ theirs.T) + bias
        own = np.arange(len(logits))[:, None] + start == np.arange(len(theirs))[None, :]
        same = (asking[block, None] == asking[None, :]) | (asked[block, None] == asked[None, :])
        logits[same & ~own] = -np.inf
        if loss == "sigmoid":
            total += np.logaddexp(0.0, np.where(own, -logits, logits)).sum()
        else:
            total += negative_log_likelihood(logits, start + np.arange(len(logits))).sum()
    return total / len(ours)
