"""Reads one file as records, line by line: .txt, .jsonl, .csv, .tsv, .parquet, .conll.

A reader yields `(record, where)`: a dict of column -> value, and the place for an error to name.
Text must be UTF-8; a byte order mark is skipped.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from modelzoo.errors import DataError, nearest, parsing, require
from modelzoo.files import check_file, check_json

__all__ = ["READERS", "Record", "no_reader", "read_lines", "reader_of"]

Record = tuple[dict, str]

_BOM = b"\xef\xbb\xbf"
# csv rejects fields above 128 KiB by default; a document may be longer.
_MAX_FIELD = 2**31 - 1
_MAX_LINES = 1000  # of a field in a .tsv
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def reader_of(path: Path) -> Callable[[Path, Collection[str]], Iterator[Record]]:
    """The reader for a file's suffix.

    Raises:
        DataError: the suffix is not one of `READERS`.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise no_reader(path)
    return READERS[suffix]


def no_reader(path: Path) -> DataError:
    suffix = path.suffix.lower()
    return DataError(
        f"no reader for {suffix or 'files without a suffix'}; choose one of {', '.join(READERS)}",
        where=path,
        did_you_mean=nearest(suffix, READERS) if suffix else None,
        next_step="rename plain text to .txt; write records as .jsonl, one object a line",
    )


