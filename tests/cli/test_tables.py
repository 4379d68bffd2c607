"""run MODEL FILE.csv --out, and evaluate's tables: a classifier's answers as files and figures."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import pytest

import modelzoo
from modelzoo import cli
from modelzoo.cli.run import _ability_of_rows
from modelzoo.cli.run_inputs import unescaped
from modelzoo.cli.table_files import is_table, read_rows, write_rows
from modelzoo.errors import ModelzooError
from modelzoo.recipe import from_values
from tests import small


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("bert-tiny-classifier", "gpt-tiny"):
        modelzoo.save(small.with_tokenizer(name), folder / name)
    return folder


@pytest.fixture
def classifier(models):
    return str(models / "bert-tiny-classifier")


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{n},{text}\n" for n, (text, _) in enumerate(small.REVIEWS))
    (tmp_path / "new.csv").write_text(f"id,text\n{rows}", "utf-8")
    rows = "".join(f"{text},{label}\n" for text, label in small.REVIEWS)
    (tmp_path / "test.csv").write_text(f"text,label\n{rows}", "utf-8")
    return tmp_path


def output(capsys, *argv: str) -> str:
    code = cli.main(list(argv))
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def refused(capsys, *argv: str) -> str:
    assert cli.main(list(argv)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


# === run ===


def test_run_writes_a_table_with_every_column_and_the_answers(work, classifier, capsys):
    out = output(capsys, "run", classifier, "new.csv", "--out", "predictions.csv")
    assert out.startswith("predictions.csv: 4 rows in ")
    rows = list(csv.DictReader((work / "predictions.csv").read_text("utf-8").splitlines()))
    assert [list(row) for row in rows] == [["id", "text", "label", "probability"]] * 4
    model = modelzoo.load(classifier)
    for row, (text, _) in zip(rows, small.REVIEWS, strict=True):
        ((label, share),) = model.classify(text, top=1)
        assert (row["text"], row["label"]) == (text, label)
        assert float(row["probability"]) == pytest.approx(share, abs=1e-5)


def test_run_keeps_a_label_that_is_there_already(work, classifier, capsys):
    output(capsys, "run", classifier, "test.csv", "--out", "o.jsonl", "--top", "2")
    row = json.loads((work / "o.jsonl").read_text("utf-8").splitlines()[0])
    assert list(row) == [
        *("text", "label", "predicted_label", "probability", "label_2", "probability_2"),
    ]
    assert row["label"] == small.REVIEWS[0][1]


@pytest.mark.parametrize("task", ["text-classification", "reranking"])
def test_run_chooses_from_given_labels_for_each_row(task, work, capsys):
    model = small.with_tokenizer("bert-tiny-classifier")
    if task == "reranking":
        values = {**model.recipe.values, "task": task, "task_options": {}}
        model = modelzoo.build(from_values(values, name="r"), tokenizer=model.tokenizer)
        (work / "new.csv").write_text("id,query\n1,so fine\n2,so dull\n", "utf-8")
        wanted = [dict(model.rank(text, ["fine", "dull"])) for text in ("so fine", "so dull")]
    else:
        names = {"labels": ["entailment", "contradiction"]}
        values = {**model.recipe.values, "task_options": names}
        model = modelzoo.build(from_values(values, name="nli"), tokenizer=model.tokenizer)
        texts = [text for text, _ in small.REVIEWS]
        wanted = [dict(one) for one in model.classify(texts, labels=["fine", "dull"])]
    modelzoo.save(model, work / "model")
    labels = ("--label", "fine", "--label", "dull", "--top", "2", "--out", "o.jsonl")
    output(capsys, "run", "model", "new.csv", *labels)
    rows = [json.loads(line) for line in (work / "o.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == len(wanted)
    for row, shares in zip(rows, wanted, strict=True):
        assert row["probability"] >= row["probability_2"]
        for end in ("", "_2"):
            share = shares.pop(row[f"label{end}"])
            assert row[f"probability{end}"] == pytest.approx(share, abs=1e-5)


def test_labels_for_files_do_not_fit_a_table(work):
    args = SimpleNamespace(label=["a", "b"], input="new.csv")
    with pytest.raises(
        ModelzooError, match="new.csv is a table, and this model takes labels for files"
    ):
        _ability_of_rows(("zero_shot", "embed_text", "embed_image"), args)
    with pytest.raises(ModelzooError, match="there are no texts"):
        _ability_of_rows(("rank",), SimpleNamespace(label=None, input="new.csv"))


def test_run_prints_each_input_above_its_label(work, classifier, capsys):
    blocks = output(capsys, "run", classifier, "new.csv").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [text for text, _ in small.REVIEWS]
    lines = output(capsys, "run", classifier, "new.csv", "--json").splitlines()
    assert [json.loads(line)["input"] for line in lines] == [text for text, _ in small.REVIEWS]


def test_run_reads_each_line_of_a_text_file_and_generates(work, models, capsys):
    (work / "prompts.txt").write_text("a rose\n\nthe fox\n", "utf-8")
    words = ("prompts.txt", "--out", "o.tsv", "--max-new-tokens", "2")
    output(capsys, "run", str(models / "gpt-tiny"), *words)
    lines = (work / "o.tsv").read_text("utf-8").split("\n")
    assert lines[0] == "text\toutput" and lines[1].startswith(("a rose\t", '"a rose'))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nwe.csv"], "no such file: nwe.csv\n  did you mean: new.csv?"),
        (["new.csv", "--out", "o.xlsx"], "o.xlsx: a table is written as .csv"),
        (["new.csv", "--out", "new.csv", "--force"], "new.csv is the input"),
        (
            ["new.csv", "--out", "test.csv"],
            "test.csv exists\n  next: take another name",
        ),
        (["new.csv", "--out", "no/o.csv"], "there is no folder no\n  next: mkdir -p no"),
        (["a text", "--out", "o.csv"], "--out is for a table of texts"),
        (["new.csv", "--pair", "b"], "--pair does not fit: new.csv is a table"),
        (["new.csv", "--column", "txt"], "there is no column 'txt'; the columns are id, text\n"),
        (["none.csv"], "no such file"),
        (["empty.csv"], "there is no row in the file"),
        (["hole.csv"], "the column 'text' holds no text here\n  in: hole.csv:2"),
        (["long.csv", "--out", "o.csv"], "  in: long.csv:3\n"),
        ([""], "the text is empty"),
    ],
)
def test_run_refuses_what_is_wrong_with_a_table(work, classifier, capsys, words, said):
    (work / "empty.csv").write_text("text\n", "utf-8")
    (work / "hole.csv").write_text("id,text\n1,\n", "utf-8")
    (work / "long.csv").write_text(f"text\nso fine\n{'a fine film ' * 30}\n", "utf-8")
    before = small.listing(work)
    assert said in refused(capsys, "run", classifier, *words)
    assert small.listing(work) == before


def test_the_nearest_column_is_named_with_its_option(work, classifier, capsys):
    err = refused(capsys, "run", classifier, "new.csv", "--column", "txt")
    assert err.endswith("  did you mean: text?\n  next: --column text\n")


def test_a_table_comes_back_as_it_was_written(tmp_path):
    records, added = [{"text": 'a "b",\tc', "n": 1}, {"text": "d\ne", "n": 2}], [{"label": "x"}] * 2
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = tmp_path / f"t{suffix}"
        write_rows(path, records, added)
        rows = [row for row, _ in read_rows(path)]
        assert [row["text"] for row in rows] == ['a "b",\tc', "d\ne"]
        assert [str(row["n"]) for row in rows] == ["1", "2"] and rows[0]["label"] == "x"


def test_a_file_of_another_kind_is_no_table(tmp_path):
    (tmp_path / "a.csv").touch()
    (tmp_path / "a.png").touch()
    assert is_table(str(tmp_path / "a.csv")) and not is_table(str(tmp_path / "a.png"))
    assert not is_table("x" * 5000 + ".csv") and not is_table("a\0.csv") and not is_table(None)


def test_escapes_in_a_stop_text():
    assert unescaped(r"\n\n") == "\n\n" and unescaped(r"a\tb\\n\q") == "a\tb\\n\\q"


# === evaluate ===


def test_evaluate_shows_each_label_and_the_confusion_matrix(work, classifier, capsys):
    out = output(capsys, "evaluate", classifier, "--data", "test.csv", "--predictions", "p.csv")
    facts = json.loads(output(capsys, "evaluate", classifier, "--data", "test.csv", "--json"))
    rows = list(csv.DictReader((work / "p.csv").read_text("utf-8").splitlines()))
    assert list(rows[0]) == ["text", "label", "prediction", "probability"]
    right = sum(row["label"] == row["prediction"] for row in rows)
    assert right / len(rows) == facts["accuracy"]
    assert sum(facts["confusion"][n][n] for n in (0, 1)) == right
    assert [one["label"] for one in facts["labels"]] == ["bad", "good"]
    assert [one["examples"] for one in facts["labels"]] == [2, 2]
    lines = out.splitlines()
    assert any(line.split() == ["label", "precision", "recall", "f1", "examples"] for line in lines)
    first = lines[lines.index("right label (rows) and the model's label (columns)") + 2]
    assert first.split() == ["1", "bad", *map(str, facts["confusion"][0])]
    assert lines[-1] == "p.csv: 4 rows"


def test_predictions_need_a_classifier(work, models, capsys):
    (work / "corpus.txt").write_text("\n".join(small.TEXTS), "utf-8")
    words = ("--data", "corpus.txt", "--predictions", "p.csv")
    err = refused(capsys, "evaluate", str(models / "gpt-tiny"), *words)
    assert "--predictions is for a classifier and data in one file" in err
    assert not (work / "p.csv").exists()


# === A file of a model is not the model ===


def test_a_file_inside_a_model_or_bundle_names_the_folder(work, classifier, capsys, tmp_path):
    err = refused(capsys, "run", f"{classifier}/model.keras", "a text")
    assert f"is a file, not a model directory\n  next: name the folder: {classifier}\n" in err
    (work / "lone.keras").touch()
    err = refused(capsys, "run", "lone.keras", "a text")
    assert "keras.saving.load_model('lone.keras') opens it, without a tokenizer" in err
