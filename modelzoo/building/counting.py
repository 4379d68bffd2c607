"""How many parameters a recipe has, counted from the model itself and without its memory.

A child process builds the model under `keras.StatelessScope(initialize_variables=False)`: variables
get a shape and no values, so 175 billion of them take a second. The child is needed because Keras
keeps a global list of variables without values, and would fill them at the next chance.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from modelzoo import child_process, registry
from modelzoo.errors import ModelzooError, require
from modelzoo.recipe import Recipe

__all__ = ["count_many", "count_parameters"]


def count_parameters(recipe: str | os.PathLike[str] | Recipe, **overrides: object) -> int:
    """The number of parameters of a recipe's model, with its task's head.

    Args:
        recipe: a name, a TOML file, a model directory, or a recipe.
        **overrides: as in `modelzoo.recipe.override`: `num_layers=6`.

    Raises:
        ModelzooError: what building the model would raise.

    Example:
        >>> # Starts a Python with Keras for it, and tests/test_zoo.py counts every recipe.
        >>> count_parameters("gpt-small", num_layers=6)  # doctest: +SKIP
        81912576
    """
    (number,) = _count([registry.recipe(recipe, overrides)])
    return number


def count_many(names: Iterable[str | Recipe]) -> dict[str, int]:
    """The same for several recipes, in one child process: name -> parameters."""
    recipes = [name if isinstance(name, Recipe) else registry.recipe(name) for name in names]
    return dict(zip((recipe.name for recipe in recipes), _count(recipes), strict=True))


def _count(recipes: list[Recipe]) -> list[int]:
    variables = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}  # shapes need no accelerator
    try:
        return child_process.call(_count_all, recipes, variables=variables)
    except child_process.Died as died:
        raise ModelzooError(f"counting failed with {died}") from died


def _count_all(recipes: list[Recipe]) -> list[int]:
    require("keras", "tensorflow")
    return [_count_here(recipe) for recipe in recipes]


def _count_here(recipe: Recipe) -> int:
    """Counts in this process, and leaves variables without values."""
    import keras

    from modelzoo.building.build import build
    from modelzoo.building.memory import unbounded

    try:
        with unbounded(), keras.StatelessScope(initialize_variables=False):
            model = build(recipe, compile=False)
    except ModelzooError:
        raise
    except Exception as error:
        raise ModelzooError(
            f"{recipe.name} cannot be built: {type(error).__name__}: {error}", where=recipe.place
        ) from error
    return model.count_params()
