"""Names and parts of speech on the command line: train, evaluate, run."""

from __future__ import annotations

import json

import pytest

from modelzoo import cli

SENTENCES = (
    "Angela\tB-PER\nMerkel\tI-PER\nvisited\tO\nParis\tB-LOC\n\n"
    "李\tB-PER\n白\tI-PER\n在\tO\n北\tB-LOC\n京\tI-LOC\n\n"
    "visited\tO\n\n"
) * 8
SIZES = ("num_layers=1", "hidden_dim=32", "num_heads=2", "max_length=32", "vocab_size=560")
TRAIN = ("train.length=16", "train.batch_size=8", "train.warmup=0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with `names.conll` and a model that has learned it."""
    path = tmp_path_factory.mktemp("tagging")
    (path / "names.conll").write_text(SENTENCES, "utf-8")
    sets = [word for value in (*SIZES, *TRAIN) for word in ("--set", value)]
    data = ["--data", str(path / "names.conll"), "-o", str(path / "names")]
    how = ["--steps", "60", "--lr", "5e-3"]
    assert cli.main(["train", "bert-tiny-tagger", *data, *how, *sets]) == 0
    return path


@pytest.fixture
def said(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)

    def run(*argv: str, code: int = 0) -> str:
        assert cli.main([*argv]) == code
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    return run


def test_spans_are_shown_with_their_place_and_as_json(said):
    lines = said("run", "names", "Angela Merkel visited Paris").splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "PER  Angela Merkel  (0-13)",
        "LOC  Paris  (22-27)",
    ]
    found = json.loads(said("run", "names", "李白在北京", "--json"))
    assert found["input"] == "李白在北京"
    assert [(one["text"], one["label"], one["start"]) for one in found["spans"]] == [
        ("李白", "PER", 0),
        ("北京", "LOC", 3),
    ]
    assert said("run", "names", "visited") == "nothing found\n"
    assert "--top does not fit: this model can tag" in said(
        "run", "names", "a", "--top", "1", code=2
    )


def test_a_table_of_texts_has_its_spans_written(said, folder):
    (folder / "texts.csv").write_text("text\nAngela Merkel visited Paris\nvisited\n", "utf-8")
    said("run", "names", "texts.csv", "--out", "found.jsonl", "--force")
    rows = [json.loads(line) for line in (folder / "found.jsonl").read_text("utf-8").splitlines()]
    assert [[one["text"] for one in row["spans"]] for row in rows] == [
        ["Angela Merkel", "Paris"],
        [],
    ]
    shown = said("run", "names", "texts.csv")
    assert shown.startswith("Angela Merkel visited Paris\n") and "\n\nvisited\nnothing" in shown


def test_figures_name_each_type_and_the_baseline(said, folder):
    figures = json.loads(said("evaluate", "names", "--data", "names.conll", "--json"))
    assert figures["f1"] == figures["f1_PER"] == figures["recall_LOC"] == 1.0
    assert figures["baseline_f1"] == 1.0 and figures["words"] == 80
    assert (
        said("evaluate", "names", "--data", "names.conll").splitlines()[2].startswith("precision")
    )
    (folder / "other.conll").write_text("Monday\tB-DATE\n", "utf-8")
    error = said("evaluate", "names", "--data", "other.conll", code=2)
    assert "the model was not trained on the tag 'B-DATE' (1 words)" in error


def test_other_data_is_rejected_before_anything_slow(said, folder):
    (folder / "reviews.csv").write_text("text,label\na film,good\n", "utf-8")
    error = said("train", "bert-tiny-tagger", "--data", "reviews.csv", "-o", "m", code=2)
    assert "--task text-classification" in error
