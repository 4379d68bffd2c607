"""Words of texts, the parts of long ones, and spans out of tags."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.runtime.text.words import (
    entities,
    find_words,
    frame_words,
    is_bio,
    join_words,
    stray_inside,
    surfaces,
    windows,
)


def words_in(text: str) -> list[str]:
    return [text[start:end] for start, end in find_words(text)]


@pytest.mark.parametrize(
    "text, words",
    [
        ("Angela Merkel visited Paris.", ["Angela", "Merkel", "visited", "Paris", "."]),
        ("It's 2.5% of 1,000!", ["It", "'s", "2.5", "%", "of", "1,000", "!"]),
        ("U.S.-based", ["U", ".", "S", ".", "-", "based"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("李白在北京,2024年", ["李", "白", "在", "北", "京", ",", "2024", "年"]),
        ("café naïve  x\n", ["café", "naïve", "x"]),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_all_else_stands_alone(text, words):
    assert words_in(text) == words


def test_words_that_are_joined_are_found_where_they_are_said_to_be():
    words = ["李", "白", "likes", "北", "京", "。", "New York", "!"]
    text, places = join_words(words)
    assert text == "李白 likes 北京。 New York !"
    assert [text[start:end] for start, end in places] == words
    assert surfaces(text, places) == ["李", "白", " likes", " 北", "京", "。", " New York", " !"]


def test_spans_are_those_of_seqeval():
    """Recorded from `get_entities` of seqeval 1.2.2, whose ends are inclusive."""
    recorded = {
        "B-A I-A O B-B": [("A", 0, 1), ("B", 3, 3)],
        "I-A I-A O I-B I-A": [("A", 0, 1), ("B", 3, 3), ("A", 4, 4)],
        "B-A B-A I-B": [("A", 0, 0), ("A", 1, 1), ("B", 2, 2)],
        "S-A B-A E-A E-A": [("A", 0, 0), ("A", 1, 2), ("A", 3, 3)],
        "O O": [],
    }
    for tags, spans in recorded.items():
        assert entities(tags.split()) == [(kind, first, last + 1) for kind, first, last in spans]


def test_spans_of_any_tags_are_those_of_the_installed_seqeval():
    labels = pytest.importorskip("seqeval.metrics.sequence_labeling")
    draw = random.Random(0)
    choices = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("A", "B-C"))]
    for _ in range(300):
        tags = draw.choices(choices, k=draw.randint(1, 9))
        wanted = [(kind, first, last + 1) for kind, first, last in labels.get_entities(tags)]
        assert entities(tags) == wanted, tags


def test_plain_tags_are_no_spans():
    assert is_bio(["O", "B-A"]) and is_bio(["B-A", "I-A"])
    for labels in (["NN", "VB"], ["O"], ["O", "B-A", "A"], ["B-", "O"], ["BE-HL", "NN"]):
        assert not is_bio(labels)


def test_words_that_go_on_with_nothing_are_found():
    assert list(stray_inside(["I-A", "I-A", "O", "I-A", "B-B", "I-A", "S-A", "I-A"])) == [
        0,
        3,
        5,
        7,
    ]
    assert list(stray_inside(["B-A", "I-A", "E-A", "O"])) == []


class Framed:
    """A tokenizer of one control token before a text and one after it."""

    frame = None
    roles = {"cls": 101, "sep": 102}
    frame_pair = Tokenizer.frame_pair


def test_a_word_is_at_its_first_token():
    framed, segments, firsts = frame_words(Framed(), [[1, 2], [3], [4, 5, 6]], 16)
    assert framed == [101, 1, 2, 3, 4, 5, 6, 102]
    assert segments == [0] * 8 and firsts == [1, 3, 4]
    assert frame_words(Framed(), [[1, 2], [3], [4]], 5)[2] == [1, 3]  # the third does not fit
    assert frame_words(Framed(), [], 5) == ([101, 102], [0, 0], [])


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 1.0])
def test_parts_hold_every_word_fit_and_go_on(overlap):
    draw = random.Random(0)
    for _ in range(100):
        lengths = draw.choices([1, 1, 2, 3, 12], k=draw.randint(1, 30))
        parts = windows(Framed(), lengths, 10, overlap)
        assert parts[0][0] == 0 and parts[-1][1] == len(lengths)
        for first, end in parts:
            assert sum(lengths[first:end]) <= 8 or end == first + 1
        for (first, end), (following, after) in pairwise(parts):
            assert first < following <= end < after
            assert sum(lengths[following:end]) <= overlap * 8
            assert overlap or following == end
