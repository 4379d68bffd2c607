"""The recipes of a package: the files of its folder `recipes`, the tables of its `recipes.toml`.

A table of the catalogue is what a recipe's file would be, with the recipe's name in its headers:

    [tiny]
    summary      = "GPT-2, two layers"
    architecture = "gpt"

    [tiny.model]
    num_layers = 2

It is cut at its headers and never parsed as a whole. So a list of hundreds of recipes costs the
reading of one file, and a table that is not valid TOML hides no other. For that, a line that begins
with `[` in the first column is a header, in a value too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "CATALOGUE",
    "NAME",
    "Catalogue",
    "RecipeText",
    "read_catalogue",
    "recipe_files",
    "recipe_texts",
]

CATALOGUE = "recipes.toml"
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")

# A table begins at a "[" in the first column, with the comment directly above. All groups but the
# first are None where that line is not the header of a recipe's table.
_TABLE = re.compile(
    rb"""^((?:\#[^\n]*\n)*+)\[(?:
        [ \t]*(?:([\w-]+)|"([^"\\\n]*)"|'([^'\n]*)')[ \t]*(?:\.([^]\#\n]*))?\]
        ([ \t]*(?:\#[^\n]*)?)\r?$
    )?[^\n]*""",
    re.MULTILINE | re.VERBOSE,
)


class RecipeText(NamedTuple):
    """Where one recipe is written: a whole file, or a table of a catalogue.

    Attributes:
        path: of the file.
        line: where the recipe begins.
        table: the table as a file of its own would hold it; `None` where the whole file is it.
        comment: what stands directly above the table.
        problem: why it cannot be read, or `None`.
    """

    path: str
    line: int = 1
    table: bytes | None = None
    comment: bytes = b""
    problem: str | None = None

    @property
    def place(self) -> str:
        """`path`, or `path:line` of a table: what an error names."""
        return self.path if self.table is None else f"{self.path}:{self.line}"

    def read_bytes(self) -> bytes:
        """The text as a file holds it. Raises `OSError`."""
        if self.table is not None:
            return self.table
        with open(self.path, "rb") as file:
            return file.read()

    def as_file(self) -> str | None:
        """The text of a table with the comment above it; `None` where the whole file is it."""
        if self.table is None:
            return None
        text = (self.comment + self.table).decode("utf-8", errors="replace")
        return text.replace("\r\n", "\n").strip() + "\n"


class Catalogue(NamedTuple):
    """The tables of a catalogue by name, and what is wrong outside them, or `None`."""

    tables: Mapping[str, RecipeText]
    problem: str | None = None


def recipe_texts(package: str | Path) -> dict[str, RecipeText]:
    """Name -> text, of each recipe of the package in this folder; `{}` where it has none.

    A name that has both a file and a table gets neither, but a problem that names the two places.
    """
    found = recipe_files(os.path.join(package, "recipes"))
    for name, text in read_catalogue(package).tables.items():
        if name in found:
            both = f"in recipes/{name}.toml and in {CATALOGUE}, line {text.line}"
            text = text._replace(problem=f"{name!r} is defined twice, {both}: remove one")
        found[name] = text
    return found


def recipe_files(folder: str | Path) -> dict[str, RecipeText]:
    """Stem -> text, of the TOML files in a folder, sorted; `{}` where there is none."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    except OSError:  # it has none
        return {}
    return {name.removesuffix(".toml"): RecipeText(os.path.join(folder, name)) for name in names}


def read_catalogue(package: str | Path) -> Catalogue:
    """The catalogue of the package in this folder, empty where it has none. Never raises."""
    path = os.path.join(package, CATALOGUE)
    try:
        facts = os.stat(path)
        return _read(path, facts.st_mtime_ns, facts.st_size)
    except (FileNotFoundError, NotADirectoryError):
        return Catalogue({})
    except OSError as error:
        return Catalogue({}, f"its {CATALOGUE} cannot be read: {error.strerror}")


@lru_cache(maxsize=128)
def _read(path: str, changed: int, size: int) -> Catalogue:
    """As the file was at that time: a list asks twice, and each `extends` once more."""
    with open(path, "rb") as file:
        raw = file.read().removeprefix(b"\xef\xbb\xbf")
    found = list(_TABLE.finditer(raw))
    ends = [*(begin.start() for begin in found), len(raw)]
    tables: dict[str, RecipeText] = {}
    faults, line, before = _above(raw[: ends[0]]), 1 + raw.count(b"\n", 0, ends[0]), None
    for begin, end in zip(found, ends[1:], strict=True):
        comment, bare, double, single, table, rest = begin.groups()
        line += comment.count(b"\n")
        name = None if rest is None else (bare or double or single or b"").decode(errors="replace")
        own = (rest or b"") + raw[begin.end() : end]
        own = own if table is None else b"[" + table + b"]" + own
        if name is None:
            faults.append(_no_header(line, begin[0][len(comment) :]))
        elif name == before and table is not None:
            old = tables[name]
            text = old.read_bytes() + comment + own
            tables[name] = RecipeText(path, old.line, text, old.comment, old.problem)
        else:
            problem = _no_name(name)
            if name in tables:
                lines = f"lines {tables[name].line} and {line}"
                problem = f"{name!r} is defined twice in {CATALOGUE}, {lines}: remove one"
            tables[name] = RecipeText(path, line, own, comment, problem)
        before = name
        line += raw.count(b"\n", begin.end(), end)
    return Catalogue(tables, f"its {CATALOGUE}, {faults[0]}" if faults else None)


# === What is wrong with it ===


def _above(text: bytes) -> list[str]:
    return [
        f"line {line}: {_shown(said)} is above the first table; each recipe is a table"
        for line, said in enumerate(text.split(b"\n"), 1)
        if said.strip() and not said.lstrip().startswith(b"#")
    ]


def _no_header(line: int, text: bytes) -> str:
    return (
        f'line {line}: {_shown(text)} is not a recipe\'s header, such as [name] or ["name"]; '
        "indent a line inside a value that begins with ["
    )


def _no_name(name: str) -> str | None:
    if NAME.fullmatch(name) and not name.endswith(".toml"):
        return None
    return (
        f"{name!r} cannot be a recipe's name: a letter or digit, then letters, digits, . + - and "
        "_, without .toml at the end"
    )


def _shown(text: bytes) -> str:
    return repr(text.decode(errors="replace").strip()[:60])
