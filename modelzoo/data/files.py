"""Reads one file as records, line by line: .txt, .jsonl, .csv, .tsv, .parquet.

A reader yields `(record, where)`: a dict of column -> value, and the place for an error to name.
Text must be UTF-8; a byte order mark is skipped.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from modelzoo.errors import DataError, nearest, require

__all__ = ["READERS", "Record", "read_lines", "reader_of"]

Record = tuple[dict, str]

_BOM = b"\xef\xbb\xbf"
# csv refuses fields above 128 KiB unless told otherwise; a document may be longer.
_MAX_FIELD = 2**31 - 1


def reader_of(path: Path) -> Callable[[Path, Collection[str]], Iterator[Record]]:
    """The reader for a file's suffix.

    Raises:
        DataError: the suffix is not one of `READERS`.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DataError(
            f"no reader for {suffix or 'files without a suffix'}; there are {', '.join(READERS)}",
            where=path,
            did_you_mean=nearest(suffix, READERS) if suffix else None,
            next_step="rename plain text to .txt; write records as .jsonl, one object a line",
        )
    return READERS[suffix]


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
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"this line is not JSON: {error}", where=where) from error
        if not isinstance(record, dict):
            raise DataError(
                f"a line must be a JSON object, not {type(record).__name__}",
                where=where,
                next_step='write each line as {"text": "..."}',
            )
        yield record, where


def read_csv(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """The first row names the columns; the delimiter is "," or, in a .tsv, a tab."""
    csv.field_size_limit(max(_MAX_FIELD, csv.field_size_limit()))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if not row:
                continue
            if header is None:
                header = [name.strip() for name in row]
                twice = sorted({name for name in header if header.count(name) > 1})
                if twice:
                    raise DataError(f"column {twice[0]!r} is there twice", where=where)
            elif len(row) != len(header):
                raise DataError(
                    f"this row has {len(row)} fields, the header {len(header)}: {header}",
                    where=where,
                    next_step=f'put a field that holds {delimiter!r} or a line break in "quotes"',
                )
            else:
                yield dict(zip(header, row, strict=True)), where
    except csv.Error as error:
        raise DataError(f"not valid CSV: {error}", where=f"{path}:{rows.line_num}") from error


def read_parquet(path: Path, wanted: Collection[str] = ()) -> Iterator[Record]:
    """Row groups one after the other; only the `wanted` columns, if the file has all of them."""
    parquet = require("pyarrow.parquet", "tensorflow")
    arrow = require("pyarrow", "tensorflow")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = list(wanted) if wanted and set(wanted) <= set(names) else None
            row = 0
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for record in batch.to_pylist():
                    row += 1
                    yield record, f"{path}, row {row}"
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"not a readable Parquet file: {error}", where=path) from error


READERS: dict[str, Callable[[Path, Collection[str]], Iterator[Record]]] = {
    ".txt": read_text,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}


def read_lines(path: Path) -> Iterator[str]:
    """The lines with their ends, decoded one by one so that an error knows its line."""
    offset = 0
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
