"""Which checks a plugin gets: out of its metadata and its recipes, with nothing imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib import import_module

from modelzoo import plugins, registry
from modelzoo.errors import ModelzooError
from modelzoo.plugins import Plugin
from modelzoo.recipe import Recipe
from modelzoo.testing.check import Check, fail

__all__ = ["LIMIT", "plugin_checks"]

# Parameters of the largest model that is built as it is; a larger recipe is counted, not built.
LIMIT = 5_000_000

# rule -> module:function, in the order of a first hour: each stands on those before it.
_PLUGIN = {
    "listing": "package_checks:listing",
    "import": "package_checks:imports",
    "wheel": "wheel:wheel",
    "globals": "package_checks:unchanged_globals",
}
_RECIPE = {
    "recipe": "recipe_checks:recipe",
    "parameters": "recipe_checks:parameters",
}
_MODEL = {
    "build": "model_checks:build",
    "config": "model_checks:config_round_trip",
    "saving": "model_checks:file_round_trip",
    "seed": "model_checks:seeded",
    "fit": "model_checks:fit",
    "precision": "model_checks:mixed_precision",
    "batch": "input_checks:batch_invariance",
    "padding": "input_checks:padding_mask",
    "length": "input_checks:length_invariance",
    "decode": "device_checks:cached_decode",
    "savedmodel": "device_checks:saved_model",
    "builtins": "device_checks:builtins_only",
    "tflite": "device_checks:tflite",
}
_PART = {
    "architectures": "part_checks:signature",
    "tasks": "part_checks:task",
    "exporters": "part_checks:exporter",
    "weight_tables": "weight_checks:table",
}


def plugin_checks(
    namespace: str,
    *,
    tiny: Mapping[str, Mapping[str, object]] | None = None,
    data: Mapping[str, object] | None = None,
    skip: Mapping[str, str] | None = None,
    project: str | os.PathLike | None = None,
    limit: int = LIMIT,
) -> list[Check]:
    """The checks of an installed plugin; call each, or hand them to pytest.

    Args:
        namespace: what the plugin claims: `acme`.
        tiny: recipe or architecture -> values that make it small enough to be trained in seconds,
            as `modelzoo.build` takes them: `{"acme/large": {"num_layers": 1}}`. Without them a
            recipe of more than `limit` parameters is cut down by the words that all share.
        data: recipe or task -> raw examples to train on. Default: what the task's `sample_data()`
            gives, or sentences, classes, images and sounds for the names in its `fields`.
        skip: check -> the reason to leave it out: `{"tflite:acme/*": "needs Flex operations"}`.
        project: the folder of the plugin's `pyproject.toml`, for the wheel. Default: as pip
            remembers it, or above the package.
        limit: parameters of the largest model that is built as it is.

    Example:
        >>> discovery, listing, *others = plugin_checks("acme")
        >>> print(discovery, discovery() or "holds")
        discovery holds
    """
    plugin = _installed(namespace)
    if plugin is None or not plugin.usable:
        return [Check("discovery", "", lambda: _refuse(namespace, plugin))]
    options = {"tiny": tiny or {}, "data": data or {}, "project": project, "limit": limit}
    made = list(_planned(plugin, options))
    unused = [pattern for pattern in skip or {} if not any(_fits(c, pattern) for c in made)]
    if unused:
        raise ModelzooError(
            f"skip names {unused[0]!r}, and there is no such check",
            next_step=f"there is {', '.join(sorted({check.name for check in made}))}",
        )
    return [_left_out(check, skip or {}) for check in made]


def _installed(namespace: str) -> Plugin | None:
    return next((p for p in plugins.discover() if p.namespace == namespace), None)


def _refuse(namespace: str, plugin: Plugin | None) -> None:
    if plugin is None:
        fail(
            f"no installed plugin claims {namespace!r}",
            next_step='install it first, best with: pip install -e ".[test]"',
        )
    fail(f"the plugin cannot be used: {plugin.problem}", where=plugin.title)


def _planned(plugin: Plugin, options: dict) -> Iterator[Check]:
    from modelzoo.testing.subject import Subject

    def check(rule: str, target: str, subject: str, *arguments) -> Check:
        top = plugin.package.partition(".")[0]
        return Check(rule, subject, _late(target, *arguments), plugin.title, top)

    yield Check("discovery", "", lambda: None, plugin.title)
    for rule, target in _PLUGIN.items():
        yield check(rule, target, "", plugin, options)
    for group, target in _PART.items():
        for short in getattr(plugin, group):
            name = f"{plugin.namespace}/{short}"
            yield check(target.partition(":")[2], target, name, plugin, name)
    for name in plugin.bundles():
        yield check("bundle", "bundle_checks:bundle", name, plugin, name)
    recipes = _recipes(plugin)
    for name in recipes:
        for rule, target in _RECIPE.items():
            yield check(rule, target, name, plugin, name, tuple(recipes))
    for name, recipe in _subjects(plugin, recipes).items():
        subject = Subject(name, recipe, plugin, **options)
        for rule, target in _MODEL.items():
            yield check(rule, target, name, subject)
        if plugin.weight_tables:
            yield check("checkpoint", "weight_checks:checkpoint_round_trip", name, subject)


def _recipes(plugin: Plugin) -> dict[str, Recipe | None]:
    """Name -> recipe, or `None` for one that cannot be read; the check `recipe` says why."""
    found: dict[str, Recipe | None] = {}
    for name in plugin.recipes():
        try:
            found[name] = registry.recipe(name)
        except ModelzooError:
            found[name] = None
    return found


def _subjects(plugin: Plugin, recipes: Mapping[str, Recipe | None]) -> dict[str, Recipe | None]:
    """The models to check: the smallest recipe of each architecture and task that occur together,
    and each architecture that no recipe uses, by its own name."""
    chosen: dict[tuple, Recipe] = {}
    for recipe in filter(None, recipes.values()):
        key = recipe.architecture, recipe.task
        if key not in chosen or _size(recipe) < _size(chosen[key]):
            chosen[key] = recipe
    used = {architecture for architecture, _ in chosen}
    names = (f"{plugin.namespace}/{short}" for short in plugin.architectures)
    unused = {name: None for name in names if name not in used}
    return {**{recipe.name: recipe for recipe in chosen.values()}, **unused}


def _size(recipe: Recipe) -> float:
    return recipe.parameters if recipe.parameters is not None else float("inf")


def _late(target: str, *arguments) -> Callable[[], None]:
    """A call of `module:function` of this package, which is imported when it happens."""

    def call() -> None:
        module, _, function = target.partition(":")
        getattr(import_module(f"modelzoo.testing.{module}"), function)(*arguments)

    return call


def _fits(check: Check, pattern: str) -> bool:
    return fnmatchcase(check.name, pattern) or check.rule == pattern


def _left_out(check: Check, skip: Mapping[str, str]) -> Check:
    reason = next((why for pattern, why in skip.items() if _fits(check, pattern)), None)
    if reason is None:
        return check
    return Check(check.rule, check.subject, check.function, check.where, check.package, reason)
