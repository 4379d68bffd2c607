"""modelzoo answer: passages are found, read, and cited."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelzoo.cli import main, open_model
from modelzoo.cli import search as search_command
from modelzoo.runtime.text.spans import Answer

pytest.importorskip("bm25s")


class Pointer:
    """Answers with the word after "by", the surer the shorter the passage; else with nothing."""

    task = "question-answering"

    def __init__(self):
        self.read = []

    def answer(self, questions, contexts):
        self.read += contexts
        return [[self._one(context)] for context in contexts]

    def _one(self, context: str) -> Answer:
        start = context.find("by ") + 3
        if start == 2:
            return Answer(None, None, None, 0.9)
        end = start + len(context[start:].split(".")[0])
        return Answer(context[start:end], start, end, 1 / len(context))


@pytest.fixture
def reader(monkeypatch) -> Pointer:
    model = Pointer()
    monkeypatch.setattr(open_model, "open_model", lambda *_, **__: (model, ("answer",)))
    return model


@pytest.fixture
def letters(tmp_path) -> Path:
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "a.txt").write_text("The weather was fine.\n\nThe old letter is by Ann.\n")
    (folder / "b.txt").write_text("The other letter of that year was written by Bob.\n")
    return folder


def output(capsys, *argv) -> str:
    code = main(["answer", *map(str, argv)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def test_the_likeliest_answer_comes_with_its_place(reader, letters, capsys):
    lines = output(capsys, "qa", "who wrote the letter?", "--in", letters).splitlines()
    assert lines == [
        f"0.0400  Ann  ({letters / 'a.txt'}:3)",
        "        The old letter is by Ann.",
    ]


def test_as_json_every_passage_with_an_answer_is_cited(reader, letters, capsys):
    found = json.loads(
        output(capsys, "qa", "who wrote the letter?", "--in", letters, "--top", 9, "--json")
    )
    assert [(one["answer"], one["where"]) for one in found["answers"]] == [
        ("Ann", f"{letters / 'a.txt'}:3"),
        ("Bob", f"{letters / 'b.txt'}:1"),
    ]
    assert "The weather was fine." in reader.read  # a passage without an answer is left out


def test_no_more_passages_are_read_than_asked_for(reader, letters, capsys):
    output(capsys, "qa", "the old letter", "--in", letters, "--passages", 1)
    assert reader.read == ["The old letter is by Ann."]


def test_without_an_answer_it_says_so(reader, letters, capsys):
    assert output(capsys, "qa", "weather", "--in", letters) == "(no answer)\n"
    assert output(capsys, "qa", "zebras", "--in", letters) == "(no answer)\n"


def test_a_reranker_chooses_what_is_read(reader, letters, capsys, monkeypatch):
    class Ranker:
        @staticmethod
        def rank(query, texts, truncate):
            return sorted(((text, float("Bob" in text)) for text in texts), key=lambda one: -one[1])

    monkeypatch.setattr("modelzoo.cli.answer.open_reranker", lambda *_: Ranker)
    options = ("--rerank", "r", "--passages", 1)
    assert "Bob" in output(capsys, "qa", "who wrote the letter?", "--in", letters, *options)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["qa", " ", "--in", "."], "the query is empty"),
        (["qa", "who?", "--in", "nowhere"], "nowhere does not exist"),
        (["qa", "who?", "--in", ".", "--top", "0"], "--top must be 1 or more"),
        (["qa", "who?", "--in", ".", "--passages", "0"], "--passages must be 1 or more"),
    ],
)
def test_what_cannot_be_answered_is_named_before_a_model_is_opened(argv, complaint, capsys):
    assert main(["answer", *argv]) == 2
    assert complaint in capsys.readouterr().err


def test_a_model_of_another_task_and_a_folder_without_texts_are_named(
    reader, tmp_path, capsys, monkeypatch
):
    (tmp_path / "photo.png").write_bytes(b"no text")
    assert main(["answer", "qa", "who?", "--in", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    monkeypatch.setattr(open_model, "open_model", lambda *_, **__: (reader, ("classify",)))
    assert main(["answer", "qa", "who?", "--in", str(tmp_path)]) == 2
    assert "does not answer questions" in capsys.readouterr().err
    assert search_command.task_of(reader) == "question-answering"
