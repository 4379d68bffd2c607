"""modelzoo show: one recipe, as given or fully merged."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelzoo import registry
from modelzoo.cli.common import add_set, exact, examples, print_json, told_warnings
from modelzoo.errors import RecipeError
from modelzoo.recipe import Recipe, dumps, parse_set


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "show",
        description="Show a recipe: what its file says, how many parameters it has, its digest.",
        epilog=examples(
            "modelzoo show gpt-small",
            "modelzoo show gpt-small --resolved",
            "modelzoo show gpt-small --json",
            "modelzoo show gpt-small --count --set num_layers=6",
        ),
    )
    parser.add_argument("name", metavar="NAME", help="a recipe, a TOML file or a model directory")
    parser.add_argument(
        "--resolved", action="store_true", help="print the values after `extends` was merged"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, always fully merged")
    parser.add_argument(
        "--count",
        action="store_true",
        help="count the parameters of the model itself; exit 2 if the recipe states other",
    )
    add_set(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    with told_warnings():
        recipe = registry.recipe(args.name, parse_set(args.set))
    counted = _count(recipe) if args.count else None
    if args.json:
        facts = {
            "name": recipe.name,
            "parameters": recipe.parameters,
            "source": recipe.source,
            "line": recipe.line,
            "plugin": recipe.plugin,
            "extends": list(recipe.extends),
            "digest": recipe.digest,
            "weights": recipe.weights,
            "aliases": list(recipe.aliases),
            "values": recipe.values,
        }
        print_json(facts if counted is None else {**facts, "counted": counted})
    else:
        print(_header(recipe, counted))
        print()
        # What --set changed is in no file.
        print(merged(recipe) if args.resolved or args.set else as_given(recipe), end="")
    if counted is not None and recipe.parameters not in (None, counted):
        raise RecipeError(
            f"{recipe.name} states {exact(recipe.parameters)} parameters "
            f"and its model has {exact(counted)}",
            where=recipe.place,
            next_step=f"parameters = {counted:_}",
        )
    return 0


def _count(recipe: Recipe) -> int:
    from modelzoo.building.counting import count_parameters

    return count_parameters(recipe)


def as_given(recipe: Recipe) -> str:
    """The recipe's own text, or its values where it was registered without one."""
    if recipe.text is not None:
        return recipe.text
    path = Path(recipe.source)
    if not path.is_file():
        return dumps(recipe.values)
    return path.read_text(encoding="utf-8-sig").rstrip("\n") + "\n"


def merged(recipe: Recipe) -> str:
    """The recipe's values as TOML, after `extends` was merged."""
    weights = {} if recipe.weights is None else {"weights": recipe.weights}
    return dumps({**weights, **recipe.values})


def _header(recipe: Recipe, counted: int | None) -> str:
    """What the file does not say itself, as TOML comments: the whole output is a recipe."""
    facts = [
        ("name", recipe.name),
        ("parameters", exact(recipe.parameters)),
        ("counted", counted and exact(counted)),
        ("source", recipe.place),
        ("plugin", recipe.plugin),
        ("extends", " -> ".join(recipe.extends)),
        ("digest", recipe.digest),
    ]
    return "\n".join(f"# {name:<10} {value}" for name, value in facts if value)
