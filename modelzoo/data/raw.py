"""Raw data, whatever form it has, as one stream of examples.

An example is a dict: "text"; "text", "label"; "text_a", "text_b", "label"; "source", "target".
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelzoo.data.answers import answered_example, read_squad
from modelzoo.data.files import READERS, Record, reader_of
from modelzoo.data.values import (
    ANY,
    LABELS,
    TEXT_FIELDS,
    as_label,
    as_weight,
    describe,
    value_of,
)
from modelzoo.errors import DataError, nearest, warn

__all__ = [
    "ANSWERED",
    "CLASSIFICATION",
    "PAIRS",
    "RERANKING",
    "SEQ2SEQ",
    "TAGS",
    "TEXT",
    "columns_in",
    "iterate_texts",
    "lacks_labels",
    "read_examples",
    "usual_columns",
    "without_labels",
]

# What a task's examples must hold: one of these sets of fields.
Fields = Sequence[str] | Sequence[Sequence[str]]
TEXT = (("text",),)
CLASSIFICATION = (("text", "label"), ("text_a", "text_b", "label"))
PAIRS = (("text_a", "text_b"),)
SEQ2SEQ = (("source", "target"),)
TAGS = (("text", "words", "tags"), ("words", "tags"), ("text", "spans"))
ANSWERED = (("question", "context", "answer", "start"), ("question", "context", "answers"))
RERANKING = (
    ("query", "text", "score"),
    ("query", "text", "label"),
    ("query", "positive", "negatives"),
)

# What data sets call these columns. A column with the field's own name comes first.
_ALSO = {
    "text": ("review", "sentence", "content", "comment", "body", "message", "tweet", "document"),
    "label": ("labels", "sentiment", "stars", "rating", "class", "category", "topic", "intent"),
    "text_a": ("sentence1", "sentence_a", "question1", "premise", "anchor", "query"),
    "text_b": ("sentence2", "sentence_b", "question2", "hypothesis", "positive", "passage"),
    "source": ("input", "article", "question"),
    "target": ("output", "summary", "answer"),
}
_ITERATED = (*TEXT_FIELDS, "context", "query", "positive")
_TARGETS = ("label", "score")
_LABELLED = {*_TARGETS, "positive"}  # what says that an example has one
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_DEMOS = ("demo:python-docs",)


def read_examples(
    raw: object,
    columns: Mapping[str, str] | None = None,
    fields: Fields | None = None,
    *,
    weighed: bool = False,
    problem_type: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Reads raw data as examples, one at a time.

    Args:
        raw: a path to a .txt (one document), .jsonl, .csv, .tsv or .parquet file, or to a directory
            of these (in the order of their names); "demo:python-docs"; an iterable of texts, tuples
            or dicts; or a `tf.data.Dataset` of the same, not batched.
        columns: field -> the column that holds it, where they differ: `{"text": "review"}`.
        fields: the fields that are needed, such as `("source", "target")`, or several such sets of
            which one must be there. Then examples hold exactly these, tuples are read in this
            order, and missing ones are an error; but where a data set's usual name for a field
            is there once, such as `review` for `text`, that column is taken, with a warning.
            Without it, all columns come as they are.
        weighed: with `weight`, a float, where there is a column of that name.
        problem_type: what a label is; see `runtime.abilities.labels.ANSWERS`. One name or whole
            number by default; a list of names of a "multi_label_classification" ("a|b" in a
            table, nothing where no label applies); a list of numbers of a "regression".

    Raises:
        DataError: at once where there is nothing to read; and when the iteration meets text that is
            not UTF-8, a line that is no JSON, a ragged row, a missing column, two columns that a
            field may mean, a label that is NaN.

    Example:
        >>> list(read_examples([("good", 1), ("bad", 0)], fields=("text", "label")))
        [{'text': 'good', 'label': 1}, {'text': 'bad', 'label': 0}]
    """
    columns = dict(columns or {})
    wanted = alternatives(fields)
    records, name = _records(raw, columns, wanted, LABELS.get(problem_type, as_label) is as_label)
    return _examples(records, name, columns, wanted, weighed, problem_type)


