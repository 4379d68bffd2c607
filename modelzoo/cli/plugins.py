"""modelzoo plugins: what is installed, what it brings, and what is wrong with it."""

from __future__ import annotations

import argparse
import sys

from modelzoo import child_process, plugins
from modelzoo.cli.common import examples, print_json, printable, table
from modelzoo.errors import MissingDependencyError, ModelzooError
from modelzoo.registry import components


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "plugins",
        description="List the installed plugins without importing them. The environment variable "
        "MODELZOO_PLUGINS limits them: unset = all, empty = none, a,b = only these.",
        epilog=examples(
            "modelzoo plugins",
            "modelzoo plugins --json",
            "modelzoo plugins --check --time",
        ),
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a list of objects")
    parser.add_argument(
        "--check",
        action="store_true",
        help="import everything they bring, each in a process of its own, and check their recipes; "
        "exit 1 if a plugin cannot be used or a recipe cannot be built",
    )
    parser.add_argument(
        "--time",
        action="store_true",
        help="the same, with the seconds that importing each takes",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    found = plugins.discover()
    probes = {}
    if args.check or args.time:
        from modelzoo.plugins.probe import probe

        probes = {id(plugin): probe(plugin) for plugin in found}
    entries = [_as_json(plugin, probes.get(id(plugin)), args.time) for plugin in found]
    for entry in entries if args.check else ():
        entry["broken_recipes"] = _broken_recipes(entry["recipes"]) if entry["usable"] else {}
    if args.json:
        print_json(entries)
    elif not entries:
        print("no plugins; modelzoo new-plugin DIR --name NAME writes one")
    else:
        print(_table(entries, args.time))
        _tell_problems(entries)
    sound = all(entry["usable"] and not entry.get("broken_recipes") for entry in entries)
    return 1 if args.check and not sound else 0


def _broken_recipes(names: list[str]) -> dict[str, str]:
    """The recipes that cannot be built, and why, as far as can be said without building them."""
    try:
        return child_process.call(_misfits, names) if names else {}
    except child_process.Died as died:
        return dict.fromkeys(names, f"the check ended with {died}")


def _misfits(names: list[str]) -> dict[str, str]:
    """Recipes whose architecture, task or values are not there; architectures are imported."""
    from modelzoo import registry
    from modelzoo.recipe.schema import validate_against
    from modelzoo.recipe.train_options import train_options

    found = {}
    for name in names:
        try:
            recipe = registry.recipe(name)
            validate_against(recipe, registry.architecture(recipe.architecture))
            train_options(recipe)
            if recipe.task is not None:
                components.check("task", recipe.task)
        except MissingDependencyError:
            continue  # nor could any recipe of the core be built here
        except ModelzooError as error:
            place = f" ({error.where})" if error.where else ""
            found[name] = printable(f"{error.what}{place}")
    return found


def _as_json(plugin: plugins.Plugin, probe, timed: bool) -> dict[str, object]:
    problem = plugin.problem if probe is None else probe.problem or plugin.problem
    usable = plugin.usable and not (probe and probe.problem)
    entry = {
        "namespace": plugin.namespace,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "package": plugin.package,
        "requires": plugin.requires,
        "recipes": sorted(plugin.recipes()),
        "bundles": sorted(plugin.bundles()),
        **{group: dict(getattr(plugin, group)) for group in plugins.GROUPS},
        "problem": problem and printable(problem),
        "usable": usable,
    }
    if probe is not None:
        entry["prints"] = probe.printed
    if timed:
        entry["seconds"] = probe.seconds
    return entry


def _table(entries: list[dict], timed: bool) -> str:
    header = ["namespace", "distribution", "version", "needs", "brings", "state"]
    rows = []
    for entry in entries:
        row = [
            entry["namespace"],
            entry["distribution"] or "-",
            entry["version"] or "-",
            entry["requires"] or "any modelzoo",
            _brings(entry),
            _state(entry),
        ]
        rows.append(row)
        if timed:
            seconds = entry["seconds"]
            row.append("-" if seconds is None else f"{seconds:.2f} s")
    return table([*header, "import"] if timed else header, rows, right="import")


def _state(entry: dict) -> str:
    if not entry["usable"]:
        return "cannot be used"
    return "ok, but see below" if entry["problem"] or entry.get("broken_recipes") else "ok"


def _tell_problems(entries: list[dict]) -> None:
    """Below the table, each with its distribution; a long line in a table helps nobody."""
    for entry in entries:
        title = f"{entry['distribution']} {entry['version']}".strip()
        named = f"{entry['namespace']} ({title})" if title else entry["namespace"]
        if entry["problem"]:
            print(f"\n{named}: {entry['problem']}")
        if not entry["usable"]:
            others = sorted({o["namespace"] for o in entries if o["usable"]})
            remove = f"pip uninstall {entry['distribution']}, or " if title else ""
            print(f"  next: {remove}set {plugins.VARIABLE}={','.join(others)}")
        for name, problem in entry.get("broken_recipes", {}).items():
            print(f"\n{named}: the recipe {name} cannot be built: {problem}")
        if entry.get("prints"):
            print(f"\n{named}: importing it prints to standard output", file=sys.stderr)


def _brings(entry: dict) -> str:
    counts = [(group, len(entry[group])) for group in ("recipes", "bundles", *plugins.GROUPS)]
    named = [f"{n} {_word(group, n)}" for group, n in counts if n]
    return ", ".join(named) or "nothing"


def _word(group: str, number: int) -> str:
    word = group.replace("_", " ")
    return word[:-1] if number == 1 else word
