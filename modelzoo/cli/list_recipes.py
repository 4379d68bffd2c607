"""modelzoo list: every recipe, and every bundle that a plugin brings, with its task and size."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from modelzoo import plugins, registry
from modelzoo.cli.common import count, examples, print_json, printable, table, terminal_width
from modelzoo.errors import UnknownNameError, nearest
from modelzoo.registry import components

ALL = ""  # of --task without a task


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "list",
        description="List the recipes: the core's, then those of the installed plugins; and the "
        "plugins' bundles, which are trained and ready to run. A recipe with published weights is "
        "built with them by `modelzoo build NAME --pretrained`.",
        epilog=examples(
            "modelzoo list",
            "modelzoo list gpt",
            "modelzoo list --task",
            "modelzoo list --task causal-lm",
            "modelzoo list --json",
        ),
    )
    parser.add_argument(
        "word",
        metavar="WORD",
        nargs="?",
        help="only the recipes with this word in their name, aliases, task or summary",
    )
    parser.add_argument(
        "--task",
        metavar="TASK",
        nargs="?",
        const=ALL,
        help="only the recipes of this task; without a task, list the tasks",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a list of objects")
    return parser


def run(args: argparse.Namespace) -> int:
    entries = [*registry.names(), *registry.bundles()]
    if args.word:
        entries = _with_word(entries, args.word)
    if args.task == ALL:
        return _list_tasks(entries, args)
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
                "yes" if entry.weights or entry.kind == "bundle" else "-",
                _summary(entry),
            )
            for entry in entries
        ]
        header = ("name", "task", "parameters", "weights", "summary")
        print(table(header, rows, right="parameters", width=terminal_width()))
    _report_problems(entries)
    return 0


def _summary(entry: registry.Entry) -> str:
    if entry.problem:
        return f"(cannot be used) {entry.summary}"
    return f"(ready to run) {entry.summary}" if entry.kind == "bundle" else entry.summary


def _with_word(entries: list[registry.Entry], word: str) -> list[registry.Entry]:
    found = [entry for entry in entries if entry.has(word)]
    if not found:
        raise UnknownNameError(
            f"no recipe has {word!r} in its name, task or summary",
            did_you_mean=nearest(word, [entry.name for entry in entries]),
            next_step="modelzoo list --task says what models do; modelzoo list shows every name",
        )
    return found


def _list_tasks(entries: list[registry.Entry], args: argparse.Namespace) -> int:
    """Each task: how many of the recipes are of it, and what a model of it does."""
    recipes = Counter(entry.task for entry in entries if entry.task)
    names = recipes if args.word else {*recipes, *components.known("task")}
    rows = [{"task": name, "recipes": recipes[name], "does": _does(name)} for name in sorted(names)]
    if args.json:
        print_json(rows)
    else:
        cells = [tuple(row.values()) for row in rows]
        print(table(("task", "recipes", "does"), cells, right="recipes", width=terminal_width()))
    return 0


def _does(task: str) -> str:
    known = task in components.known("task")
    return (components.stated(task, "does") if known else None) or "-"


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
            print(
                f"modelzoo: {entry.kind} {entry.name}: {printable(entry.problem)}", file=sys.stderr
            )
