"""Reading what the installed distributions say about themselves. Nothing of theirs is imported."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modelzoo.about import DISTRIBUTION, FOREIGN, VERSION
from modelzoo.plugins.bundles import BUNDLES
from modelzoo.plugins.catalogue import CATALOGUE, NAME, read_catalogue
from modelzoo.plugins.plugin import GROUPS, Plugin, package_folder

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["CLAIMS", "VARIABLE", "discover"]

VARIABLE = "MODELZOO_PLUGINS"
CLAIMS = "modelzoo.plugins"

_NAMESPACE = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
# A requirement of ours, by its name today or until 0.1; the pattern is wide, packaging is exact.
_OURS = re.compile(r"\s*modelzoo(?:[-_.]+keras)?\s*(?![\w.-])", re.IGNORECASE)
_OLD_NAME = (
    f"it requires {FOREIGN}, which is another project on PyPI: its authors should write "
    f'"{DISTRIBUTION}>=0.2,<1"'
)
_OBJECT = re.compile(rf"({_MODULE.pattern})\s*:\s*({_MODULE.pattern})\s*(?:\[.*\])?")


def discover() -> tuple[Plugin, ...]:
    """Every plugin that `MODELZOO_PLUGINS` allows, by namespace, with its problem if it has one."""
    return _discover(os.environ.get(VARIABLE), tuple(sys.path))


@lru_cache(maxsize=8)
def _discover(allowed: str | None, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    wanted = None if allowed is None else {name.strip() for name in allowed.split(",")} - {""}
    if wanted is not None and not wanted:
        return ()
    found = [*_claims(), *_foreign()]
    plugins = [p for p in found if wanted is None or p.namespace in wanted]
    for missing in sorted((wanted or set()) - {plugin.namespace for plugin in plugins}):
        problem = f"{VARIABLE} names it, and no installed plugin claims it"
        plugins.append(Plugin(missing, "", "", problem=problem, usable=False))
    return tuple(sorted(_with_clashes(plugins), key=lambda p: (p.namespace, p.distribution)))


def _claims() -> Iterator[Plugin]:
    """One plugin a claim. The only place that reads the metadata of installed distributions."""
    from importlib import metadata

    ours = (CLAIMS, *(f"modelzoo.{group}" for group in GROUPS))
    try:
        found = metadata.entry_points()
        entries = [entry for group in ours for entry in found.select(group=group)]
    except Exception:  # one malformed entry_points.txt, of any package: leave that one out
        entries, broken = _readable_entry_points(metadata)
        yield from broken
        entries = [entry for entry in entries if entry.group in ours]
    by_distribution: dict[str, list] = {}
    for entry in entries:
        name = (entry.dist and entry.dist.name) or "?"
        by_distribution.setdefault(normalized(name), []).append(entry)
    for name in sorted(by_distribution):
        yield from _plugins_of(by_distribution[name])


def _readable_entry_points(metadata: ModuleType) -> tuple[list, list[Plugin]]:
    """What can be read, distribution by distribution; and the plugins that cannot."""
    entries, broken, seen = [], [], set()
    for distribution in metadata.distributions():
        name = distribution.name or "?"
        if normalized(name) in seen:  # shadowed by one that comes earlier on the path
            continue
        seen.add(normalized(name))
        try:
            entries += distribution.entry_points
        except Exception as error:
            if "modelzoo." in (distribution.read_text("entry_points.txt") or ""):
                problem = f"its entry_points.txt cannot be read: {error}"
                broken.append(
                    Plugin(
                        normalized(name), name, distribution.version, problem=problem, usable=False
                    )
                )
    return entries, broken


def _plugins_of(entries: list) -> Iterator[Plugin]:
    """What one distribution claims; only its first problem is reported."""
    distribution = entries[0].dist
    name, version, requires, problem, advice = distribution.name or "?", "", None, None, None
    try:
        version = distribution.version or ""
        requires, said, usable = _requirement(distribution.requires or ())
        problem, advice = (None, said) if usable else (said, None)
        problem = _installed_twice(distribution, name) or problem
    except Exception as error:  # metadata is foreign input, and listing goes on without it
        problem = f"its metadata cannot be read: {type(error).__name__}: {error}"
    groups: dict[str, Any] = {group: {} for group in GROUPS}
    for entry in entries:
        group = entry.group.partition(".")[2]
        if group not in groups:
            continue
        groups[group][entry.name] = entry.value
        if not NAME.fullmatch(entry.name):
            problem = problem or (
                f"{entry.name!r}, of modelzoo.{group}, is not a name: letters, digits, . + - and _"
            )
        if not _OBJECT.fullmatch(entry.value):
            problem = problem or (
                f"the entry point {entry.name} = {entry.value!r} is not module:attribute"
            )
    claims = [entry for entry in entries if entry.group == CLAIMS]
    if not claims:
        problem = f"it has entry points, and none in {CLAIMS!r} that claims a namespace"
        yield Plugin(
            normalized(name),
            name,
            version,
            problem=problem,
            usable=False,
            requires=requires,
            **groups,
        )
    elif len(claims) > 1:
        spaces = ", ".join(sorted(entry.name for entry in claims))
        problem = problem or f"it claims {len(claims)} namespaces ({spaces}); one is the rule"
    for claim in claims:
        home = package_folder(claim.value) if _MODULE.fullmatch(claim.value) else None
        if not _NAMESPACE.fullmatch(claim.name):
            problem = problem or f"{claim.name!r} is not a namespace: a-z, 0-9, - and _"
        elif not _MODULE.fullmatch(claim.value):
            problem = problem or f"the claim {claim.name} = {claim.value!r} is not a package"
        elif problem is None and home is None:
            problem = f"its package {claim.value} is not found"
        plugin = Plugin(claim.name, name, version, claim.value, requires=requires, **groups)
        fault = problem or _empty(plugin)
        advice = advice or (read_catalogue(home).problem if home else None) or _twice(plugin)
        yield replace(plugin, problem=fault or advice, usable=fault is None)


def _empty(plugin: Plugin) -> str | None:
    if any(getattr(plugin, group) for group in GROUPS) or plugin.recipes() or plugin.bundles():
        return None
    return (
        f"it brings nothing: no {CATALOGUE} or recipes/*.toml in {plugin.package}, no bundle in "
        f"its {BUNDLES}/ and no other entry point; was its wheel built without its TOML files?"
    )


def _twice(plugin: Plugin) -> str | None:
    """A bundle that has the name of a recipe, or a name that is none."""
    recipes = plugin.recipes()
    for name, folder in plugin.bundles().items():
        if name in recipes:
            return f"{name} is both a recipe and the bundle {BUNDLES}/{folder.name}: rename one"
        if not NAME.fullmatch(folder.name):
            return f"{folder.name!r}, of {BUNDLES}/, is not a name: letters, digits, . + - and _"
    return None


def _requirement(requires: Iterable[str]) -> tuple[str | None, str | None, bool]:
    """What it asks of modelzoo; what is wrong with that, or `None`; whether it works all the same.

    A requirement whose marker does not hold here, or is an extra's, asks for nothing.
    """
    for text in requires:
        if not _OURS.match(text):
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            problem = f"its requirement {text!r} cannot be read: {str(error).splitlines()[0]}"
            return text, problem, False
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = normalized(requirement.name)
        wanted = f"{name}{requirement.specifier}"
        if not requirement.specifier.contains(VERSION, prereleases=True):
            return wanted, f"it needs {wanted}, and this is {VERSION}", False
        if name == FOREIGN:
            return wanted, _OLD_NAME, True
        return wanted, None, True
    return None, None, True


def _foreign() -> Iterator[Plugin]:
    """The distribution that has our import name and is not ours, where it is installed."""
    from importlib import metadata

    try:
        version = metadata.version(FOREIGN)
    except Exception:  # not installed, or its metadata cannot be read
        return
    problem = (
        f"it is another project's and brings files of the same names as {DISTRIBUTION}: "
        f"pip uninstall {FOREIGN}, then pip install --force-reinstall --no-deps {DISTRIBUTION}"
    )
    yield Plugin(FOREIGN, FOREIGN, version, problem=problem, usable=False)


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 compares it: `Model_Zoo` is `model-zoo`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed_twice(distribution: Distribution, name: str) -> str | None:
    """Two versions in one folder: an upgrade broke off, and which of them a name means is luck.

    One in a folder that comes earlier on the path than another's shadows it, as it should.
    """
    folder = str(distribution.locate_file(""))
    versions = sorted(
        item.rpartition(".")[0].partition("-")[2]
        for item in _metadata_folders(folder)
        if normalized(item.partition("-")[0]) == normalized(name)
    )
    if len(versions) < 2:
        return None
    return (
        f"it is installed {len(versions)} times, as {' and '.join(versions)}, in {folder}: "
        f"pip uninstall {name} until pip finds none, then install one"
    )


@lru_cache(maxsize=32)
def _metadata_folders(folder: str) -> tuple[str, ...]:
    return tuple(name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info")))


def _with_clashes(plugins: list[Plugin]) -> Iterator[Plugin]:
    for plugin in plugins:
        rivals = [other for other in plugins if other.namespace == plugin.namespace]
        if len(rivals) > 1:
            titles = " and ".join(sorted({other.title for other in rivals}))
            problem = f"the namespace {plugin.namespace} is claimed by {titles}"
            yield replace(plugin, problem=problem, usable=False)
        else:
            yield plugin
