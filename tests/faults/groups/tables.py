"""Tables of examples, SQuAD, tags and rankings, and the file of a search index."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from modelzoo.data.raw import ANSWERED, CLASSIFICATION, PAIRS, SEQ2SEQ, TEXT, read_examples
from modelzoo.data.reranking import reranking_pairs
from modelzoo.data.token_classification import read_tagged
from modelzoo.runtime.search.index import read_vectors
from tests.faults import mutations
from tests.faults.group import Group
from tests.faults.groups import good

_ROWS = [
    {"text": f'a "quoted", text\nof {n} lines', "label": n % 3, "source": "a", "target": "ä"}
    for n in range(20)
]


@cache
def tables() -> dict[str, bytes]:
    """Suffix -> the same rows in that format."""
    import pyarrow
    from pyarrow import parquet

    found = {".txt": "\n".join(row["text"] for row in _ROWS).encode()}
    found[".jsonl"] = "\n".join(map(json.dumps, _ROWS)).encode()
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        file = io.StringIO()
        writer = csv.DictWriter(file, list(_ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(_ROWS)
        found[suffix] = file.getvalue().encode()
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(_ROWS), file)
    found[".parquet"] = file.getvalue()
    return found


def _make_rows(random: Random, folder: Path) -> tuple[Path, tuple]:
    suffix, content = random.choice(list(tables().items()))
    kind = random.randrange(5)
    if suffix == ".jsonl" and kind < 3:
        rows = [mutations.damaged_json(random, row) for row in random.sample(_ROWS, 3)]
        content = b"\n".join(rows)
    elif suffix == ".parquet":
        content = mutations.damaged_bytes(random, content, head=64)
        if kind == 0:  # its description is at its end
            content = tables()[suffix]
            content = content[:-200] + mutations.damaged_bytes(random, content[-200:], head=200)
    elif kind < 4:
        content = mutations.damaged_text(random, content)
    name = f"x{suffix}"
    fields = random.choice((TEXT, CLASSIFICATION, PAIRS, SEQ2SEQ, None))
    return good.write(folder, {name: content}) / name, fields


def _use_rows(made: tuple[Path, tuple]) -> None:
    path, fields = made
    for row in read_examples(path, fields=fields):
        assert isinstance(row, dict)


# === Answers, tags, rankings ===

_CONTEXT = "Ann and Bob went to Łódź. 😀 They came back on Monday."
_ASKED = [
    {"id": "a", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]},
    {"id": "b", "question": "When?", "answers": [], "is_impossible": True},
    {"id": "c", "question": "Where?", "answers": [{"text": "Łódź", "answer_start": 20}]},
]
_SQUAD = {"version": "2", "data": [{"paragraphs": [{"context": _CONTEXT, "qas": _ASKED}]}]}
_ANSWERED = [
    {"question": "Who?", "context": _CONTEXT, "answers": [{"text": "Ann", "start": 0}]},
    {"question": "Where?", "context": _CONTEXT, "answers": {"text": ["Łódź"], "start": [20]}},
    {"question": "When?", "context": _CONTEXT, "answer": "Monday", "start": "46"},
]


def _make_answers(random: Random, folder: Path) -> Path:
    if random.random() < 0.5:
        return _written(folder, "x.json", mutations.damaged_json(random, _SQUAD))
    return _rows_of(random, folder, random.sample(_ANSWERED[:2], 2))


def _use_answers(path: Path) -> None:
    for one in read_examples(path, fields=ANSWERED):
        for answer in one["answers"]:
            assert one["context"].startswith(answer["text"], answer["start"])


_CONLL = "-DOCSTART- -X- O\n\nAnn NNP B-PER\nleft VBD O\n\nŁódź NNP B-LOC\n. . O\n\n".encode()
_TAGGED = [
    {"text": "Ann left", "spans": [{"start": 0, "end": 3, "label": "PER"}]},
    {"words": ["Ann", "left"], "tags": ["B-PER", "O"]},
    {"words": '["Ann", "left"]', "tags": "B-PER O", "text": "Ann left"},
]


def _make_tags(random: Random, folder: Path) -> Path:
    if random.random() < 0.4:
        return _written(folder, "x.conll", mutations.damaged_text(random, _CONLL))
    return _rows_of(random, folder, [random.choice(_TAGGED)] * 2)


def _use_tags(path: Path) -> None:
    for one in read_tagged(path):
        assert len(one["words"]) == len(one["tags"]) > 0


_RANKED = [
    {"query": "who?", "text": "Ann", "score": 0.5},
    {"query": "who?", "positive": "Ann", "negatives": ["Bob", "Eve"]},
    {"query": "who?", "positive": "Ann", "negatives": "Bob"},
    {"query": "who?", "text": "Ann", "label": 1},
]


def _make_ranked(random: Random, folder: Path) -> Path:
    return _rows_of(random, folder, [random.choice(_RANKED)] * 2)


def _use_ranked(path: Path) -> None:
    queries, texts, scores = reranking_pairs(path)
    assert len(queries) == len(texts) == len(scores)
    assert all(0 <= score <= 1 for score in scores)


def _rows_of(random: Random, folder: Path, rows: list[dict]) -> Path:
    """JSON lines, each damaged."""
    lines = b"\n".join(mutations.damaged_json(random, row) for row in rows)
    return _written(folder, "x.jsonl", lines)


def _written(folder: Path, name: str, content: bytes) -> Path:
    return good.write(folder, {name: content}) / name


# === The index ===


def _index(random: Random) -> dict[str, np.ndarray]:
    keys = [hashlib.sha256(b"%d" % n).digest() for n in range(6)]
    return {
        "version": np.array(1),
        "model": np.array("m"),
        "digests": np.frombuffer(b"".join(keys), np.uint8).reshape(6, 32),
        "vectors": np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32),
    }


def _make_index(random: Random, folder: Path) -> Path:
    arrays = _index(random)
    if mutations.chance(random, 0.3):
        name = random.choice(list(arrays))
        values = (np.zeros((6, 8)), np.array("x"), np.full((6, 8), np.nan, np.float32), np.array(2))
        values += (np.array(10**18), np.zeros((0, 32), np.uint8), np.zeros((6, 0), np.float32))
        values += (np.array([True]), np.array("\ud800x"), np.zeros((6, 32), np.uint8))
        arrays[name] = random.choice(values)
    content = mutations.damaged_npz(random, arrays, folder)
    return good.write(folder, {"x.npz": content}) / "x.npz"


def _use_index(path: Path) -> None:
    for key, vector in read_vectors(path, "m").items():
        assert isinstance(key, bytes) and np.isfinite(vector).all()


GROUPS = (
    Group("rows", "CSV, TSV, JSONL, Parquet, TXT", _make_rows, _use_rows, 700, 40, tables),
    Group("answers", "SQuAD and rows of answers", _make_answers, _use_answers, 400, 20),
    Group("tags", "CoNLL and rows of tags", _make_tags, _use_tags, 400, 20),
    Group("ranked", "rows to rerank", _make_ranked, _use_ranked, 300, 20),
    Group("index", "search index .npz", _make_index, _use_index, 500, 30),
)
