"""Reading files within bounds: regular ones alone, no larger and no deeper than they should be."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from modelzoo.errors import ModelzooError, parsing

__all__ = ["check_file", "check_json", "parse_json", "read_file", "read_json"]

MOST_BYTES = 64 << 20  # of a JSON file; the largest vocabularies have a tenth of it
MOST_LEVELS = 64  # of lists and tables within each other
_MOST_BITS = 1024  # of a whole number: above, it is not a float either


def check_file(path: str | os.PathLike, error: type[ModelzooError], title: str = "the file") -> int:
    """The bytes of a regular file, or of one that a link leads to.

    A pipe would be waited for, and a device has no end.

    Raises:
        error: there is none, it cannot be looked at, or it is something else.
    """
    with parsing(path, error, f"{title} cannot be read"):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise error(f"{title} is {kind}, not a file", where=path)
    return status.st_size


def read_file(
    path: str | os.PathLike,
    error: type[ModelzooError],
    title: str = "the file",
    most: int = MOST_BYTES,
) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        error: as `check_file`; it is larger, or cannot be read.
    """
    size = check_file(path, error, title)
    if size > most:
        raise error(f"{title} has {size:,} bytes; {most:,} are the most", where=path)
    with parsing(path, error, f"{title} cannot be read"), open(path, "rb") as file:
        return file.read(most)


def read_json(
    path: str | os.PathLike,
    error: type[ModelzooError],
    want: type | tuple[type, ...] = dict,
    title: str | None = None,
    *,
    most: int = MOST_BYTES,
    next_step: str | None = None,
) -> Any:
    """The value that a JSON file holds: a table, unless `want` asks for another type.

    Its size, its depth and the digits of its numbers are bounded.

    Args:
        error: the class of what is raised.
        want: `dict`, `list`, or both.
        title: what a message calls the file. Default: its name.
        most: bytes.
        next_step: what an error proposes.

    Raises:
        error: missing, not a file, too large, not JSON, or another type.

    Example:
        >>> read_json("config.json", ModelzooError)
        Traceback (most recent call last):
        modelzoo.errors.ModelzooError: config.json cannot be read: No such file or directory
          in: config.json
    """
    title = title or Path(path).name
    return parse_json(read_file(path, error, title, most), path, error, want, title, next_step)


def parse_json(
    raw: str | bytes,
    where: object,
    error: type[ModelzooError],
    want: type | tuple[type, ...] = dict,
    title: str = "the text",
    next_step: str | None = None,
) -> Any:
    """The same of JSON text that was read from `where`."""
    with parsing(where, error, f"{title} cannot be read", next_step=next_step):
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
        value = json.loads(text)
    check_json(value, text, where, error, title)
    if not isinstance(value, want):
        words = {dict: "table", list: "list", str: "string"}
        wanted = want if isinstance(want, tuple) else (want,)
        raise error(
            f"{title} must hold a {' or a '.join(words.get(t, t.__name__) for t in wanted)}, "
            f"not {words.get(type(value), type(value).__name__)}",
            where=where,
            next_step=next_step,
        )
    return value


def check_json(
    value: object, text: str, where: object, error: type[ModelzooError], title: str
) -> None:
    """Reject what JSON text can say and nothing here can hold.

    These are lists and tables nested too deeply, whole numbers beyond those of a float, and
    half a surrogate pair, which is not text. `text` is what `value` was read from.
    """
    if "\\ud" in text or "\\uD" in text:  # an escape of half a pair, or of a whole one
        with parsing(where, error, f"{title} holds a character that is not text"):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    level, depth = [value], 0  # level by level: what is too deep for recursion is looked for
    while level:
        if depth > MOST_LEVELS:
            raise error(
                f"{title} has lists or tables {MOST_LEVELS} levels deep, and deeper ones",
                where=where,
            )
        below = []
        for one in level:
            for item in one.values() if type(one) is dict else one if type(one) is list else (one,):
                if type(item) is dict or type(item) is list:
                    below.append(item)
                elif type(item) is int and item.bit_length() > _MOST_BITS:
                    raise error(f"{title} has a number of {item.bit_length()} bits", where=where)
        level, depth = below, depth + 1
