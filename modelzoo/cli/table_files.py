"""Tables that commands read rows from and write answers to."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

from modelzoo.data.files import READERS, read_lines, reader_of
from modelzoo.errors import OutputError, nearest, require
from modelzoo.files import write_atomic

__all__ = ["check_output", "is_table", "read_rows", "write_rows"]

WRITERS = (".csv", ".tsv", ".jsonl", ".parquet")


def is_table(text: str | None) -> bool:
    """Whether a word of the command line names an existing file of records or of lines."""
    try:
        return bool(text) and Path(text).suffix.lower() in READERS and Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or a null byte
        return False


def check_output(path: str, source: str, option: str, force: bool = False) -> None:
    """Raise OutputError unless a table can be written to `path`, before anything slow begins.

    Args:
        source: what the rows are read from.
        option: that named the path.
    """
    target = Path(path)
    if target.suffix.lower() not in WRITERS:
        raise OutputError(
            f"{path}: a table is written as {', '.join(WRITERS)}",
            did_you_mean=nearest(target.suffix, WRITERS) if target.suffix else None,
            next_step=f"{option} {target.with_suffix('.csv')}",
        )
    if target.exists() and Path(source).exists() and os.path.samefile(target, source):
        raise OutputError(f"{path} is the input", next_step=f"{option} with another name")
    if target.exists() and not force:
        raise OutputError(f"{path} exists", next_step="take another name, or --force to replace it")
    if not target.absolute().parent.is_dir():
        raise OutputError(
            f"there is no folder {target.parent}", next_step=f"mkdir -p {target.parent}"
        )


def read_rows(path: Path) -> Iterator[tuple[dict, str]]:
    """Records and their places; of a .txt each line that is not blank."""
    if path.suffix.lower() != ".txt":
        yield from reader_of(path)(path, ())
        return
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            yield {"text": line.rstrip("\r\n")}, f"{path}:{number}"


def write_rows(path: Path, records: list[dict], added: list[dict]) -> None:
    """The records with the new columns, whole or not at all; a name that is taken gets a prefix."""
    kept = dict.fromkeys(name for record in records for name in record)
    new = dict.fromkeys(name for row in added for name in row)
    names = {name: f"predicted_{name}" if name in kept else name for name in new}
    rows = [
        {**record, **{names[name]: value for name, value in row.items()}}
        for record, row in zip(records, added, strict=True)
    ]
    columns = [*kept, *names.values()]
    write_atomic(path, _FORMATS[path.suffix.lower()](rows, columns))


def _csv(rows: list[dict], columns: list[str], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _tsv(rows: list[dict], columns: list[str]) -> str:
    return _csv(rows, columns, "\t")


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _jsonl(rows: list[dict], columns: list[str]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in rows)


def _parquet(rows: list[dict], columns: list[str]) -> bytes:
    arrow, parquet = (require(name, "tensorflow") for name in ("pyarrow", "pyarrow.parquet"))
    buffer = io.BytesIO()
    table = {name: [row.get(name) for row in rows] for name in columns}
    parquet.write_table(arrow.table(table), buffer)
    return buffer.getvalue()


_FORMATS = {".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl, ".parquet": _parquet}
