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

from modelzoo.errors import RecipeError, UnknownNameError
from modelzoo.recipe.composition import begin_afresh, renamed, resolve_parts
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.toml import read_toml
from modelzoo.recipe.values import (
    Values,
    changed,
    checked,
    merge,
    without_stale_count,
)

__all__ = ["from_values", "override", "read"]


# The recipes being read, outermost first: (name, identity). Finds a circle of `extends`.
_READING: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("_READING", default=())


def read(
    path: str | Path,
    *,
    resolve: Callable[[str], Recipe] | None = None,
    name: str | None = None,
    plugin: str | None = None,
) -> Recipe:
    """Reads a recipe file and merges it over the recipe that it extends.

    Args:
        path: a TOML file.
        resolve: gives the recipe of a name; needed where the file says `extends`.
        name: what to call it; the stem of the file by default.
        plugin: the distribution it came with.

    Raises:
        RecipeError: not found, not TOML (with line and column), an unknown key, a circle.
    """
    path = Path(path)
    return from_values(
        read_toml(path),
        name=name or path.stem,
        source=str(path),
        resolve=resolve,
        plugin=plugin,
    )


def from_values(
    values: Mapping[str, object],
    *,
    name: str,
    source: str = "<registered>",
    resolve: Callable[[str], Recipe] | None = None,
    plugin: str | None = None,
) -> Recipe:
    """A recipe out of values as a file would give them. See `read` for arguments and errors."""
    # A file is known by its path: gpt-small.toml may extend the core's gpt-small.
    identity = source if source != "<registered>" else name
    reading = _READING.get()
    if identity in (other for _, other in reading):
        circle = " -> ".join([*(other for other, _ in reading), name])
        raise RecipeError(f"recipes extend each other in a circle: {circle}", where=source)
    own = checked(values, source)
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
        merged = merge(begin_afresh(parent.values, own), own)
        own = without_stale_count(parent.values, merged, stated="parameters" in own)
        extends = (parent.name, *parent.extends)
        plugin = plugin or parent.plugin
    _require_architecture(own, source)
    return Recipe(name=name, values=own, source=source, plugin=plugin, extends=extends)


def override(
    recipe: Recipe,
    changes: Mapping[str, object] | None,
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
