"""Questions with answers in a context: SQuAD's files, flat tables, and what is wrong with them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelzoo.data import read_examples, span_batches
from modelzoo.data.raw import ANSWERED
from modelzoo.data.splitting import split
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import DataError, OverflowTextError
from modelzoo.tasks.profile import ENCODER_TOKENS

CONTEXT = "It rained in May. Ann wrote the letter, and Ann read it."
CHINESE = "下了一整天的雨。安妮在五月写了信。"
ROW = {"question": "Who wrote it?", "context": CONTEXT, "answer": "Ann", "start": 18}
WANTED = {"question": "Who wrote it?", "context": CONTEXT}
ANN = {"text": "Ann", "start": 18}


def read(rows) -> list[dict]:
    return list(read_examples(rows, fields=ANSWERED))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([CONTEXT, CHINESE], "wordpiece", 560, ENCODER_TOKENS)


# === Reading ===


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        tuple(ROW.values()),
        {**ROW, "start": "18"},
        {**ROW, "start": "18.0"},
        {**WANTED, "answers": [ANN]},
        {**WANTED, "answers": [{"text": "Ann", "answer_start": 18}]},
        {**WANTED, "answers": {"text": ["Ann"], "answer_start": [18]}},
        {**WANTED, "answers": {"text": ["Ann"], "answer_start": np.array([18])}},
    ],
)
def test_every_form_becomes_one(row):
    (found,) = read([row])
    assert found == {**WANTED, "answers": [ANN]}
    assert read([found]) == [found]
    json.dumps(found)  # a run's settings hold its hash


@pytest.mark.parametrize(
    "row",
    [
        {**ROW, "answer": "", "start": ""},
        {**ROW, "answer": None, "start": None},
        {**ROW, "answer": float("nan"), "start": -1},
        {**WANTED, "answers": []},
        {**WANTED, "answers": {"text": [], "answer_start": []}},
    ],
)
def test_no_answer_is_an_empty_list(row):
    assert read([row])[0]["answers"] == []


def test_a_table_of_both_languages(tmp_path):
    path = tmp_path / "qa.tsv"
    rows = [list(ROW), list(ROW.values()), ["谁写了信？", CHINESE, "安妮", 8]]
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")
    english, chinese = read(path)
    assert english["answers"] == [ANN]
    assert chinese["answers"] == [{"text": "安妮", "start": 8}]


def squad(tmp_path, **asked):
    content = {"question": "Who wrote it?", "id": "q7", **asked}
    paragraphs = [{"context": CONTEXT, "qas": [content]}]
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"version": "2.0", "data": [{"paragraphs": paragraphs}]}))
    return path


def test_squads_files(tmp_path):
    answer = {"text": "Ann", "answer_start": 18}
    assert read(squad(tmp_path, answers=[answer]))[0]["answers"] == [ANN]
    none = squad(tmp_path, answers=[], is_impossible=True, plausible_answers=[answer])
    assert read(none)[0]["answers"] == []


def test_json_that_is_not_squads(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[{"text": "a"}]')
    with pytest.raises(DataError, match=r"no reader for \.json"):
        read(path)
    path.write_text('{"data": [{"paragraphs": [{"qas": [{}]}]}]}')
    with pytest.raises(DataError, match="not a file of SQuAD's form"):
        read(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read(path)


# === What is wrong ===


@pytest.mark.parametrize(
    ("row", "what", "step"),
    [
        ({"start": 19}, r"'Ann' is not at character 19 of its context: 'nn ' is there", "18, 44"),
        ({"start": -3}, "'Ann' is not at character -3", "18, 44"),
        ({"start": 999}, "at character 999 of its context: '' is there", "18, 44"),
        ({"answer": "Bob"}, "'Bob' is not at character 18", "as it stands in the context"),
        ({"start": "soon"}, "'start' must be the character .* not 'soon'", "18, 44"),
        ({"start": None}, "'start' must be .* not None", "18, 44"),
        ({"answer": 5}, "an answer must be text, not 5", None),
        ({"context": " "}, "the context is empty", "leave the row out"),
        ({"question": "\t"}, "the question is empty", "leave the row out"),
    ],
)
def test_a_wrong_row_is_named(row, what, step):
    with pytest.raises(DataError, match=what) as caught:
        read([ROW, {**ROW, **row}])
    assert caught.value.where == "example 2"
    assert step is None or step in caught.value.next_step


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ("Ann", "must be a list of tables, not str"),
        (["Ann"], "an answer must be a table"),
        ({"text": ["Ann"], "answer_start": []}, "as many texts as starts"),
    ],
)
def test_answers_of_another_form(answers, what):
    with pytest.raises(DataError, match=what):
        read([{**WANTED, "answers": answers}])


def test_an_offset_of_a_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "qa.jsonl"
    path.write_text("\n".join(map(json.dumps, [ROW, {**ROW, "start": 17}])))
    with pytest.raises(DataError, match="at character 17") as caught:
        read(path)
    assert caught.value.where == f"{path}:2"
    wrong = squad(tmp_path, answers=[{"text": "Ann", "answer_start": 17}])
    with pytest.raises(DataError, match="at character 17") as caught:
        read(wrong)
    assert caught.value.where == f"{wrong}, question q7"


# === Batches ===


def decoded(batches, tokenizer, row: int) -> str:
    """The text that the places of a row point at."""
    (x, y, _), at = batches.batch(0), row
    first, last = y[at]
    return tokenizer.decode(x["token_ids"][at, first : last + 1]).strip()


def test_places_point_at_the_answer(tokenizer):
    rows = [ROW, {"question": "谁？", "context": CHINESE, "answer": "安妮", "start": 8}]
    batches = span_batches(rows, tokenizer, length=96, batch_size=2, shuffle=False)
    x, y, weight = batches.batch(0)
    assert {key: value.shape for key, value in x.items()} == dict.fromkeys(x, (2, 96))
    assert (y.shape, weight.shape) == ((2, 2), (2, 2))
    assert decoded(batches, tokenizer, 0) == "Ann"
    assert "安妮" in decoded(batches, tokenizer, 1)
    assert (x["segment_ids"][0, y[0, 0]], x["segment_ids"][0, 0]) == (1, 0)


def test_a_window_without_the_answer_points_at_place_0(tokenizer):
    long = {**ROW, "context": CONTEXT + " The dog slept." * 12}
    batches = span_batches([long], tokenizer, length=40, batch_size=99, stride=10, shuffle=False)
    assert len(batches.windows) > 2 and set(batches.owners) == {0}
    firsts = [window.first for window in batches.windows]
    ends = [window.first + window.count for window in batches.windows]
    assert [end - first for end, first in zip(ends, firsts[1:], strict=False)] == [10] * (
        len(firsts) - 1
    )
    assert ends[-1] == len(batches.contexts[0].ids)
    spans = batches.batch(0)[1][: len(firsts)]
    assert spans[0].min() > 0 and not spans[-1].any()


def test_unanswerable_and_trimmed(tokenizer):
    row = {**WANTED, "answers": []}
    batches = span_batches([row], tokenizer, length=512, batch_size=1, trim=True)
    x, y, _ = batches.batch(0)
    assert not y.any() and x["token_ids"].shape[1] == batches.length <= 64


def test_a_question_longer_than_the_window_is_rejected(tokenizer):
    row = {**ROW, "question": "Who wrote it? " * 9}
    with pytest.raises(OverflowTextError, match="no room for the context") as caught:
        span_batches([ROW, row], tokenizer, length=48, batch_size=1)
    assert caught.value.where == "example 2"


def test_questions_about_one_context_stay_together():
    rows = read([{**ROW, "context": f"{CONTEXT} {n // 3}"} for n in range(30)])
    training, validation = split(rows, 0.2, seed=1)
    assert len(validation) == 6 and len(training) == 24
    contexts = [{one["context"] for one in side} for side in (training, validation)]
    assert not contexts[0] & contexts[1]
