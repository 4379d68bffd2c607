"""How many parameters a recipe has, counted from the model itself and without its memory.

A child process builds the model under `keras.StatelessScope(initialize_variables=False)`: variables
get a shape and no values, so 175 billion of them take a second. The child is needed because Keras
keeps a global list of variables without values, and would fill them at the next chance.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from modelzoo import registry
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
    package = str(Path(__file__).parents[1])
    paths = [package, *(path for path in sys.path if os.path.isabs(path))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "CUDA_VISIBLE_DEVICES": "-1",  # shapes need no accelerator
        "JAX_PLATFORMS": "cpu",
    }
    # -P: the child runs no code of the working directory.
    child = subprocess.run(
        [sys.executable, "-P", "-m", "modelzoo.building.counting"],
        input=pickle.dumps(recipes),
        capture_output=True,
        env=environment,
        check=False,
    )
    if child.returncode:
        last = child.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ModelzooError(f"counting failed with exit code {child.returncode}: {last}")
    counts = pickle.loads(child.stdout)
    if isinstance(counts, ModelzooError):
        raise counts
    return counts


def _count_here(recipe: Recipe) -> int:
    """Counts in this process, and leaves variables without values behind."""
    import keras

    from modelzoo.building.build import build

    try:
        with keras.StatelessScope(initialize_variables=False):
            model = build(recipe, compile=False)
    except ModelzooError:
        raise
    except Exception as error:
        raise ModelzooError(
            f"{recipe.name} cannot be built: {type(error).__name__}: {error}", where=recipe.place
        ) from error
    return model.count_params()


def _child() -> None:
    """Recipes on standard input, their counts or the first error on standard output."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # nothing that a library prints gets into the answer
        recipes = pickle.load(sys.stdin.buffer)
        try:
            require("keras", "tensorflow")
            counts: object = [_count_here(recipe) for recipe in recipes]
        except ModelzooError as error:
            counts = error
        answer.write(pickle.dumps(counts))


if __name__ == "__main__":
    _child()
