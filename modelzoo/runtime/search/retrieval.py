"""Passages by their meaning, by their words, or by both; and put in order by a reranker."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelzoo.errors import ModelzooError, nearest, require
from modelzoo.runtime.search.index import Hit, Index, Passage
from modelzoo.runtime.text.keywords import keywords

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Labels

__all__ = ["METHODS", "KeywordIndex", "fused", "keyword_scores", "reranked", "retrieve"]

METHODS = ("vectors", "bm25", "both")
_RANK = 60  # of Cormack et al. 2009
RERANKED = 50  # passages that a reranker reads


def retrieve(
    query: str,
    passages: Sequence[Passage],
    vectors: Callable[[], tuple[np.ndarray, np.ndarray]],
    *,
    method: str = "vectors",
    top: int = 5,
) -> list[Hit]:
    """The `top` passages that fit a query best, the best first.

    Args:
        vectors: gives the query's vector (D,) and the passages' (N, D); called only where the
            method needs them.
        method: "vectors" (cosines), "bm25" (Robertson and Zaragoza 2009: words that the query and a
            passage have in common), or "both", whose score is `fused`.

    Raises:
        MissingDependencyError: bm25s, which counts the words, is not installed.

    Example:
        >>> passages = [Passage("a dog", "a.txt:1"), Passage("a red car", "a.txt:2")]
        >>> [hit.passage.text for hit in retrieve("red dog", passages, vectors=None, method="bm25")]
        ['a dog', 'a red car']
    """
    if method not in METHODS:
        raise ModelzooError(
            f"{method!r} is not a method of search",
            did_you_mean=nearest(method, METHODS),
            next_step=f"choose one of {', '.join(METHODS)}",
        )
    everything = len(passages)
    found = []
    if method in ("vectors", "both"):
        asked, known = vectors()
        hits = Index(known, passages).search(asked, top if method == "vectors" else everything)
        if method == "vectors":
            return hits
        scores = np.zeros(everything)
        place = {id(passage): row for row, passage in enumerate(passages)}
        for hit in hits:
            scores[place[id(hit.passage)]] = hit.score
        found.append(scores - scores.min() + 1.0)  # every passage has a rank
    found.append(keyword_scores(query, [passage.text for passage in passages]))
    scores = found[0] if method == "bm25" else fused(found)
    order = [row for row in np.argsort(-scores, kind="stable")[:top] if scores[row] > 0]
    return [Hit(float(scores[row]), passages[row]) for row in order]


def keyword_scores(query: str, texts: Sequence[str]) -> np.ndarray:
    """(N,) BM25 of each text for one query; see `KeywordIndex`."""
    return KeywordIndex(texts).scores(query)


class KeywordIndex:
    """The words of texts, counted once for many queries. Needs bm25s.

    Chinese and Japanese characters count as words.

    Args:
        texts: N.

    Raises:
        MissingDependencyError: bm25s is not installed.

    Example:
        >>> KeywordIndex(["a dog", "a red car"]).scores("red?").round(2).tolist()
        [0.0, 0.25]
    """

    def __init__(self, texts: Sequence[str]):
        self._bm25, self._count = require("bm25s", "search").BM25(), len(texts)
        words = [keywords(text) for text in texts]
        self._known: Container[str] = ()
        if any(words):
            self._bm25.index(words, show_progress=False)
            self._known = self._bm25.vocab_dict

    def scores(self, query: str) -> np.ndarray:
        """(N,) BM25 of each text: 0 where it has no word of the query."""
        asked = [word for word in keywords(query) if word in self._known]
        if not asked:
            return np.zeros(self._count)
        return np.asarray(self._bm25.get_scores(asked), float)


def fused(scores: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) reciprocal rank fusion of several scores (N,) each (Cormack et al. 2009).

    What one of them has at 0 or below is not ranked by it.

    >>> fused([np.array([0.9, 0.5]), np.array([0.0, 3.0])]).round(4).tolist()
    [0.0164, 0.0325]
    """
    total = np.zeros(len(scores[0]))
    for some in scores:
        order = np.argsort(-some, kind="stable")
        shares = np.empty(len(some))
        shares[order] = 1 / (_RANK + 1 + np.arange(len(some)))
        total += np.where(some > 0, shares, 0.0)
    return total


def reranked(
    query: str, hits: Sequence[Hit], rank: Callable[..., Labels], top: int | None = None
) -> list[Hit]:
    """Hits in the order of a reranker, with its scores.

    Args:
        rank: `Model.rank` of one; long passages are cut for it.

    >>> hits = [Hit(0.9, Passage("a", "a.txt:1")), Hit(0.8, Passage("b", "a.txt:2"))]
    >>> better = lambda query, texts, truncate: [("b", 0.7), ("a", 0.1)]
    >>> [hit.passage.where for hit in reranked("q", hits, better)]
    ['a.txt:2', 'a.txt:1']
    """
    left: dict[str, list[Passage]] = {}
    for hit in hits:
        left.setdefault(hit.passage.text, []).append(hit.passage)
    ranked = rank(query, [hit.passage.text for hit in hits], truncate=True)
    return [Hit(score, left[text].pop(0)) for text, score in ranked][:top]
