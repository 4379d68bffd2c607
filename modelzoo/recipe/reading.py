"""A recipe is data, never code: a TOML file that names an architecture and its values.

It can be listed, hashed, copied and diffed without importing Keras. A recipe may extend one other:
tables merge, arrays replace, and there is no interpolation.

    summary      = "GPT-2 small: decoder-only language model"
    architecture = "gpt"
    task         = "causal-lm"
    [model]
    num_layers = 12
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelzoo.errors import RecipeError, UnknownNameError, nearest
from modelzoo.plugins.catalogue import RecipeText
from modelzoo.recipe.composition import begin_afresh, renamed, resolve_parts
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.toml import parse_toml, read_toml
from modelzoo.recipe.values import (
    PUBLISHED,
    TABLES,
    Values,
    changed,
    checked,
    merge,
    published,
    without_rivals,
    without_stale_count,
)

__all__ = ["from_values", "override", "read"]


# The recipes being read, outermost first: (name, identity). Finds a circle of `extends`.
_READING: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("_READING", default=())


def read(
    path: str | Path | RecipeText,
    *,
    resolve: Callable[[str], Recipe] | None = None,
    change: Callable[[Recipe, Values], Recipe] | None = None,
    name: str | None = None,
    plugin: str | None = None,
) -> Recipe:
    """Reads a recipe file and merges it over the recipe that it extends.

    Args:
        path: a TOML file, or a table of a catalogue.
        resolve: gives the recipe of a name; needed where the file says `extends`.
        change: gives the extended recipe with the file's other task, as `registry.recipe` does,
            which knows how that task is trained. Default: `override`.
        name: what to call it; the stem of the file by default.
        plugin: the distribution it came with.

    Raises:
        RecipeError: not found, not TOML (with line and column), an unknown key, a circle.
    """
    text = path if isinstance(path, RecipeText) else RecipeText(str(Path(path)))
    found = from_values(
        _values(text),
        name=name or Path(text.path).stem,
        source=text.place,
        resolve=resolve,
        change=change,
        plugin=plugin,
    )
    return replace(found, source=text.path, line=text.line, text=text.as_file())


def _values(text: RecipeText) -> Values:
    """All that a recipe's text says; a table that no recipe has is often a name with a dot."""
    if text.problem is not None:
        raise RecipeError(text.problem, where=text.place)
    if text.table is None:
        return read_toml(text.path)
    values = parse_toml(text.table, text.path, text.line)
    for key, value in values.items():
        if isinstance(value, dict) and key not in TABLES:
            raise RecipeError(
                f"a recipe has no table {key!r}",
                where=text.place,
                did_you_mean=nearest(key, TABLES),
                next_step='quote a name that has a dot, as in ["v1.5"] and ["v1.5".model]',
            )
    return values


def from_values(
    values: Mapping[str, Any],
    *,
    name: str,
    source: str = "<registered>",
    resolve: Callable[[str], Recipe] | None = None,
    change: Callable[[Recipe, Values], Recipe] | None = None,
    plugin: str | None = None,
) -> Recipe:
    """A recipe out of values as a file would give them. See `read` for arguments and errors."""
    # A recipe is known by its place: gpt-small.toml may extend the core's gpt-small.
    identity = source if source != "<registered>" else name
    reading = _READING.get()
    if identity in (other for _, other in reading):
        circle = " -> ".join([*(other for other, _ in reading), name])
        raise RecipeError(f"recipes extend each other in a circle: {circle}", where=source)
    weights, aliases = published(values, source)
    own = checked({k: v for k, v in values.items() if k not in PUBLISHED}, source)
    parent = None
    token = _READING.set((*reading, (name, identity)))
    try:
        if "extends" in own:
            parent = _parent(own.pop("extends"), source, resolve)
        own = resolve_parts(own, lambda name: _named(name, source, resolve), source)
    finally:
        _READING.reset(token)

    extends = ()
    if parent is not None:
        base = _of_task(parent, own, change or override).values
        merged = merge(without_rivals(begin_afresh(base, own), own), own)
        own = without_stale_count(parent.values, merged, stated="parameters" in own)
        extends = (parent.name, *parent.extends)
        plugin = plugin or parent.plugin
    _require_architecture(own, source)
    return Recipe(
        name=name,
        values=own,
        source=source,
        plugin=plugin,
        extends=extends,
        weights=weights,
        aliases=aliases,
    )


def override(
    recipe: Recipe,
    changes: Mapping[str, Any] | None,
    resolve: Callable[[str], Recipe] | None = None,
) -> Recipe:
    """A recipe with some values changed.

    Args:
        recipe: what to start from.
        changes: a bare key is `model.KEY`; any other table is written out, `train.learning_rate`.
            `None` drops the key, which gives back the architecture's default.
        resolve: gives the recipe of a name; needed where `changes` name one for a part.

    Raises:
        RecipeError: an unknown table, or a value that a recipe cannot hold.
    """
    if not changes:
        return recipe
    where = "an override"
    values = changed(begin_afresh(recipe.values, renamed(changes)), changes)
    values = resolve_parts(values, lambda name: _named(name, where, resolve), where)
    _require_architecture(values, "an override")
    return replace(recipe, values=values)


def _require_architecture(values: Values, where: str) -> None:
    if "architecture" not in values:
        raise RecipeError(
            "the recipe names no architecture",
            where=where,
            next_step='add a line such as architecture = "gpt", or extends = "gpt-small"',
        )


def _of_task(parent: Recipe, own: Values, change: Callable[[Recipe, Values], Recipe]) -> Recipe:
    """The extended recipe; where `own` states another task, as a model of that task begins."""
    task = own.get("task", parent.task)
    if task == parent.task:
        return parent
    longest = own.get("model", {}).get("max_length")
    return change(parent, {"task": task} | ({"max_length": longest} if longest else {}))


def _parent(name: str, source: str, resolve: Callable[[str], Recipe] | None) -> Recipe:
    return _named(name, source, resolve, "extends")


def _named(
    name: str, source: str, resolve: Callable[[str], Recipe] | None, word: str = "has a part"
) -> Recipe:
    if resolve is None:
        raise RecipeError(f"{word} {name!r}, which can only be followed by name", where=source)
    try:
        return resolve(name)
    except UnknownNameError as error:
        raise RecipeError(
            f"{word} {name!r}, and there is no recipe of that name",
            where=source,
            did_you_mean=error.did_you_mean,
        ) from error