def columns_in(raw: object, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Those of `columns`, field -> column, that the data's first record has.

    Example:
        >>> columns_in([{"text": "good", "stars": 5}], {"text": "review", "label": "stars"})
        {'label': 'stars'}
    """
    if not columns or not isinstance(raw, str | os.PathLike | list):
        return dict(columns or {})
    try:
        first, _ = next(_records(raw, {}, ())[0], ({}, ""))
    except DataError:  # a folder of media, which has no columns; or reading says what is wrong
        first = {}
    return {field: column for field, column in columns.items() if column in first}


def iterate_texts(raw: object, columns: Mapping[str, str] | None = None) -> Iterator[str]:
    """Every text in raw data, of whatever field: what a tokenizer is trained on."""
    for example in read_examples(raw, columns, problem_type=ANY):
        found = [example[name] for name in _ITERATED if isinstance(example.get(name), str)]
        negatives = example.get("negatives")
        found += negatives if isinstance(negatives, list) else []
        if not found:
            raise missing_column("text", example, "raw data")
        yield from found


# === Where the records come from ===


def _records(
    raw: object,
    columns: Mapping[str, str],
    wanted: Sequence[Sequence[str]],
    classes: bool = True,
) -> tuple[Iterator[Record], str]:
    """The records, and what to call them in an error.

    Args:
        classes: whether the labels of all files must be names, or numbers.
    """
    if isinstance(raw, str) and raw.startswith("demo:"):
        if raw not in _DEMOS:
            raise DataError(f"no such demo: {raw}", did_you_mean=nearest(raw, _DEMOS))
        from modelzoo.data.python_docs import read_python_docs

        return (({"text": text}, module) for module, text in read_python_docs()), raw
    if isinstance(raw, str | os.PathLike):
        path = Path(raw)
        needed = [{columns.get(field, field) for field in names} for names in wanted]
        label = columns.get("label", "label") if classes else None
        return path_records(path, needed, label), str(path)
    if isinstance(raw, Mapping) or not isinstance(raw, Iterable):
        raise DataError(
            f"raw data must be a path or an iterable of examples, not {type(raw).__name__}",
            next_step='pass a list: ["a text", ...] or [{"text": "...", "label": 1}, ...]',
        )
    # A tf.data.Dataset hands out its elements as numpy itself: no TensorFlow is imported here.
    items = raw.as_numpy_iterator() if hasattr(raw, "as_numpy_iterator") else iter(raw)
    return (
        (_record(item, f"example {number}", wanted), f"example {number}")
        for number, item in enumerate(items, start=1)
    ), f"the {type(raw).__name__}"


def path_records(
    path: Path, needed: list[set[str]], label: str | None = "label"
) -> Iterator[Record]:
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise DataError(
            f"no such file or directory: {path}",
            did_you_mean=near and str(path.with_name(near)),
            next_step='to pass text itself, put it in a list: ["a text"]',
        )
    if not path.is_dir():
        if path.stat().st_size == 0:
            raise DataError("the file is empty", where=path)
        reader = read_squad if path.suffix.lower() == ".json" else reader_of(path)
        return _file_records(path, reader, needed)
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in READERS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        raise DataError(f"no {', '.join(READERS)} file in this directory", where=path)
    empty = [file for file in files if file.stat().st_size == 0]
    if empty:
        warn(f"{len(empty)} empty files are left out, the first is {empty[0]}")
    return alike(
        (_file_records(file, reader_of(file), needed) for file in files if file not in empty),
        label,
    )


def alike(files: Iterable[Iterable[Record]], label: str | None = "label") -> Iterator[Record]:
    """The records of files, one after the other; their labels are not compared without `label`.

    Raises:
        DataError: all labels of one file are numbers, and all of another are names.

    Example:
        >>> training, validation = [({"label": 1}, "a.csv:2")], [({"label": 0}, "b.csv:2")]
        >>> len(list(alike([training, validation])))
        2
    """
    whole: dict[str, tuple[object, str]] = {}  # kind of label -> the first of a file with no other
    for records in files:
        seen: dict[str, tuple[object, str]] = {}
        for record, where in records:
            if label is not None and record.get(label) not in (None, "", []):
                seen.setdefault(_kind(record[label]), (record[label], where))
            yield record, where
        if len(seen) == 1:
            whole = {**seen, **whole}
        if len(whole) == 2:
            (number, there), (name, elsewhere) = whole["number"], whole["name"]
            raise DataError(
                f"the labels of one file are numbers and those of another are names: {number!r} "
                f"in {there}, {name!r} in {elsewhere}",
                next_step="write the same labels in both files",
            )


def _kind(label: object) -> str:
    text = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
    return "number" if _NUMBER.fullmatch(text.strip()) else "name"


def _file_records(path: Path, reader, needed: list[set[str]]) -> Iterator[Record]:
    # With several sets of fields the file decides, so all its columns are read.
    return reader(path, needed[0] if len(needed) == 1 else ())


def _record(item: object, where: str, wanted: Sequence[Sequence[str]]) -> dict:
    if isinstance(item, Mapping):
        return dict(item)
    if isinstance(item, str | bytes) or getattr(item, "ndim", None) == 0:
        return {"text": item}
    if isinstance(item, tuple | list):
        for names in wanted or (("text",), ("text", "label"), ("text_a", "text_b", "label")):
            if len(names) == len(item):
                return dict(zip(names, item, strict=True))
    raise DataError(
        f"an example must be a text, a tuple or a dict, not {describe(item)}",
        where=where,
        next_step=f"pass {' or '.join(str(tuple(names)) for names in wanted or TEXT)}",
    )


# === What an example holds ===


def _examples(
    records: Iterator[Record],
    name: str,
    columns: Mapping[str, str],
    wanted: Sequence[Sequence[str]],
    weighed: bool = False,
    problem_type: str | None = None,
) -> Iterator[dict[str, Any]]:
    begun = False
    for record, where in records:
        for field, column in columns.items():
            if column not in record:
                raise missing_column(column, record, where, field)
        if not begun:
            begun, columns = True, {**columns, **_guessed(columns, record, where, wanted)}
        renamed = {name: v for name, v in record.items() if name not in columns.values()}
        renamed.update({field: record[column] for field, column in columns.items()})
        names = _matching(renamed, where, wanted) if wanted else renamed
        checked = bool(wanted)
        if checked and set(names) in map(set, ANSWERED):
            texts = {
                key: value_of(key, renamed[key], where, True) for key in ("question", "context")
            }
            yield answered_example({**{key: renamed[key] for key in names}, **texts}, where)
            continue
        found = {
            name: value_of(name, renamed[name], where, checked, problem_type) for name in names
        }
        if weighed and "weight" in renamed:
            found["weight"] = as_weight(renamed["weight"], where)
        yield found
    if not begun:
        raise DataError("there is no example in the data", where=name)


def alternatives(fields: Fields | None) -> Sequence[Sequence[str]]:
    if fields is None:
        return ()
    fields = tuple(fields)
    return (fields,) if all(isinstance(name, str) for name in fields) else fields


def without_labels(fields: Fields) -> Sequence[Sequence[str]]:
    """The sets of fields, and after them those that a label would complete.

    >>> without_labels(("text", "label"))
    (('text', 'label'), ('text',))
    """
    every = tuple(map(tuple, alternatives(fields)))
    short = (tuple(name for name in names if name not in _TARGETS) for names in every)
    return every + tuple(dict.fromkeys(names for names in short if names not in every))


def lacks_labels(examples: Sequence[Mapping[str, object]]) -> bool:
    """Whether no example has a label.

    Raises:
        DataError: some have one and others have none.
    """
    bare = [n for n, one in enumerate(examples, start=1) if not one.keys() & _LABELLED]
    if bare and len(bare) < len(examples):
        raise DataError(
            f"{len(bare)} of {len(examples)} examples have no label, the first is number {bare[0]}",
            next_step="label all of them, or drop the column and call predict()",
        )
    return bool(bare)


def _matching(record: dict, where: str, wanted: Sequence[Sequence[str]]) -> Sequence[str]:
    # An empty column counts only where no other set of fields fits.
    for empty in ((None, ""), ()):
        for names in wanted:
            if all(name in record and not _is_one_of(record[name], empty) for name in names):
                return names
    closest = max(wanted, key=lambda names: sum(name in record for name in names))
    raise missing_column(next(name for name in closest if name not in record), record, where)


def _is_one_of(value: object, empty: Collection[object]) -> bool:
    return (value is None or isinstance(value, str)) and value in empty


def _guessed(
    columns: Mapping[str, str], record: Collection[str], where: str, wanted: Sequence[Sequence[str]]
) -> dict[str, str]:
    """Field -> column where no set of fields is there, and one is by the usual names.

    Raises:
        DataError: two columns may be meant.
    """
    free = [str(column) for column in record if column not in columns.values()]
    there = {*free, *columns}
    if any(there.issuperset(names) for names in wanted):
        return {}
    doubt = None
    for names in wanted:
        found = {field: usual_columns(field, free) for field in names if field not in there}
        if all(len(some) == 1 for some in found.values()):
            guess = {field: some[0] for field, some in found.items()}
            said = ", ".join(f"{column!r} is read as {field}" for field, column in guess.items())
            option = ",".join(f"{field}={column}" for field, column in guess.items())
            warn(f"{where}: the column {said}; --columns {option} says so without this note")
            return guess
        if doubt is None and all(found.values()):
            doubt = next((field, some) for field, some in found.items() if len(some) > 1)
    if doubt is not None:
        field, some = doubt
        raise DataError(
            f"there is no column {field!r}, and {' and '.join(map(repr, some))} may both be it",
            where=where,
            next_step=" or ".join(f"--columns {field}={column}" for column in some)
            + f" (columns={{{field!r}: {some[0]!r}}} in Python)",
        )
    return {}


def usual_columns(field: str, columns: Iterable[str]) -> list[str]:
    """The columns whose name is a usual one for what a field holds.

    >>> usual_columns("text", ["id", "Review", "stars"])
    ['Review']
    """
    return [column for column in columns if column.lower() in _ALSO.get(field, ())]


def missing_column(
    column: str, record: Collection[str], where: str, field: str | None = None
) -> DataError:
    """
    Args:
        field: what the column was to hold. Default: it is called so itself.
    """
    near, field = nearest(column, map(str, record)), field or column
    return DataError(
        f"there is no column {column!r}; the columns are {', '.join(map(str, record))}",
        where=where,
        did_you_mean=near,
        next_step=f"name the column that holds it: --columns {field}={near or 'COLUMN'} "
        f"(columns={{{field!r}: {near or 'COLUMN'!r}}} in Python)",
    )