def read_text(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """The file is one document."""
    text = "".join(read_lines(path))
    if text.strip():
        yield {"text": text}, str(path)


def read_jsonl(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """One JSON object a line; blank lines are skipped."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        with parsing(where, DataError, "this line is not JSON"):
            record = json.loads(line)
        check_json(record, line, where, DataError, "this line")
        if not isinstance(record, dict):
            raise DataError(
                f"a line must be a JSON object, not {type(record).__name__}",
                where=where,
                next_step='write each line as {"text": "..."}',
            )
        yield record, where


def read_csv(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """The first row names the columns; the delimiter is ",", perhaps with a space after it.

    Columns without a name, empty rows and empty cells after a row's last column are left out.
    """
    lines = read_lines(path)
    first = next(lines, "")
    # A header with a space after each comma is one of a file that is written so.
    spaced = "," in first and first.count(",") == first.count(", ")
    rows = _csv_rows(chain([first], lines), path, skipinitialspace=spaced)
    yield from _table((([_unquoted(value) for value in row], at) for row, at in rows), path, ",")


def read_tsv(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """The first row names the columns; the delimiter is a tab.

    A tab-separated file has no quoting (IANA, text/tab-separated-values), but spreadsheets and CSV
    writers quote fields in it. A quoted header says that all fields are quoted; else a field is
    taken out of its quotes where it needed them: for a quote, a tab or a line break in it.
    """
    lines = read_lines(path)
    first = next(lines, "")
    lines = chain([first], lines)
    quoted = any(name.startswith('"') for name in first.split("\t"))
    rows = _csv_rows(lines, path, delimiter="\t") if quoted else _tsv_rows(lines)
    yield from _table(rows, path, "\t")


def _csv_rows(lines: Iterable[str], path: Path, **how: Any) -> Iterator[tuple[list[str], int]]:
    """The fields of each row, and the number of its last line."""
    csv.field_size_limit(max(_MAX_FIELD, csv.field_size_limit()))
    rows = csv.reader(lines, strict=True, **how)
    try:
        for row in rows:
            yield row, rows.line_num
    except csv.Error as error:
        raise DataError(f"not valid CSV: {error}", where=f"{path}:{rows.line_num}") from error


def _tsv_rows(lines: Iterator[str]) -> Iterator[tuple[list[str], int]]:
    """The same of tab-separated lines; a quote that nothing closes is a character."""
    waiting: list[str] = []  # read ahead, the next one last
    width, number = 0, 0
    while (line := waiting.pop() if waiting else next(lines, None)) is not None:
        number += 1
        row = line.rstrip("\r\n").split("\t")
        width = width or len(row)
        short = len(row) < width
        opens = row[-1].startswith('"') and not _QUOTED.fullmatch(row[-1])
        found, text = None, [line]
        if '"' in line and len(row) != width:
            found = _quoted_row(text, width)
        while width > 1 and opens and found is None and len(text) < _MAX_LINES:
            more = waiting.pop() if waiting else next(lines, None)
            if more is None:
                break
            text.append(more)
            # A row that was full has its last column open, which no other row may close.
            if short or "\t" not in more:
                found = _quoted_row(text, width)
            if "\t" in more:
                break
        if found is None:
            waiting += reversed(text[1:])
            found = [_doubled(value) for value in row] if any(row) else []
        else:
            number += len(text) - 1
        yield found, number


def _quoted_row(lines: list[str], width: int) -> list[str] | None:
    """The one row that some lines are as CSV; `None` where they are not."""
    try:
        rows = list(csv.reader(lines, delimiter="\t", strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 and len(rows[0]) == width else None


def _doubled(value: str) -> str:
    """A field out of its quotes, if there are doubled ones inside."""
    if '""' in value[1:-1] and _QUOTED.fullmatch(value):
        return value[1:-1].replace('""', '"')
    return value


def _unquoted(value: str) -> str:
    """A field out of quotes that follow a space; CSV itself sees none there."""
    if value[:1] == " " and _QUOTED.fullmatch(value.strip()):
        return value.strip()[1:-1].replace('""', '"')
    return value


def _table(rows: Iterable[tuple[list[str], int]], path: Path, delimiter: str) -> Iterator[Record]:
    """Records of rows, the first of which names the columns."""
    header: list[str] | None = None
    for row, number in rows:
        where = f"{path}:{number}"
        if not row or (len(row) > 1 and not any(row)):
            continue
        if header is None:
            header = [name.strip() for name in row]
            twice = sorted({name for name in header if name and header.count(name) > 1})
            if twice:
                raise DataError(f"column {twice[0]!r} is there twice", where=where)
            continue
        while len(row) > len(header) and not row[-1].strip():
            row.pop()
        if len(row) != len(header):
            raise DataError(
                f"this row has {len(row)} fields, the header {len(header)}: {header}",
                where=where,
                next_step=f'put a field that holds {delimiter!r} or a line break in "quotes"',
            )
        yield {name: value for name, value in zip(header, row, strict=True) if name}, where


def read_parquet(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """Row groups one after the other; only the `wanted` columns, if the file has all of them."""
    parquet = require("pyarrow.parquet", "tensorflow")
    arrow = require("pyarrow", "tensorflow")
    check_file(path, DataError)
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = list(wanted) if wanted and set(wanted) <= set(names) else None
            row = 0
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for record in batch.to_pylist():
                    row += 1
                    yield record, f"{path}, row {row}"
    except (arrow.ArrowException, OSError, MemoryError, OverflowError, ValueError) as error:
        raise DataError(f"not a readable Parquet file: {error}", where=path) from error


def read_conll(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """Sentences of words with tags: a word a line, its tag in the last column, a blank line between
    sentences. Columns are apart by tabs, or by spaces; lines of "-DOCSTART-" are skipped.
    """
    words: list[str] = []
    tags: list[str] = []
    first = 1
    for number, line in enumerate(chain(read_lines(path), ["\n"]), start=1):
        fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        if not any(field.strip() for field in fields):
            if words:
                yield {"words": words, "tags": tags}, f"{path}:{first}"
            words, tags, first = [], [], number + 1
        elif len(fields) < 2 or not fields[0].strip() or not fields[-1].strip():
            raise DataError(
                f"a line must have a word and a tag, not {line.strip()!r}",
                where=f"{path}:{number}",
                next_step="write a tab between them, and a blank line between sentences",
            )
        elif fields[0] != "-DOCSTART-":
            words.append(fields[0].strip())
            tags.append(fields[-1].strip())


READERS: dict[str, Callable[[Path, Collection[str]], Iterator[Record]]] = {
    ".txt": read_text,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".conll": read_conll,
}


def read_lines(path: Path) -> Iterator[str]:
    """The lines with their ends, decoded one by one so that an error knows its line."""
    offset = 0
    check_file(path, DataError)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                start = len(_BOM) if number == 1 and line.startswith(_BOM) else 0
                try:
                    yield line[start:].decode("utf-8")
                except UnicodeDecodeError as error:
                    at = offset + start + error.start
                    raise DataError(
                        f"not UTF-8: byte 0x{line[start + error.start]:02x} at byte offset {at}",
                        where=f"{path}:{number}",
                        next_step="save it as UTF-8: iconv -f ENCODING -t UTF-8 OLD > NEW",
                    ) from error
                offset += len(line)
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror}", where=path) from error
