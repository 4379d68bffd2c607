"""The plugin as a whole: does it list without being imported, import, and leave all else alone?"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from modelzoo import plugins
from modelzoo.errors import ModelzooError
from modelzoo.plugins import GROUPS, Plugin
from modelzoo.plugins.catalogue import CATALOGUE, read_catalogue
from modelzoo.plugins.plugin import package_folder
from modelzoo.testing import fresh
from modelzoo.testing.check import NotApplicable, fail, not_applicable

HEAVY = ("keras", "tensorflow", "jax", "torch", "numpy")


def listing(plugin: Plugin, options: dict) -> None:
    """`modelzoo list` has all its recipes and bundles, and imported nothing for them."""
    tops = {plugin.package, *(t.partition(":")[0] for g in GROUPS for t in _targets(plugin, g))}
    watched = sorted({*HEAVY, *(module.strip().partition(".")[0] for module in tops)})
    found = fresh.answer({"job": "list", "namespace": plugin.namespace, "watched": watched})
    if found["imported"]:
        fail(
            f"listing imports {', '.join(found['imported'])}",
            next_step="what runs when Python starts (a .pth file, sitecustomize) imports it",
        )
    home = package_folder(plugin.package)
    fault = read_catalogue(home).problem if home else None
    if fault:
        fail(fault, where=f"{plugin.title}, {home / CATALOGUE}")
    if plugin.problem:
        fail(plugin.problem, where=plugin.title)
    listed = {entry["name"] for entry in found["entries"]}
    missing = sorted({*plugin.recipes(), *plugin.bundles()} - listed)
    if missing:
        fail(f"{missing[0]} is not listed")
    broken = [entry for entry in found["entries"] if entry["problem"]]
    if broken:
        fail(f"{broken[0]['name']} is listed with a problem: {broken[0]['problem']}")


def imports(plugin: Plugin, options: dict) -> None:
    """Everything that it brings imports, and says nothing meanwhile."""
    plugins.import_package(plugin.namespace)
    for group in GROUPS:
        for short in getattr(plugin, group):
            plugins.load(group, f"{plugin.namespace}/{short}")
    printed = _imported(plugin, options)["printed"]
    if printed.strip():
        line = printed.strip().partition("\n")[0]
        fail(
            f"importing it prints: {line!r}",
            next_step="use logging: what goes to standard output ends up in somebody's JSON",
        )


def unchanged_globals(plugin: Plugin, options: dict) -> None:
    """Importing it and building its models changes nothing that belongs to the user."""
    found = _imported(plugin, options)
    for when, changes in (
        ("importing it", found["changed"]),
        ("building its models", found["built"]),
    ):
        for what, (before, after) in changes.items():
            fail(
                f"{when} changes {what}: {before} before, {after} after",
                next_step="pass it to the layer or function that needs it, or set it back",
            )
    if found["seeded"]:
        fail(
            f"building {found['seeded'][0]} sets the global seed: random numbers after it are the "
            "same whatever the user's seed",
            next_step="leave seeds to the user; keras.random.SeedGenerator makes one of your own",
        )


def _targets(plugin: Plugin, group: str) -> list[str]:
    return list(getattr(plugin, group).values())


def _imported(plugin: Plugin, options: dict) -> dict:
    if find_spec("keras") is None:
        not_applicable("Keras is not installed, and what this watches is Keras' as well")
    return _imported_once(plugin.namespace, _Key(plugin, options))


class _Key:
    """The arguments of a cache entry, which is the plugin's."""

    def __init__(self, plugin: Plugin, options: dict):
        self.plugin, self.options = plugin, options

    def __eq__(self, other) -> bool:
        return isinstance(other, _Key) and self.plugin.title == other.plugin.title

    def __hash__(self) -> int:
        return hash(self.plugin.title)


@cache
def _imported_once(namespace: str, key: _Key) -> dict:
    builds = _subjects_of(key.plugin, key.options)
    return fresh.answer({"job": "import", "namespace": namespace, "builds": builds})


def _subjects_of(plugin: Plugin, options: dict) -> list[dict]:
    """The plugin's own architectures with the small values that they are checked with."""
    from modelzoo.testing.plan import _recipes, _subjects
    from modelzoo.testing.subject import Subject

    builds = []
    for name, recipe in _subjects(plugin, _recipes(plugin)).items():
        try:
            small = Subject(name, recipe, plugin, **options).small
        except (NotApplicable, ModelzooError):
            continue  # the check `build` says why
        if small.architecture.startswith(f"{plugin.namespace}/"):
            builds.append({"architecture": small.architecture, "model": small.table("model")})
    return builds
