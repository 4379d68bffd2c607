"""A model made of others: `[model.image] recipe = "vit-tiny"` is a part, and so is each such table.

    [model.image]
    recipe  = "vit-tiny"            # its architecture and its [model] table are put here when read
    frozen  = true                  # not trained
    weights = "runs/my-vit"         # a model directory or a checkpoint to begin with; of one that
                                    # is made of parts itself, its part of this name
    [model.image.model]
    num_layers = 6                  # over what the recipe says

Read, the part is `{of = "vit-tiny", architecture = "vit", model = {…}, …}`: a lock file does not
change when the recipe that it came from does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelzoo.errors import RecipeError
from modelzoo.recipe.values import Values, merge

__all__ = ["begin_afresh", "parts_of", "renamed", "resolve_parts"]

_TAKEN = ("of", "architecture", "model")  # what a part takes from the recipe that it names


def parts_of(values: Mapping) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, table) of each part in a recipe's values: "image", "text", "audio", "decoder" …"""
    for name, table in values.get("model", {}).items():
        if isinstance(table, Mapping) and ("recipe" in table or "architecture" in table):
            yield name, table


def resolve_parts(values: Values, resolve: Callable, source: str) -> Values:
    """The values with each part's `recipe` replaced by what that recipe says.

    Args:
        resolve: gives the recipe of a name.

    Raises:
        RecipeError: `recipe` is not a name.
        UnknownNameError: there is no such recipe.
    """
    named = [name for name, table in parts_of(values) if "recipe" in table]
    if not named:
        return values
    values = copy.deepcopy(values)
    for name in named:
        own = values["model"][name]
        of = own.pop("recipe")
        if not isinstance(of, str):
            raise RecipeError(
                f"model.{name}.recipe must be a recipe's name, not {of!r}", where=source
            )
        found = resolve(of)
        theirs = {"of": found.name, "architecture": found.architecture}
        values["model"][name] = merge({**theirs, "model": found.table("model")}, own)
    return values


def renamed(changes: Mapping[str, Any]) -> Values:
    """What changes such as `{"image.recipe": "vit-small"}` name newly, as recipe's values."""
    keys = (key.removeprefix("model.").split(".") for key in changes)
    return {"model": {key[0]: {"recipe": ""} for key in keys if key[1:] == ["recipe"]}}


def begin_afresh(base: Mapping, over: Mapping) -> Values:
    """`base` without what its parts took from recipes, where `over` names others for them."""
    base = copy.deepcopy(dict(base))
    for name, table in parts_of(over):
        old = base.get("model", {}).get(name)
        if isinstance(old, dict) and ("recipe" in table or "of" in table):
            for key in _TAKEN:
                old.pop(key, None)
    return base
