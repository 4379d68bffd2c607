"""Open what a command is given: a bundle, or a model directory."""

from __future__ import annotations

from typing import Any

from modelzoo.cli.media_inputs import path_of
from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.known import ABILITIES


def open_model(
    path: str, threads: int | None, weight_cache: str | bool | None = True, trust: bool = False
) -> tuple[Any, tuple[str, ...]]:
    """The model of a bundle or a model directory, and all that it can do.

    Raises:
        ModelzooError: it cannot be loaded, or does nothing with text or files.
    """
    from modelzoo import plugins
    from modelzoo.runtime.bundle import is_bundle, no_bundle

    if is_bundle(path):
        from modelzoo.runtime.model import load

        model = load(path, threads=threads, weight_cache=weight_cache, trust=trust)
    elif not path_of(path) and plugins.get(path.partition("/")[0]):
        raise no_bundle(path)
    else:
        given = {
            "threads": threads,
            "weight-cache": None if weight_cache is True else weight_cache,
            "trust": trust or None,
        }
        for option in (name for name, value in given.items() if value is not None):
            raise ModelzooError(
                f"--{option} is for bundles", where=path, next_step=f"leave --{option} out"
            )
        from modelzoo.building.directory import load

        model = load(path)
    if hasattr(model, "abilities"):
        able = tuple(name for name in ABILITIES if name in model.abilities)
    else:
        from modelzoo.tasks.profile import said

        recipe = getattr(model, "recipe", None)
        stated = said(recipe.task, "abilities") if recipe else None
        fits = ABILITIES if stated is None else stated
        able = tuple(name for name in ABILITIES if name in fits and hasattr(model, name))
    if not able:
        raise ModelzooError(
            "this model does nothing with text or files alone",
            where=path,
            next_step="run its signatures: modelzoo.runtime.load(BUNDLE).engine.run(name, arrays)",
        )
    return model, able
