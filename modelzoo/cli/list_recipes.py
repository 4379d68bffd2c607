"""modelzoo list: every recipe, with its task and size."""

from __future__ import annotations

import argparse
import sys

from modelzoo import plugins, registry
from modelzoo.cli.common import count, examples, print_json, printable, table
from modelzoo.errors import UnknownNameError, nearest
from modelzoo.registry import components


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "list",
        description="List every recipe: the core's, then those of the installed plugins.",
        epilog=examples("modelzoo list", "modelzoo list --task causal-lm", "modelzoo list --json"),
    )
    parser.add_argument("--task", metavar="T", help="only the recipes of this task")
    parser.add_argument("--json", action="store_true", help="print JSON: a list of objects")
    return parser


def run(args: argparse.Namespace) -> int:
    entries = registry.names()
    if args.task:
        tasks = {entry.task for entry in entries if entry.task} | set(components.known("task"))
        if args.task not in tasks:
            raise UnknownNameError(
                f"there is no task {args.task!r}",
                did_you_mean=nearest(args.task, tasks),
                next_step=f"the tasks are {', '.join(sorted(tasks))}",
            )
        entries = [entry for entry in entries if entry.task == args.task]
    if args.json:
        print_json([vars(entry) for entry in entries])
    else:
        rows = [
            (
                entry.name,
                entry.task or "-",
                count(entry.parameters),
                f"(cannot be used) {entry.summary}" if entry.problem else entry.summary,
            )
            for entry in entries
        ]
        print(table(("name", "task", "parameters", "summary"), rows, right="parameters"))
    _report_problems(entries)
    return 0


def _report_problems(entries: list[registry.Entry]) -> None:
    """One line on stderr for each plugin, and each recipe of the core, that cannot be used."""
    titles = set()
    for plugin in plugins.discover():
        if plugin.problem:
            if not plugin.usable:
                titles.add(plugin.title)
            named = f"{plugin.namespace} ({plugin.title})" if plugin.title else plugin.namespace
            print(f"modelzoo: plugin {named}: {printable(plugin.problem)}", file=sys.stderr)
    for entry in entries:
        if entry.problem and entry.plugin not in titles:
            print(f"modelzoo: recipe {entry.name}: {printable(entry.problem)}", file=sys.stderr)
