"""Passages by meaning, by words, by both, and in the order of a reranker."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.cli import search
from modelzoo.errors import MissingDependencyError, ModelzooError
from modelzoo.runtime.search import retrieval
from modelzoo.runtime.search.index import Hit, Passage
from modelzoo.runtime.text.keywords import keywords

TEXTS = ["the cat sat", "a dog and a cat", "今天 天气 好", "nothing of it"]
PASSAGES = [Passage(text, f"a.txt:{n}") for n, text in enumerate(TEXTS)]


def vectors():
    return np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [-1.0, 0.1]])


def texts_of(hits) -> list[str]:
    return [hit.passage.text for hit in hits]


def test_the_command_line_offers_every_method():
    assert search.METHODS == retrieval.METHODS


def test_vectors_alone_count_no_words(monkeypatch):
    monkeypatch.setattr(retrieval, "keyword_scores", None)
    hits = retrieval.retrieve("cat", PASSAGES, vectors, top=2)
    assert texts_of(hits) == ["今天 天气 好", "a dog and a cat"]


def test_words_are_scored_as_bm25_is_defined():
    pytest.importorskip("bm25s")
    query = "cat 天"
    known = [keywords(text) for text in TEXTS]
    length = np.mean([len(some) for some in known])
    expected = np.zeros(len(TEXTS))
    for word in keywords(query):
        there = sum(word in some for some in known)
        weight = np.log(1 + (len(TEXTS) - there + 0.5) / (there + 0.5))
        for n, some in enumerate(known):
            count = some.count(word)
            expected[n] += weight * count / (count + 1.5 * (0.25 + 0.75 * len(some) / length))
    np.testing.assert_allclose(retrieval.keyword_scores(query, TEXTS), expected, rtol=1e-5)
    assert retrieval.keyword_scores("unseen", TEXTS).tolist() == [0.0] * 4
    assert retrieval.keyword_scores("cat", ["!", "?"]).tolist() == [0.0] * 2


def test_words_alone_embed_nothing_and_leave_out_what_has_none():
    pytest.importorskip("bm25s")
    hits = retrieval.retrieve("cat", PASSAGES, None, method="bm25")
    assert sorted(texts_of(hits)) == ["a dog and a cat", "the cat sat"]


def test_both_put_first_what_either_ranks_high(monkeypatch):
    monkeypatch.setattr(retrieval, "keyword_scores", lambda *_: np.array([2.0, 1.0, 0.0, 0.0]))
    hits = retrieval.retrieve("cat", PASSAGES, vectors, method="both", top=3)
    assert texts_of(hits) == ["the cat sat", "a dog and a cat", "今天 天气 好"]
    # The third by its vector and the first by its words; the second by both.
    assert hits[0].score == pytest.approx(1 / 63 + 1 / 61)
    assert hits[1].score == pytest.approx(1 / 62 + 1 / 62)


def test_a_reranker_has_the_last_word_and_equal_texts_keep_their_places():
    hits = [Hit(0.9, Passage("a", "1")), Hit(0.8, Passage("b", "2")), Hit(0.7, Passage("a", "3"))]

    def rank(query, texts, truncate):
        assert truncate and texts == ["a", "b", "a"]
        return [("b", 0.9), ("a", 0.2), ("a", 0.2)]

    found = retrieval.reranked("q", hits, rank)
    assert [(hit.score, hit.passage.where) for hit in found] == [(0.9, "2"), (0.2, "1"), (0.2, "3")]
    assert len(retrieval.reranked("q", hits, rank, 1)) == 1


def test_other_methods_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(ModelzooError, match="not a method") as caught:
        retrieval.retrieve("q", PASSAGES, vectors, method="bm52")
    assert caught.value.did_you_mean == "bm25"
    monkeypatch.setitem(__import__("sys").modules, "bm25s", None)
    with pytest.raises(MissingDependencyError) as caught:
        retrieval.keyword_scores("q", TEXTS)
    assert caught.value.next_step == 'pip install "modelzoo-keras[search]"'
