"""modelzoo cp: a recipe becomes a file of your own."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelzoo import registry
from modelzoo.cli.common import examples, told_warnings
from modelzoo.cli.show import as_given, merged
from modelzoo.errors import OutputError
from modelzoo.files import write_atomic
from modelzoo.recipe import LOCK_NAME, Recipe


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "cp",
        description="Copy a recipe to a file of your own, with every value in it, to edit.",
        epilog=examples("modelzoo cp gpt-small my-gpt.toml", "modelzoo show my-gpt.toml"),
    )
    parser.add_argument("name", metavar="NAME", help="a recipe, a TOML file or a model directory")
    parser.add_argument("file", metavar="FILE", help="the TOML file to write")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    return parser


def run(args: argparse.Namespace) -> int:
    with told_warnings():
        recipe = registry.recipe(args.name)
    path = Path(args.file)
    if path.suffix != ".toml" or path.is_dir():
        raise OutputError(
            f"{args.file} is not a TOML file",
            next_step=f"modelzoo cp {args.name} {args.file.rstrip('/')}.toml",
        )
    if path.exists() and not args.force:
        raise OutputError(f"{path} exists", next_step="--force overwrites it")
    write_atomic(path, _editable(recipe))
    print(f"{path}: a copy of {recipe.name}; modelzoo build {path} builds it")
    return 0


def _editable(recipe: Recipe) -> str:
    """The file with its comments; merged values where the text alone would not be the recipe."""
    source = Path(recipe.source)
    if source.is_file() and not recipe.extends and source.name != LOCK_NAME:
        return as_given(recipe)
    origin = " -> ".join((recipe.name, *recipe.extends))
    return f"# Every value of {origin}, merged.\n{merged(recipe)}"
