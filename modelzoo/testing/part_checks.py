"""Architectures, tasks, exporters and weight tables: do they have the form that modelzoo calls?"""

from __future__ import annotations

import inspect

from modelzoo import plugins
from modelzoo.plugins import Plugin
from modelzoo.recipe.schema import arguments
from modelzoo.registry.definitions import locate
from modelzoo.testing.check import fail


def signature(plugin: Plugin, name: str) -> None:
    """The signature is keyword-only and annotated, and the docstring says what it builds."""
    build = plugins.load("architectures", name)
    where = _place(plugin, "architectures", name)
    arguments(build)  # raises for what is not keyword-only, or not annotated
    text = inspect.getdoc(build) or ""
    if not text.strip():
        fail(
            f"{name} has no docstring",
            where=where,
            next_step='say in one line what it builds, and in "Returns:" the shapes',
        )
    if "Returns:" not in text:
        fail(
            f"the docstring of {name} does not say what it returns",
            where=where,
            next_step='add "Returns:" with the names and shapes of inputs and outputs',
        )


def task(plugin: Plugin, name: str) -> None:
    """It is a class with keyword-only, annotated options and what training calls."""
    kind = plugins.load("tasks", name)
    arguments(kind)
    if getattr(kind, "name", None) in (None, "task"):
        fail(
            f"{name} has no name of its own",
            where=_place(plugin, "tasks", name),
            next_step=f"name = {name!r} in its class",
        )


def exporter(plugin: Plugin, name: str) -> None:
    """It can be called as `export(model, signatures, folder, *, mode, scratch)`; see `FORMAT`."""
    export = plugins.load("exporters", name)
    try:
        inspect.signature(export).bind(None, {}, None, mode=None, scratch=None)
    except TypeError as error:
        fail(
            f"{name} cannot be called as modelzoo calls it: {error}",
            where=_place(plugin, "exporters", name),
            next_step="def export(model, signatures, folder, *, mode, scratch) -> Artifact",
        )
    from modelzoo.exporting.formats.format import format_of

    format_of(name)  # raises for a FORMAT of another name


def _place(plugin: Plugin, group: str, name: str) -> str:
    """Distribution, version, and file:line of the definition."""
    found = locate(getattr(plugin, group)[name.partition("/")[2]])
    return f"{plugin.title}, {found[0]}:{found[1]}" if found else plugin.title
