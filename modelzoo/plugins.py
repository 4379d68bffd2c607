"""Plugins: distributions that claim one namespace, found by entry points and not imported.

    [project.entry-points."modelzoo.plugins"]
    acme = "modelzoo_acme"                  # claims acme/...; holds recipes/*.toml
    [project.entry-points."modelzoo.architectures"]
    moe = "modelzoo_acme.moe:build"         # becomes acme/moe

Discovery never raises and never imports: what is wrong with a plugin is its `problem`. Use always
raises, naming the distribution, its version, the entry point, and the way on without it.
`MODELZOO_PLUGINS`: unset = all, empty = none, `a,b` = only these; decided before any is loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import modelzoo
from modelzoo.errors import PluginError, UnknownNameError, nearest
from modelzoo.versions import allows, normalized, parse_requirement

__all__ = ["GROUPS", "Plugin", "discover", "get", "import_package", "load", "module_file"]

VARIABLE = "MODELZOO_PLUGINS"
CLAIMS = "modelzoo.plugins"
GROUPS = ("architectures", "tasks", "exporters")

_NAMESPACE = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_OBJECT = re.compile(rf"({_MODULE.pattern})\s*:\s*({_MODULE.pattern})\s*(?:\[.*\])?")


@dataclass(frozen=True)
class Plugin:
    """One installed distribution that claims a namespace.

    Attributes:
        namespace: `acme`: all its names are `acme/...`.
        distribution, version: as pip knows them; empty where they cannot be read.
        package: the module path that the claim names; its folder holds `recipes/*.toml`.
        architectures, tasks, exporters: short name -> `module:attribute`.
        problem: why it cannot be used, or `None`.
    """

    namespace: str
    distribution: str
    version: str
    package: str = ""
    architectures: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    exporters: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None

    @property
    def title(self) -> str:
        """`modelzoo-acme 0.2.1`: what a person would look for in `pip list`."""
        return f"{self.distribution} {self.version}".strip()

    def recipe_files(self) -> dict[str, Path]:
        """Full recipe name -> file, without importing the package; `{}` where there is no package.

        The package's code may be broken: its recipes are data beside it, and still list.
        """
        home = _package_folder(self.package)
        files = sorted((home / "recipes").glob("*.toml")) if home else []
        return {f"{self.namespace}/{path.stem}": path for path in files}


def discover() -> tuple[Plugin, ...]:
    """Every plugin that `MODELZOO_PLUGINS` allows, by namespace, with its problem if it has one."""
    return _discover(os.environ.get(VARIABLE))


def get(namespace: str) -> Plugin | None:
    """The usable plugin that claims `namespace`; `None` where nobody claims it.

    Raises:
        PluginError: it has a problem, such as two distributions that claim the namespace.
    """
    for plugin in discover():
        if plugin.namespace == namespace:
            if plugin.problem:
                raise _refusal(plugin, plugin.problem)
            return plugin
    return None


def load(group: str, name: str) -> object:
    """Imports what the plugin's entry point `name` names.

    Args:
        group: `architectures`, `tasks` or `exporters`.
        name: the full name, `acme/moe`.

    Raises:
        PluginError: the plugin has a problem, or its import fails (chained to the cause).
        UnknownNameError: the plugin has no such entry point.
    """
    plugin, target = target_of(group, name)
    return _import(plugin, f"{name.partition('/')[2]} = {target}", target)


def target_of(group: str, name: str) -> tuple[Plugin, str]:
    """The plugin behind a full name and the `module:attribute` it stands for. Raises as `load`."""
    namespace, _, short = name.partition("/")
    plugin = get(namespace)
    targets = getattr(plugin, group) if plugin else {}
    if short not in targets:
        near = nearest(short, targets)
        raise UnknownNameError(
            f"there is no {group[:-1]} {name!r}"
            if plugin is None
            else f"{plugin.title} has no {group[:-1]} {short!r}",
            did_you_mean=near and f"{namespace}/{near}",
            next_step=hint(name),
        )
    return plugin, targets[short]


def import_package(namespace: str) -> None:
    """Imports the package that claims `namespace`, so that its Keras classes are registered."""
    plugin = get(namespace)
    if plugin is None:
        raise PluginError(f"no installed plugin claims {namespace!r}", next_step=hint(namespace))
    _import(plugin, f"{namespace} = {plugin.package}", plugin.package)


def hint(name: str) -> str:
    """Where to look for a namespaced name that nobody knows."""
    if os.environ.get(VARIABLE) is not None:
        return f"{VARIABLE}={os.environ[VARIABLE]!r} limits which plugins are seen"
    return f"install the plugin that brings {name.partition('/')[0]}/..., or see: modelzoo plugins"


def module_file(module: str) -> Path | None:
    """The source file of a module, without importing it or any package above it."""
    top, *rest = module.split(".")
    for folder in _search_folders(top):
        path = folder.joinpath(*rest)
        for candidate in (path / "__init__.py", path.with_name(path.name + ".py")):
            if candidate.is_file():
                return candidate
    if rest:
        return None
    spec = _find_spec(top)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


# === Discovery ===


@lru_cache(maxsize=8)
def _discover(allowed: str | None) -> tuple[Plugin, ...]:
    wanted = None if allowed is None else {name.strip() for name in allowed.split(",")} - {""}
    if wanted is not None and not wanted:
        return ()
    plugins = [p for p in _claims() if wanted is None or p.namespace in wanted]
    for missing in sorted((wanted or set()) - {plugin.namespace for plugin in plugins}):
        problem = f"{VARIABLE} names it, and no installed plugin claims it"
        plugins.append(Plugin(missing, "", "", problem=problem))
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
        by_distribution.setdefault(normalized(entry.dist.name or "?"), []).append(entry)
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
                broken.append(Plugin(normalized(name), name, distribution.version, problem=problem))
    return entries, broken


def _plugins_of(entries: list) -> Iterator[Plugin]:
    distribution = entries[0].dist
    name, version, problem = distribution.name or "?", "", None
    try:
        version = distribution.version or ""
        problem = _incompatible(distribution.requires or ())
    except Exception as error:  # metadata is foreign input, and listing goes on without it
        problem = f"its metadata cannot be read: {type(error).__name__}: {error}"
    groups: dict[str, dict[str, str]] = {group: {} for group in GROUPS}
    for entry in entries:
        group = entry.group.partition(".")[2]
        if group not in groups:
            continue
        groups[group][entry.name] = entry.value
        if not _OBJECT.fullmatch(entry.value):
            problem = problem or (
                f"the entry point {entry.name} = {entry.value!r} is not module:attribute"
            )
    claims = [entry for entry in entries if entry.group == CLAIMS]
    if not claims:
        yield Plugin(
            normalized(name),
            name,
            version,
            problem=f"it has entry points, and none in {CLAIMS!r} that claims a namespace",
            **groups,
        )
    elif len(claims) > 1:
        spaces = ", ".join(sorted(entry.name for entry in claims))
        problem = problem or f"it claims {len(claims)} namespaces ({spaces}); one is the rule"
    for claim in claims:
        if not _NAMESPACE.fullmatch(claim.name):
            problem = problem or f"{claim.name!r} is not a namespace: a-z, 0-9, - and _"
        elif not _MODULE.fullmatch(claim.value):
            problem = problem or f"the claim {claim.name} = {claim.value!r} is not a package"
        elif problem is None and _package_folder(claim.value) is None:
            problem = f"its package {claim.value} is not found"
        yield Plugin(claim.name, name, version, claim.value, problem=problem, **groups)


def _incompatible(requires: Iterator[str]) -> str | None:
    """Why the running modelzoo is not the one that the plugin asks for, or `None`."""
    for text in requires:
        requirement = parse_requirement(text)
        if requirement is None or requirement.name != "modelzoo" or not requirement.applies():
            continue
        try:
            fits = allows(requirement.specifier, modelzoo.__version__)
        except ValueError as error:
            return f"its requirement {text!r} cannot be read: {error}"
        if not fits:
            wanted = requirement.specifier
            return f"it needs modelzoo{wanted}, and this is {modelzoo.__version__}"
    return None


def _with_clashes(plugins: list[Plugin]) -> Iterator[Plugin]:
    for plugin in plugins:
        rivals = [other for other in plugins if other.namespace == plugin.namespace]
        if len(rivals) > 1:
            titles = " and ".join(sorted({other.title for other in rivals}))
            problem = f"the namespace {plugin.namespace} is claimed by {titles}"
            yield replace(plugin, problem=problem)
        else:
            yield plugin


# === Finding and importing ===


def _find_spec(top: str) -> object:
    from importlib.util import find_spec

    try:
        return find_spec(top)
    except (ImportError, ValueError):  # a finder that fails, or a module without a spec
        return None


def _search_folders(top: str) -> list[Path]:
    spec = _find_spec(top)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _package_folder(package: str) -> Path | None:
    # Only the top-level name goes to find_spec: for a dotted one it would import the parent.
    top, *rest = package.split(".")
    folders = (folder.joinpath(*rest) for folder in _search_folders(top))
    return next((folder for folder in folders if folder.is_dir()), None)


def _import(plugin: Plugin, entry_point: str, target: str) -> object:
    from importlib import import_module

    module, _, attribute = target.partition(":")
    try:
        found = import_module(module.strip())
        for part in attribute.strip().split(".") if attribute else ():
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}"
        raise _refusal(plugin, f"importing it failed: {cause}", entry_point) from error
    return found


def _refusal(plugin: Plugin, problem: str, entry_point: str | None = None) -> PluginError:
    entry_point = entry_point or f"{plugin.namespace} = {plugin.package}"
    others = ",".join(sorted({other.namespace for other in discover()} - {plugin.namespace}))
    remove = f"pip uninstall {plugin.distribution}, or " if plugin.distribution else ""
    return PluginError(
        f"the plugin {plugin.namespace} cannot be used: {problem}",
        where=f"{plugin.title or 'no distribution'}, entry point {entry_point}",
        next_step=f"{remove}go on without it: set {VARIABLE}={others}",
    )
