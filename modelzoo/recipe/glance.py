"""The head of a recipe, read without the rest: what a list shows."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

from modelzoo.errors import RecipeError
from modelzoo.plugins.catalogue import RecipeText
from modelzoo.recipe.toml import read_lines
from modelzoo.recipe.values import PUBLISHED, TABLES, Values, published

# A table's header at the beginning of a line, and what makes a model of several recipes.
_HEADER = re.compile(rb"^[ \t]*\[+[ \t]*([^\].\s]*)", re.MULTILINE)


_PARTS = re.compile(rb"\brecipe\"?[ \t]*=")


_TABLE_NAMES = frozenset(name.encode() for name in TABLES)


_HEAD_KEYS = {"summary", "architecture", "task", "parameters", "reference", "extends", *PUBLISHED}


def glance(
    text: RecipeText,
    find: Callable[[str], RecipeText | None] | None = None,
    seen: tuple[RecipeText, ...] = (),
) -> Values | None:
    """The scalars of a recipe, out of the lines above its first table: what a list shows.

    A list of thousands of recipes reads them so, in a tenth of the time of `read`. What stands in
    the tables is not looked at.

    Args:
        text: where the recipe is written.
        find: gives the text of a recipe by name, or `None`; needed where one extends another.
        seen: the texts on the way here.

    Returns:
        The values; or `None` for a recipe that has to be read in full to know what it is, or what
        is wrong with it: one that has parts, that extends another and states no parameters, that
        is not valid in its head, or has tables that a recipe does not have.
    """
    if text.problem is not None:
        return None
    try:
        raw = text.read_bytes()
        first = _HEADER.search(raw)
        head = raw[: first.start() if first else None].decode("utf-8")
        values = read_lines(head)
        if values is None:
            values = tomllib.loads(head)
    except (OSError, ValueError, RecursionError):
        return None
    if _PARTS.search(raw) or not _TABLE_NAMES.issuperset(_HEADER.findall(raw)):
        return None
    try:
        published(values, text.place)
    except RecipeError:
        return None
    count = values.get("parameters", 0)
    others = (value for key, value in values.items() if key not in ("parameters", *PUBLISHED))
    sound = values.keys() <= _HEAD_KEYS and all(type(value) is str for value in others)
    if not sound or type(count) is not int or not 0 <= count < 2**63:
        return None
    extends = values.pop("extends", None)
    if extends is not None:
        parent = find(extends) if find is not None and "parameters" in values else None
        if parent is None or parent in seen or parent == text:
            return None
        base = glance(parent, find, (*seen, text))
        if base is None:
            return None
        values = {**{key: base[key] for key in base if key not in PUBLISHED}, **values}
    return values if "architecture" in values else None
