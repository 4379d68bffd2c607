"""`recipe.lock.toml`: the resolved values of a recipe, with the digest that proves them.

A table `[source]` says where the weights come from; it is no part of the recipe or its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo.about import UPGRADE, VERSION
from modelzoo.errors import ModelDirectoryError, RecipeError, shown
from modelzoo.files import write_atomic
from modelzoo.recipe.reading import from_values
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.toml import dumps, read_toml

LOCK_NAME = "recipe.lock.toml"


FORMAT_VERSION = 2  # with a table [source]; without one it is 1, which every modelzoo reads


def lock_text(
    recipe: Recipe,
    *,
    keras: str | None = None,
    backend: str | None = None,
    source: Mapping[str, Any] | None = None,
) -> str:
    """The text of the lock file: the resolved values, a table `[source]`, and a table `[lock]`.

    Args:
        source: where the weights come from; see `weights.origin.Origin`.
    """
    lock: Mapping[str, Any] = {
        "format_version": FORMAT_VERSION if source else 1,
        "name": recipe.name,
        "digest": recipe.digest,
        "modelzoo": VERSION,
        "keras": keras,
        "backend": backend,
        "plugin": recipe.plugin,
    }
    known = {key: value for key, value in lock.items() if value is not None}
    return dumps({**recipe.values, **({"source": source} if source else {}), "lock": known})


def write_lock(
    directory: str | Path,
    recipe: Recipe,
    *,
    keras: str | None = None,
    backend: str | None = None,
    source: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `recipe.lock.toml` into `directory`; a reader never sees half of it."""
    text = lock_text(recipe, keras=keras, backend=backend, source=source)
    return write_atomic(Path(directory) / LOCK_NAME, text)


def read_lock(directory: str | Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the table `[lock]` of a model directory or bundle.

    The table has the file's table `[source]` as its key `source`, where there is one.

    Raises:
        ModelDirectoryError: no lock file, one that a newer modelzoo wrote, or one that was edited.
    """
    path = Path(directory)
    path = path / LOCK_NAME if path.is_dir() else path
    try:
        values = read_toml(path)
    except RecipeError as error:
        if path.exists():
            raise ModelDirectoryError(error.what, where=error.where) from error
        raise ModelDirectoryError(
            f"{directory} is not a model directory: it holds no {LOCK_NAME}",
            next_step="modelzoo build NAME -o DIR writes one",
        ) from error
    lock, source = values.pop("lock", None), values.pop("source", None)
    version = lock.get("format_version") if isinstance(lock, dict) else None
    if type(version) is not int or not isinstance(lock.get("name"), str):
        raise ModelDirectoryError("the table [lock] is missing or incomplete", where=path)
    if version > FORMAT_VERSION:
        raise ModelDirectoryError(
            f"written by a newer modelzoo ({lock.get('modelzoo', 'unknown')}): "
            f"lock format {version}, and this one reads up to {FORMAT_VERSION}",
            where=path,
            next_step=UPGRADE,
        )
    try:
        recipe = from_values(values, name=lock["name"], source=str(path), plugin=lock.get("plugin"))
    except RecipeError as error:
        raise ModelDirectoryError(error.what, where=error.where or path) from error
    if recipe.digest != lock.get("digest"):
        raise ModelDirectoryError(
            "the values do not match the recorded digest: the file was edited by hand",
            where=path,
            next_step="build the model again from its recipe",
        )
    if source is None:
        return recipe, lock
    _check_source(source, path)
    return recipe, {**lock, "source": source}


# What the table `[source]` and its table `training` hold besides texts, and the words for it.
_SOURCE = {"training": dict}
_TRAINING = {"steps": int, "seed": int, "examples": int, "figures": dict}
_WORDS = {dict: "a table", int: "a whole number", float: "a number", str: "a text"}


def _check_source(source: object, path: Path) -> None:
    """Reject a table `[source]` of which no card could be written; a licence may be added."""
    if not isinstance(source, dict):
        raise ModelDirectoryError("source must be a table, [source]", where=path)
    _check_kinds("source", source, {key: _SOURCE.get(key, str) for key in source}, path)
    training = source.get("training")
    if training:
        kinds = {**dict.fromkeys(training, str), **_TRAINING}
        _check_kinds("source.training", training, kinds, path)
        figures = training["figures"]
        _check_kinds("source.training.figures", figures, dict.fromkeys(figures, float), path)


def _check_kinds(name: str, table: dict, kinds: Mapping[str, type], path: Path) -> None:
    for key, kind in kinds.items():
        value = table.get(key)
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits:
            what = f"{name}.{key} must be {_WORDS[kind]}, not {shown(value)}"
            raise ModelDirectoryError(what, where=path)
