"""How well a ranking has the right texts first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["ranking_scores"]

_DEPTH = 10  # of nDCG


def ranking_scores(
    scores: np.ndarray, truth: np.ndarray, groups: np.ndarray, tops: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """`mrr`, `ndcg@10`, `recall@1`, `recall@5`, means over the `queries` with a right text.

    A text is right from a score of 0.5 on; nDCG (Järvelin and Kekäläinen 2002) counts the scores
    themselves. A wrong text with the same answer as a right one counts as the better.

    Args:
        scores: (N,) what a model says of each text.
        truth: (N,) from 0 to 1.
        groups: (N,) which rows are candidates of the same query.
        tops: k of each recall@k: the share of a query's right texts among the first k.

    >>> ranking_scores(np.array([3.0, 2.0, 1.0]), np.array([0, 1, 0]), np.zeros(3))["mrr"]
    0.5
    """
    found = []
    for group in np.unique(groups):
        rows = groups == group
        if (truth[rows] >= 0.5).any():
            found.append(_of_query(scores[rows], truth[rows], tops))
    names = ("mrr", f"ndcg@{_DEPTH}", *(f"recall@{top}" for top in tops))
    means = np.mean(found, axis=0).tolist() if found else [math.nan] * len(names)
    return {**dict(zip(names, means, strict=True)), "queries": len(found)}


def _of_query(scores: np.ndarray, truth: np.ndarray, tops: Sequence[int]) -> list[float]:
    gains = truth[np.lexsort((truth, -scores))]
    right = gains >= 0.5
    weights = 1 / np.log2(np.arange(2, min(len(gains), _DEPTH) + 2))
    best = np.sort(truth)[::-1][:_DEPTH] @ weights
    recalls = [right[:top].sum() / right.sum() for top in tops]
    return [1 / (1 + int(right.argmax())), float(gains[:_DEPTH] @ weights / best), *recalls]
