"""Reads TOML with errors that name the place; writes it so that it reads back equal."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo.errors import RecipeError, nearest, parsing, shown
from modelzoo.files import check_file

__all__ = ["dumps", "parse_toml", "read_lines", "read_toml", "unfit"]

_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
}
_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair
_AT_LINE = re.compile(r"at line (\d+)")
_INT64 = range(-(2**63), 2**63)
_LEVELS = 32  # of lists and tables within each other
_MOST_BYTES = 16 << 20  # of a file


def unfit(value: object, levels: int = _LEVELS) -> str | None:
    """What in `value` a recipe cannot hold, in words; `None` where it is plain.

    Plain are texts, whole numbers of 64 bits, floats, booleans, and lists and tables of these,
    32 levels deep at most.

    >>> unfit([1, "a", {"b": 2.5}]), unfit({"a": [10**20]})
    (None, '100000000000000000000, which has more than 64 bits')
    """
    if isinstance(value, Mapping | list | tuple):
        if not levels:
            return f"lists or tables more than {_LEVELS} levels deep"
        keys, items = (value, value.values()) if isinstance(value, Mapping) else ((), value)
        wrong = (shown(key) for key in keys if not isinstance(key, str) or not _is_text(key))
        return next(wrong, None) or next(
            (found for item in items if (found := unfit(item, levels - 1))), None
        )
    if isinstance(value, str):
        return None if _is_text(value) else f"{shown(value)}, which is not valid Unicode"
    if isinstance(value, int):
        return None if value in _INT64 else f"{shown(value)}, which has more than 64 bits"
    return None if isinstance(value, float) else shown(value)


def _is_text(text: str) -> bool:
    return text.isascii() or not _HALF.search(text)


_PARTS = 64  # of a key with dots
_DOTTED = re.compile(rb"(?<![\w\"'-])(?:[\w\"'-]{1,100}[ \t]*\.[ \t]*){%d}" % _PARTS)


def read_toml(path: str | Path) -> dict[str, Any]:
    """The plain values of a TOML file; every way to fail is a `RecipeError` that names the line."""
    path = Path(path)
    try:
        if path.exists():  # a pipe would be waited for
            check_file(path, RecipeError, "the recipe")
        with open(path, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        beside = (item.name for item in path.parent.glob("*.toml"))
        near = nearest(path.name, beside)
        raise RecipeError(
            f"there is no file {path}", did_you_mean=near and str(path.with_name(near))
        ) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=path) from error
    return parse_toml(raw, path)


def parse_toml(raw: bytes, path: str | Path, line: int = 1) -> dict[str, object]:
    """The plain values of TOML text that begins at `line` of a file; raises as `read_toml`."""
    if len(raw) > _MOST_BYTES:
        raise RecipeError(f"a recipe has more than {_MOST_BYTES:,} bytes", where=path)
    where = path if line == 1 else f"{path}:{line}"
    if deep := _DOTTED.search(raw):  # tomllib takes minutes and gigabytes for such a key
        line += raw.count(b"\n", 0, deep.start())
        raise RecipeError(f"a key has more than {_PARTS} parts", where=f"{path}:{line}")
    with parsing(where, RecipeError, "not valid TOML"):
        try:
            return tomllib.loads(raw.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line += raw.count(b"\n", 0, error.start)
            raise RecipeError(f"not UTF-8: byte {error.start}", where=f"{path}:{line}") from error
        except tomllib.TOMLDecodeError as error:  # its text ends in "(at line 3, column 5)"
            said = _AT_LINE.sub(lambda found: f"at line {int(found[1]) + line - 1}", str(error))
            raise RecipeError(f"not valid TOML: {said}", where=where) from error


# One line: nothing, a comment, or key = "text", key = 1_000 or key = ["text", "text"], with perhaps
# a comment behind it.
_TEXT = r"[^\"\\\x00-\x1f\x7f]*"
_STRING, _NUMBER = rf'"({_TEXT})"', r"(0|[1-9][0-9]*(?:_[0-9]+)*)"
_TEXTS = rf'(\["{_TEXT}"(?:, "{_TEXT}")*\])'
_LINE = re.compile(
    rf"[ \t]*(?:([A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:{_STRING}|{_NUMBER}|{_TEXTS})[ \t]*)?"
    r"(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?\r?\n"
)


def read_lines(text: str) -> dict[str, Any] | None:
    """The values of TOML text that is nothing but lines such as `key = "text"` and `key = 1_000`.

    And `key = ["text", "text"]`.

    What most heads of recipes are, at a tenth of the time of a whole TOML reader.

    Returns:
        What `tomllib.loads` gives; or `None` for any other text, sound or not.
    """
    values: dict[str, Any] = {}
    text = text if text.endswith("\n") else text + "\n"
    place = 0
    while place < len(text):
        line = _LINE.match(text, place)
        if line is None:
            return None
        place = line.end()
        key, string, number, texts = line.groups()
        if key is not None:
            if key in values:
                return None
            values[key] = string if number is None else int(number)
            if texts is not None:
                values[key] = texts[2:-2].split('", "')
    return values


def dumps(values: Mapping[str, Any]) -> str:
    """The TOML text of `values`: scalars first, then one `[table]` for each nested mapping.

    Raises:
        RecipeError: a value that TOML cannot hold, such as `None` or a half surrogate pair.
    """
    return "\n".join(_table(values, ())).lstrip("\n") + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    tables = {key: item for key, item in values.items() if isinstance(item, Mapping)}
    lines = [
        f"{_key(key)} = {_value(item, (*path, key))}"
        for key, item in values.items()
        if key not in tables
    ]
    # A table that only holds tables needs no header of its own; an empty one does.
    if path and (lines or not tables):
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for key, item in tables.items():
        lines += _table(item, (*path, key))
    return lines


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare or (key.isascii() and key and set(key) <= set("-_")) else _string(key, ())


def _value(value: object, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):  # before int: True is an int
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value, path)
    if isinstance(value, int) and value in _INT64:
        return f"{value:_}" if abs(value) >= 1_000_000 else str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item, path) for item in value) + "]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(item, (*path, key))}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise RecipeError(f"a recipe cannot hold {value!r}", where=".".join(path))


def _string(text: str, path: tuple[str, ...]) -> str:
    out = []
    for char in text:
        if "\ud800" <= char <= "\udfff":
            raise RecipeError(f"{text!r} is not valid Unicode", where=".".join(path))
        plain = char >= " " and char != "\x7f"
        out.append(_ESCAPES.get(char) or (char if plain else f"\\u{ord(char):04x}"))
    return '"' + "".join(out) + '"'
