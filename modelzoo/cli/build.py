"""modelzoo build: from a name to a model directory."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import add_set, exact, examples


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "build",
        description="Build a Keras model from its recipe and write its directory.",
        epilog=examples(
            "modelzoo build gpt-tiny",
            "modelzoo build gpt-small -o small --set num_layers=6 --set dropout=0",
            "modelzoo build my-recipe.toml --tokenizer tokenizer.json",
        ),
    )
    parser.add_argument("name", metavar="NAME", help="a recipe, a TOML file or a model directory")
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write it (default: NAME)")
    add_set(parser)
    parser.add_argument("--weights", metavar="PATH", help="take weights from a model directory")
    parser.add_argument("--tokenizer", metavar="PATH", help="take a tokenizer.json along")
    parser.add_argument("--force", action="store_true", help="replace an existing directory")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo import registry
    from modelzoo.files import check_replaceable
    from modelzoo.recipe import parse_set

    recipe = registry.recipe(args.name, parse_set(args.set))
    output = args.output or recipe.name.rpartition("/")[2]
    check_replaceable(output, args.force)

    from modelzoo.build import build, save

    model = build(recipe, tokenizer=args.tokenizer, weights=args.weights)
    save(model, output, force=args.force)
    print(f"{output}: {recipe.name}, {recipe.task}, {exact(model.count_params())} parameters")
    return 0
