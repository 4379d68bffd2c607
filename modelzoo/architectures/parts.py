"""Towers, encoders and decoders that an architecture is given as tables.

See `modelzoo.recipe.composition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelzoo.errors import RecipeError
from modelzoo.recipe import Recipe
from modelzoo.recipe.schema import validate_against
from modelzoo.registry import components

if TYPE_CHECKING:
    import keras

# Of a part's table, what the part's own architecture does not read.
COMMON = ("of", "architecture", "model", "frozen", "weights")


def build_part(name: str, table: dict) -> keras.Model:
    """The backbone of one part, frozen if the table says so.

    Args:
        name: the table's, `image` for `[model.image]`.
        table: `architecture` and `model`, as reading a recipe leaves them. `weights` is not looked
            at here: `modelzoo.build` takes them when all is built.

    Raises:
        RecipeError: a table without an architecture, or values that it does not take.

    Example:
        >>> build_part("text", {"architecture": "bert", "model": {"num_layers": 2}}).count_params()
        38603520
    """
    if not isinstance(table.get("architecture"), str):
        raise RecipeError(
            f"model.{name} names no model",
            next_step=f'add a line such as recipe = "bert-tiny" under [model.{name}]',
        )
    architecture = components.architecture(table["architecture"])
    values = {"architecture": table["architecture"], "model": table.get("model", {})}
    recipe = Recipe(f"model.{name}", values, f"model.{name}")
    backbone = architecture(**validate_against(recipe, architecture))
    if table.get("frozen", False):
        backbone.trainable = False
    return backbone


def own_options(name: str, table: dict, allowed: dict) -> dict:
    """What a part's table says to who puts the parts together, over the defaults in `allowed`.

    Raises:
        RecipeError: a key that neither the part nor its owner knows.
    """
    from modelzoo.errors import nearest

    given = {key: value for key, value in table.items() if key not in COMMON}
    for key in given:
        if key not in allowed:
            raise RecipeError(
                f"model.{name} takes no {key!r}",
                did_you_mean=nearest(key, [*COMMON, *allowed]),
                next_step=f"it takes recipe, {', '.join([*COMMON[2:], *allowed])}",
            )
    return {**allowed, **given}
