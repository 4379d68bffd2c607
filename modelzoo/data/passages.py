"""What a search looks through: passages of a folder of texts, of records, or lines of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from modelzoo.data.files import READERS, read_lines, reader_of
from modelzoo.data.sentences import split_sentences
from modelzoo.errors import DataError, nearest
from modelzoo.runtime.search.index import Passage

__all__ = ["pieces", "read_passages"]

_PROSE = (".txt", ".md")
_RECORDS = tuple(suffix for suffix in READERS if suffix not in _PROSE)


def read_passages(path: str | Path, fits: Callable[[str], bool]) -> Iterator[Passage]:
    """The passages at `path`, each with its file and line; what does not fit is cut in pieces.

    Args:
        path: a folder, of whose .txt and .md files below it each paragraph is a passage, in the
            order of their names; a .md file alone likewise; .jsonl, .csv, .tsv or .parquet with a
            `text`; any other file is text, and each line a passage.
        fits: whether a text is short enough for the model.

    Raises:
        DataError: nothing there, nothing to read in it, not text, or a record without `text`.
    """
    path = Path(path)
    found = 0
    for text, where, line in _texts(path):
        for start, piece in pieces(text, fits):
            found += 1
            at = "" if line is None else f":{line + text.count(chr(10), 0, start)}"
            yield Passage(piece, f"{where}{at}")
    if not found:
        raise DataError("there is no text in it", where=path)


def pieces(text: str, fits: Callable[[str], bool]) -> list[tuple[int, str]]:
    """(where it starts, text) of the pieces of a text that fit, without the space around them.

    A text that does not fit is cut in two near its middle, between sentences, else between words,
    until all of it fits.

    >>> pieces("It rains. It pours.", lambda text: len(text) < 12)
    [(0, 'It rains.'), (10, 'It pours.')]
    """
    parts, todo = [], [(0, text)]
    while todo:
        start, part = todo.pop()
        start, part = start + len(part) - len(part.lstrip()), part.strip()
        if len(part) < 2 or fits(part):
            parts += [(start, part)] if part else []
        else:
            at = _middle(part)
            todo += [(start + at, part[at:]), (start, part[:at])]
    return parts


def _middle(text: str) -> int:
    """Where to cut: the boundary nearest to the middle, in the middle half of the text."""
    sentences, ends = split_sentences(text), [0]
    for sentence in sentences:
        ends.append(ends[-1] + len(sentence))
    for boundaries in (ends, [match.end() for match in re.finditer(r"\s+", text)]):
        middle = len(text) / 2
        near = min(boundaries, key=lambda at: abs(at - middle), default=0)
        if abs(near - middle) <= len(text) / 4 and 0 < near < len(text):
            return near
    return len(text) // 2


def _texts(path: Path) -> Iterator[tuple[str, str, int | None]]:
    """(text, file, line); a record's place is in its file already, and its line is None."""
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise DataError(
            f"no such file or folder: {path}", did_you_mean=near and str(path.with_name(near))
        )
    if path.is_dir():
        for file in _prose_below(path):
            yield from _paragraphs(file)
    elif path.suffix.lower() in _RECORDS:
        yield from _records(path)
    elif path.suffix.lower() == ".md":
        yield from _paragraphs(path)
    else:
        for number, line in _lines(path):
            yield line, str(path), number


def _prose_below(folder: Path) -> list[Path]:
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in _PROSE
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(
            f"no {' or '.join(_PROSE)} file in this folder",
            where=folder,
            next_step="name another folder, or a .jsonl, .csv or .parquet file with a `text`",
        )
    return files


def _paragraphs(path: Path) -> Iterator[tuple[str, str, int]]:
    """Lines between blank lines."""
    kept: list[str] = []
    first = 1
    for number, line in _lines(path):
        if line.strip():
            first = first if kept else number
            kept.append(line)
        elif kept:
            yield "".join(kept), str(path), first
            kept = []
    if kept:
        yield "".join(kept), str(path), first


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        if "\0" in line:
            raise DataError(
                "this is a binary file, not text",
                where=f"{path}:{number}",
                next_step="name a text file, or move this one elsewhere",
            )
        yield number, line


def _records(path: Path) -> Iterator[tuple[str, str, None]]:
    for record, where in reader_of(path)(path, ("text",)):
        text = record.get("text")
        if not isinstance(text, str):
            has = (
                "is not text"
                if "text" in record
                else f"is missing; the columns are {', '.join(record)}"
            )
            raise DataError(
                f"the column 'text' {has}",
                where=where,
                did_you_mean=None if "text" in record else nearest("text", map(str, record)),
            )
        yield text, where, None
