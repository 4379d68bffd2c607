"""Importing what a plugin brings. Whatever goes wrong there is said to be the plugin's."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from modelzoo.errors import ModelzooError, PluginError, UnknownNameError, nearest
from modelzoo.plugins import discovery
from modelzoo.plugins.catalogue import CATALOGUE, NAME
from modelzoo.plugins.discovery import VARIABLE
from modelzoo.plugins.plugin import Plugin

__all__ = [
    "bundle_names",
    "find_bundle",
    "get",
    "hint",
    "import_package",
    "load",
    "load_weight_table",
    "target_of",
]

# What modelzoo calls of a task.
_TASK = ("batches", "evaluate", "examples", "losses", "model")

# (title, entry point) -> the plugin's function and ours around it: one name is one object.
_guards: dict[tuple[str, str], tuple[Callable, Callable]] = {}


def get(namespace: str) -> Plugin | None:
    """The usable plugin that claims `namespace`; `None` where nobody claims it.

    Raises:
        PluginError: it has a problem, such as two distributions that claim the namespace.
    """
    for plugin in discovery.discover():
        if plugin.namespace == namespace:
            if not plugin.usable:
                raise _refusal(plugin, plugin.problem)
            return plugin
    return None


def find_bundle(name: str) -> Path | None:
    """The folder of a bundle that an installed plugin brings: `samples/emoji`.

    Returns: `None` where no plugin has a bundle of this name.

    Raises:
        PluginError: the plugin that claims the namespace has a problem.
    """
    namespace, slash, short = name.partition("/")
    if not (slash and NAME.fullmatch(namespace) and NAME.fullmatch(short)):
        return None  # a path: nothing is looked for
    plugin = get(namespace)
    return plugin.bundles().get(name) if plugin else None


def bundle_names() -> list[str]:
    """The names of all bundles of usable plugins."""
    return [n for plugin in discovery.discover() if plugin.usable for n in plugin.bundles()]


def load(group: str, name: str) -> Any:
    """Imports what the plugin's entry point `name` names.

    Args:
        group: one of `GROUPS`.
        name: the full name, `acme/moe`.

    Returns:
        The object. An architecture comes with a guard around it: what it raises, an exit of the
        interpreter and a wrong return value are the plugin's.

    Raises:
        PluginError: the plugin has a problem, its import fails (chained to the cause), or what it
            names is not what the group is for.
        UnknownNameError: the plugin has no such entry point.
    """
    plugin, target = target_of(group, name)
    entry_point = f"{name.partition('/')[2]} = {target}"
    found = _import(plugin, entry_point, target)
    fault = _FORMS[group](found)
    if fault:
        raise _refusal(plugin, f"{target} {fault}", entry_point)
    if group == "architectures":
        return _guarded(plugin, name, entry_point, found)
    return found


def target_of(group: str, name: str) -> tuple[Plugin, str]:
    """The plugin of a full name and the `module:attribute` it stands for. Raises as `load`."""
    namespace, _, short = name.partition("/")
    plugin = get(namespace)
    targets = getattr(plugin, group) if plugin else {}
    if plugin is None or short not in targets:
        near = nearest(short, targets)
        word = group[:-1].replace("_", " ")
        raise UnknownNameError(
            f"there is no {word} {name!r}"
            if plugin is None
            else f"{plugin.title} has no {word} {short!r}",
            did_you_mean=near and f"{namespace}/{near}",
            next_step=hint(name),
        )
    return plugin, targets[short]


def load_weight_table(model_type: str) -> Any:
    """The `weights.table.Table` that a plugin brings for a model type, or `None`.

    Raises:
        PluginError: two plugins bring one, or it cannot be imported, or is for another model type.
    """
    having = [p for p in discovery.discover() if model_type in p.weight_tables and p.usable]
    if not having:
        return None
    if len(having) > 1:
        titles = " and ".join(sorted(plugin.title for plugin in having))
        raise _refusal(having[0], f"the weights of {model_type} are read by {titles}")
    found = load("weight_tables", f"{having[0].namespace}/{model_type}")
    if found.model_type != model_type:
        raise _refusal(
            having[0],
            f"its weight table for {model_type!r} says that it is for {found.model_type!r}",
            f"{model_type} = {having[0].weight_tables[model_type]}",
        )
    return found


def import_package(namespace: str) -> None:
    """Imports the package that claims `namespace`, so that its Keras classes are registered."""
    plugin = get(namespace)
    if plugin is None:
        raise PluginError(f"no installed plugin claims {namespace!r}", next_step=hint(namespace))
    _import(plugin, f"{namespace} = {plugin.package}", plugin.package)


def hint(name: str) -> str:
    """Where to look for a namespaced name that nobody knows."""
    namespace = name.partition("/")[0]
    plugin = next((p for p in discovery.discover() if p.namespace == namespace), None)
    if plugin is not None and name in plugin.bundles():
        return f'it is a bundle of {plugin.title}, ready to run: modelzoo run {name} "some text"'
    if plugin is not None and not plugin.recipes():
        home = plugin.package.replace(".", "/")
        return (
            f"{plugin.title} is installed and holds no recipe: was its wheel built without "
            f"{home}/recipes/*.toml or {home}/{CATALOGUE}?"
        )
    if os.environ.get(VARIABLE) is not None:
        return f"{VARIABLE}={os.environ[VARIABLE]!r} limits which plugins are seen"
    if plugin is not None:
        return (
            f"modelzoo plugins --json shows all that {plugin.title} brings; a new entry "
            "point is seen after the next pip install of it"
        )
    return f"install the plugin that brings {namespace}/..., or see: modelzoo plugins"


# === What it must be ===


def _architecture_fault(found: object) -> str | None:
    return None if callable(found) else f"is of type {type(found).__name__}, not a function"


def _task_fault(found: object) -> str | None:
    if not isinstance(found, type):
        return f"is of type {type(found).__name__}, not a task's class"
    missing = [name for name in _TASK if not callable(getattr(found, name, None))]
    return f"has no {missing[0]}(), which a task must have" if missing else None


def _table_fault(found: object) -> str | None:
    fields = ("model_type", "architecture", "all_rules", "read_config")
    missing = [name for name in fields if not hasattr(found, name)]
    if missing:
        return f"is of type {type(found).__name__}, not a modelzoo.weights.table.Table"
    return None


_FORMS = {
    "architectures": _architecture_fault,
    "tasks": _task_fault,
    "exporters": _architecture_fault,
    "weight_tables": _table_fault,
}


def _guarded(plugin: Plugin, name: str, entry_point: str, build: Callable) -> Callable:
    """The architecture, its signature as it is, and its failures reported as the plugin's."""
    known = _guards.get((plugin.title, entry_point))
    if known is not None and known[0] is build:
        return known[1]

    @functools.wraps(build)
    def guarded(*arguments, **values):
        try:
            model = build(*arguments, **values)
        except (ModelzooError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            what = f"{type(error).__name__}: {error}"
            raise _no_model(plugin, name, entry_point, f"raises {what}", error) from error
        keras = sys.modules.get("keras")
        if keras is None or not isinstance(model, keras.Model):
            what = f"returns a {type(model).__name__}, not a keras.Model"
            raise _no_model(plugin, name, entry_point, what)
        return model

    _guards[plugin.title, entry_point] = build, guarded
    return guarded


def _no_model(
    plugin: Plugin, name: str, entry_point: str, what: str, error: BaseException | None = None
) -> PluginError:
    places = traceback.extract_tb(error.__traceback__) if error else []
    top = plugin.package.partition(".")[0]
    own = [frame for frame in places if top in Path(frame.filename).parts]
    line = f", {own[-1].filename}:{own[-1].lineno}" if own else ""
    return PluginError(
        f"building {name} {what}",
        where=f"{plugin.title}, entry point {entry_point}{line}",
        next_step=f"--debug shows the traceback; its authors are those of {plugin.distribution}",
    )


# === Importing ===


def _import(plugin: Plugin, entry_point: str, target: str) -> Any:
    from importlib import import_module

    module, _, attribute = target.partition(":")
    try:
        with redirect_stdout(sys.stderr):  # what a plugin says must not get into our JSON
            found = import_module(module.strip())
        for part in attribute.strip().partition("[")[0].strip().split(".") if attribute else ():
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}"
        raise _refusal(plugin, f"importing it failed: {cause}", entry_point) from error
    return found


def _refusal(plugin: Plugin, problem: str | None, entry_point: str | None = None) -> PluginError:
    entry_point = entry_point or f"{plugin.namespace} = {plugin.package}"
    everyone = {other.namespace for other in discovery.discover()}
    others = ",".join(sorted(everyone - {plugin.namespace}))
    remove = f"pip uninstall {plugin.distribution}, or " if plugin.distribution else ""
    return PluginError(
        f"the plugin {plugin.namespace} cannot be used: {problem}",
        where=f"{plugin.title or 'no distribution'}, entry point {entry_point}",
        next_step=f"{remove}go on without it: set {VARIABLE}={others}",
    )
