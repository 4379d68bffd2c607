"""A recipe: does it fit its architecture and task, and is the model as large as it says?"""

from __future__ import annotations

from functools import cache

from modelzoo import registry
from modelzoo.building.counting import count_many, count_parameters
from modelzoo.errors import ModelzooError
from modelzoo.plugins import Plugin
from modelzoo.recipe.schema import validate_against
from modelzoo.testing.check import fail, not_applicable


def recipe(plugin: Plugin, name: str, others: tuple[str, ...]) -> None:
    """It can be read, all its tables fit what they are for, and a reader knows what it is."""
    from modelzoo.recipe.train_options import train_options
    from modelzoo.registry.of_recipe import task_of

    found = registry.recipe(name)
    where = f"{plugin.title}, {found.place}"
    validate_against(found, registry.architecture(found.architecture))
    if found.task is not None:
        task_of(found)
        train_options(found)
    for key in ("summary", "reference"):
        if not getattr(found, key):
            fail(
                f"{name} has no {key}",
                where=where,
                next_step=f'add a line {key} = "..." at its top',
            )


def parameters(plugin: Plugin, name: str, others: tuple[str, ...]) -> None:
    """The model has as many parameters as the recipe states; its weights are never allocated."""
    found = registry.recipe(name)
    if found.parameters is None:
        not_applicable(f"{name} states no parameters")
    if found.task is None:
        not_applicable(f"{name} names no task, and a count is that of the model with its head")
    counted = _counts(others).get(name)
    if counted is None:
        counted = count_parameters(found)  # alone, so that its own error is reported
    if counted != found.parameters:
        fail(
            f"{name} states {found.parameters:,} parameters, and its model has {counted:,}",
            where=f"{plugin.title}, {found.place}",
            next_step=f"parameters = {counted:_}",
        )


@cache
def _counts(names: tuple[str, ...]) -> dict[str, int]:
    """All that can be counted, in one child process; `{}` where one of them does not build."""
    try:
        recipes = [registry.recipe(name) for name in names]
        return count_many(r for r in recipes if r.parameters is not None and r.task is not None)
    except ModelzooError:
        return {}
