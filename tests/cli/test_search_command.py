"""modelzoo search, with a small model of random weights: every text is nearest to itself."""

from __future__ import annotations

import io
import json
import os
import shlex
from pathlib import Path

import pytest

import modelzoo
from modelzoo.cli import main
from tests import small

LETTERS = "how do I cancel?\nwrite to us.\n\nwhere is my parcel?\n\n" + "so it goes. " * 30
QUERY = "where is my parcel?"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model directory that embeds: 1 layer, 32 positions."""
    values = {**small.recipe("bert-tiny").values, "task": "text-embedding", "task_options": {}}
    built = modelzoo.build(modelzoo.recipe.from_values(values, name="tiny-embedder"))
    pairs = [("how do I cancel?", "write to us."), ("where is it?", "so it goes.")]
    modelzoo.dataset(built, pairs, length=32)
    return modelzoo.save(built, tmp_path_factory.mktemp("models") / "embedder")


@pytest.fixture
def texts(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "help.md").write_text(LETTERS)
    return folder


def output(capsys, *argv) -> str:
    code = main(["search", *map(str, argv)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert captured.err == ""
    return captured.out


def refusal(capsys, *argv) -> str:
    assert main(["search", *map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    return captured.err


def test_a_line_is_score_place_and_first_line(model, texts, capsys):
    lines = output(capsys, model, QUERY, "--in", texts, "--top", 2).splitlines()
    assert lines[0] == f"1.0000  {texts / 'help.md'}:4  {QUERY}"
    assert len(lines) == 2


def test_json_has_the_whole_passages(model, texts, capsys):
    found = json.loads(output(capsys, model, QUERY, "--in", texts, "--top", 99, "--json"))
    assert found["query"] == QUERY and found["passages"] == len(found["results"]) > 3
    assert "how do I cancel?\nwrite to us." in [one["text"] for one in found["results"]]
    scores = [one["score"] for one in found["results"]]
    assert scores == sorted(scores, reverse=True)


def test_long_paragraphs_are_cut_to_what_the_model_reads(model, texts, capsys):
    found = json.loads(output(capsys, model, "so", "--in", texts, "--top", 99, "--json"))
    tokenizer = modelzoo.load(model, compile=False).tokenizer
    for one in found["results"]:
        assert len(tokenizer.encode_pair(one["text"])[0]) <= 32


def test_records_and_lines_are_searched_too(model, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "a rose"}\n{"text": "where is it?"}\n')
    (tmp_path / "a.csv").write_text("id,text\n1,a rose\n2,where is it?\n")
    (tmp_path / "a.txt").write_text("a rose\nwhere is it?\n")
    for name, line in (("a.jsonl", 2), ("a.csv", 3), ("a.txt", 2)):
        lines = output(capsys, model, "where is it?", "--in", tmp_path / name).splitlines()
        assert lines[0] == f"1.0000  {tmp_path / name}:{line}  where is it?"
        assert len(lines) == 2


def test_an_index_is_filled_once_and_follows_the_texts(model, texts, tmp_path, capsys, monkeypatch):
    from modelzoo.tasks.text_embedding import TextEmbedder

    asked, real = [], TextEmbedder.embed

    def embed(self, text, truncate=False):
        asked.extend([text] if isinstance(text, str) else text)
        return real(self, text, truncate)

    monkeypatch.setattr(TextEmbedder, "embed", embed)
    index = tmp_path / "docs.npz"
    command = (model, QUERY, "--in", texts, "--index", index)
    first = output(capsys, *command)
    assert len(asked) > 3 and index.is_file()
    asked.clear()
    assert output(capsys, *command) == first
    assert asked == [QUERY]
    (texts / "help.md").write_text(LETTERS.replace("write to us", "so it goes"))
    asked.clear()
    output(capsys, *command)
    assert asked == [QUERY, "how do I cancel?\nso it goes."]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_without_index_nothing_is_written(model, texts, tmp_path, capsys):
    before = small.listing(tmp_path)
    output(capsys, model, QUERY, "--in", texts)
    assert small.listing(tmp_path) == before


def test_an_interrupt_keeps_what_is_done(model, texts, tmp_path, capsys, monkeypatch):
    from modelzoo.runtime.search import index as search

    monkeypatch.setattr(search, "_CHUNK", 2)
    index = tmp_path / "docs.npz"
    from modelzoo.tasks.text_embedding import TextEmbedder

    calls, real = [], TextEmbedder.embed

    def embed(self, text, truncate=False):
        calls.append(text)
        if len(calls) > 2:  # the query, one chunk, and then Ctrl-C
            raise KeyboardInterrupt
        return real(self, text, truncate)

    monkeypatch.setattr(TextEmbedder, "embed", embed)
    assert main(["search", str(model), QUERY, "--in", str(texts), "--index", str(index)]) == 130
    capsys.readouterr()
    from modelzoo.cli.search_index import model_digest

    assert len(search.read_vectors(index, model_digest(model))) == 2


def test_an_index_of_another_model_or_no_index_is_refused_and_kept(model, texts, tmp_path, capsys):
    index = tmp_path / "docs.npz"
    command = (model, QUERY, "--in", texts, "--index", index)
    for content in (b"PK no zip at all", b""):
        index.write_bytes(content)
        assert "the index" in refusal(capsys, *command)
        assert index.read_bytes() == content
    index.unlink()
    output(capsys, *command)
    other = modelzoo.load(model)
    other.backbone.tokens.embeddings.assign(other.backbone.tokens.embeddings * 2)
    twin = modelzoo.save(other, tmp_path / "twin")
    before = index.read_bytes()
    assert "made with another model" in refusal(capsys, twin, *command[1:])
    assert index.read_bytes() == before


def test_progress_is_shown_at_a_terminal_and_cleared(model, texts, capsys, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    assert main(["search", str(model), QUERY, "--in", str(texts)]) == 0
    shown = terminal.getvalue()
    assert "embedding 0 of" in shown and shown.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "  "}, "the query is empty"),
        ({"query": "where is it? " * 30}, "the model reads 32"),
        ({"--top": "0"}, "--top must be 1 or more"),
        ({"--top": "two"}, "invalid int value"),
        ({"--in": "nowhere"}, "nowhere does not exist"),
        ({"--in": "empty"}, "no .txt or .md file"),
        ({"--in": "void.txt"}, "is empty"),
        ({"--in": "binary.txt"}, "this is a binary file"),
        ({"--in": "latin.txt"}, "not UTF-8"),
        ({"--in": "columns.csv"}, "'text' is missing"),
        ({"--index": "docs.txt"}, "ends in .npz"),
        ({"--index": os.path.join("no", "docs.npz")}, "there is no folder no"),
        ({"model": "no-model"}, "no-model"),
        ({"--threads": "2"}, "--threads is for bundles"),
    ],
)
def test_wrong_input_is_one_message(model, texts, tmp_path, capsys, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "void.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"\x7fELF\0\0\1")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "columns.csv").write_text("a,b\n1,2\n")
    values = {"model": str(model), "query": QUERY, "--in": str(texts), **change}
    words = [values.pop("model"), values.pop("query")]
    for key, value in values.items():
        words += [key, value]
    assert message in refusal(capsys, *words)


def test_a_model_that_does_not_embed_is_refused(tmp_path, texts, capsys):
    directory = modelzoo.save(small.with_tokenizer("gpt-tiny"), tmp_path / "gpt")
    message = refusal(capsys, directory, QUERY, "--in", texts)
    assert "(causal-lm) does not embed text" in message and "minilm-l6" in message


def test_a_model_without_a_tokenizer_says_so(model, texts, tmp_path, capsys):
    bare = modelzoo.load(model)
    bare.tokenizer = None
    directory = modelzoo.save(bare, tmp_path / "bare")
    assert "has no tokenizer" in refusal(capsys, directory, QUERY, "--in", texts)


def test_the_examples_of_the_help_run_as_they_stand(
    model, reranker, texts, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    os.symlink(reranker, tmp_path / "reranker")
    for name in ("minilm", "minilm.bundle"):  # whichever it is, search opens it
        os.symlink(model, tmp_path / name)
    (tmp_path / "tickets.jsonl").write_text('{"text": "it came late"}\n')
    assert main(["search", "--help"]) == 0
    lines = capsys.readouterr().out.partition("\nexamples:\n")[2].splitlines()
    assert len(lines) == 5
    pytest.importorskip("bm25s")
    for line in lines[:4]:  # the last is for pictures: tests/cli/test_media_commands.py
        output(capsys, *shlex.split(line)[2:])


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody may fill")
def test_an_index_that_cannot_be_written_is_one_message(model, texts, capsys):
    said = refusal(capsys, model, QUERY, "--in", texts, "--index", "/proc/self/docs.npz")
    assert "error: cannot write /proc/self/docs.npz: " in said


@pytest.fixture(scope="module")
def reranker(tmp_path_factory) -> Path:
    """A model directory that puts texts in order, with random weights."""
    values = {**small.recipe("bert-tiny").values, "task": "reranking", "task_options": {}}
    built = modelzoo.build(modelzoo.recipe.from_values(values, name="tiny-reranker"))
    pairs = [("how do I cancel?", "write to us.", 1.0), ("where is it?", "so it goes.", 0.0)]
    modelzoo.dataset(built, pairs, length=32)
    return modelzoo.save(built, tmp_path_factory.mktemp("models") / "reranker")


def test_a_reranker_puts_in_order_what_was_found(model, reranker, texts, capsys):
    given = (model, QUERY, "--in", texts, "--rerank", reranker, "--json", "--top", 3)
    found = json.loads(output(capsys, *given))
    scores = [one["score"] for one in found["results"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    passages = [one["text"] for one in found["results"]]
    wanted = modelzoo.load(reranker).rank(QUERY, passages, truncate=True)
    assert passages == [text for text, _ in wanted]
    assert scores == pytest.approx([score for _, score in wanted], abs=1e-5)


def test_a_reranker_that_does_not_rank_is_rejected(model, texts, capsys):
    said = refusal(capsys, model, QUERY, "--in", texts, "--rerank", model)
    assert "text-embedding) does not put texts in order" in said and "reranking" in said


def test_words_and_meanings_are_searched_together(model, texts, capsys):
    pytest.importorskip("bm25s")
    for method in ("bm25", "both"):
        lines = output(capsys, model, "parcel", "--in", texts, "--method", method).splitlines()
        assert lines[0].endswith(f"{texts / 'help.md'}:4  {QUERY}")
