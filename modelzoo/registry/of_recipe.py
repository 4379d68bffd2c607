"""The recipe of a model, and the task of a recipe."""

from __future__ import annotations

from typing import Any

from modelzoo.errors import (
    ModelzooError,
    RecipeError,
)
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.schema import validate_against
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
    """The recipe's task, made with its `[task_options]`."""
    if recipe.task is None:
        raise RecipeError(
            f"{recipe.name}: the recipe names no task",
            where=recipe.place,
            next_step='add a line such as task = "causal-lm"',
        )
    kind = components.task(recipe.task)
    return kind(**validate_against(recipe, kind, table="task_options"))
