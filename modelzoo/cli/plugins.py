"""modelzoo plugins: what is installed, what it brings, and what is wrong with it."""

from __future__ import annotations

import argparse
from dataclasses import replace

from modelzoo import plugins
from modelzoo.cli.common import examples, print_json, printable, table
from modelzoo.errors import PluginError


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "plugins",
        description="List the installed plugins without importing them. The environment variable "
        "MODELZOO_PLUGINS limits them: unset = all, empty = none, a,b = only these.",
        epilog=examples("modelzoo plugins", "modelzoo plugins --json", "modelzoo plugins --check"),
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a list of objects")
    parser.add_argument(
        "--check",
        action="store_true",
        help="import everything they bring; exit 1 if a plugin cannot be used",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    found = [_checked(plugin) if args.check else plugin for plugin in plugins.discover()]
    if args.json:
        print_json([_as_json(plugin) for plugin in found])
    elif not found:
        print("no plugins; modelzoo new-plugin DIR --name NAME writes one")
    else:
        rows = [(p.namespace, p.title or "-", _brings(p), p.problem or "-") for p in found]
        print(table(("plugin", "distribution", "brings", "problem"), rows))
    return 1 if args.check and any(plugin.problem for plugin in found) else 0


def _checked(plugin: plugins.Plugin) -> plugins.Plugin:
    """The plugin with the problem, if any, that importing all of it meets."""
    if plugin.problem:
        return plugin
    try:
        plugins.import_package(plugin.namespace)
        for group in plugins.GROUPS:
            for short in getattr(plugin, group):
                plugins.load(group, f"{plugin.namespace}/{short}")
    except PluginError as error:
        return replace(plugin, problem=f"{printable(error.what)} ({error.where})")
    return plugin


def _brings(plugin: plugins.Plugin) -> str:
    counts = [(group, len(getattr(plugin, group))) for group in plugins.GROUPS]
    counts.insert(0, ("recipes", len(plugin.recipe_files())))
    named = [f"{n} {word[:-1] if n == 1 else word}" for word, n in counts if n]
    return ", ".join(named) or "nothing"


def _as_json(plugin: plugins.Plugin) -> dict[str, object]:
    return {
        "namespace": plugin.namespace,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "package": plugin.package,
        "recipes": sorted(plugin.recipe_files()),
        **{group: dict(getattr(plugin, group)) for group in plugins.GROUPS},
        "problem": plugin.problem,
    }
