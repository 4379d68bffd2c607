"""modelzoo find: file and line of a recipe and of its code."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from modelzoo import registry
from modelzoo.cli.common import examples, print_json, table, told_warnings


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "find",
        description="Print FILE:LINE of a recipe, of its architecture and of its task. An editor "
        "opens these. Nothing is imported.",
        epilog=examples("modelzoo find gpt-small", "modelzoo find causal-lm"),
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a recipe, a TOML file or a model directory; or an architecture, task or exporter",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a list of objects")
    return parser


def run(args: argparse.Namespace) -> int:
    with told_warnings():
        places = registry.find(args.name)
    if args.json:
        print_json([asdict(place) for place in places])
    else:
        rows = [(place.kind, place.name, f"{place.file}:{place.line}") for place in places]
        print(table(("kind", "name", "place"), rows))
    return 0
