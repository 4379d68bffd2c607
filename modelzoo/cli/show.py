"""modelzoo show: one recipe, as given or fully merged."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelzoo import registry
from modelzoo.cli.common import exact, examples, print_json
from modelzoo.recipe import Recipe, dumps


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "show",
        description="Show a recipe: what its file says, how many parameters it has, its digest.",
        epilog=examples(
            "modelzoo show gpt-small",
            "modelzoo show gpt-small --resolved",
            "modelzoo show gpt-small --json",
        ),
    )
    parser.add_argument("name", metavar="NAME", help="a recipe, a TOML file or a model directory")
    parser.add_argument(
        "--resolved", action="store_true", help="print the values after `extends` was merged"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, always fully merged")
    return parser


def run(args: argparse.Namespace) -> int:
    recipe = registry.recipe(args.name)
    if args.json:
        print_json(
            {
                "name": recipe.name,
                "parameters": recipe.parameters,
                "source": recipe.source,
                "plugin": recipe.plugin,
                "extends": list(recipe.extends),
                "digest": recipe.digest,
                "values": recipe.values,
            }
        )
        return 0
    print(_header(recipe))
    print()
    print(dumps(recipe.values) if args.resolved else as_given(recipe), end="")
    return 0


def as_given(recipe: Recipe) -> str:
    """The text of the recipe's own file, or its values where it was registered without one."""
    path = Path(recipe.source)
    if not path.is_file():
        return dumps(recipe.values)
    return path.read_text(encoding="utf-8-sig").rstrip("\n") + "\n"


def _header(recipe: Recipe) -> str:
    """What the file does not say itself, as TOML comments: the whole output is a recipe."""
    facts = [
        ("name", recipe.name),
        ("parameters", exact(recipe.parameters)),
        ("source", recipe.source),
        ("plugin", recipe.plugin),
        ("extends", " -> ".join(recipe.extends)),
        ("digest", recipe.digest),
    ]
    return "\n".join(f"# {name:<10} {value}" for name, value in facts if value)
