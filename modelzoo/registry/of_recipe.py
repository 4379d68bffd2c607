"""The recipe of a model, and the task of a recipe."""

from __future__ import annotations

from typing import Any

from modelzoo.errors import (
    ModelzooError,
    RecipeError,
)
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.schema import arguments, validate_against
from modelzoo.registry import components

__all__ = ["recipe_of", "task_of"]


def recipe_of(model) -> Recipe:
    """The recipe that a model was built from.

    Raises:
        ModelzooError: it knows none.
    """
    if getattr(model, "recipe", None) is None:
        raise ModelzooError(
            "the model does not know its recipe",
            next_step="make it with modelzoo.build(NAME), or open it with modelzoo.load(DIR)",
        )
    return model.recipe


def task_of(recipe: Recipe) -> Any:
    """The recipe's task, made with its `[task_options]`, and a mixture with its `[mixture]`."""
    if recipe.task is None:
        raise RecipeError(
            f"{recipe.name}: the recipe names no task",
            where=recipe.place,
            next_step='add a line such as task = "causal-lm"',
        )
    kind = components.task(recipe.task)
    options = validate_against(recipe, kind, table="task_options")
    if "mixture" in recipe.values:
        if "mixture" not in arguments(kind):
            raise RecipeError(
                f"{recipe.name}: the task {recipe.task} learns one thing, and reads no [mixture]",
                where=recipe.place,
                next_step='take the task "mixture", or leave the table out',
            )
        options["mixture"] = recipe.table("mixture")
    return kind(**options)
