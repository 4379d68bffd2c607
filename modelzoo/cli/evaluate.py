"""modelzoo evaluate: a model directory's figures on data."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import examples, print_json, told_warnings
from modelzoo.cli.elapsed import Steps


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "evaluate",
        description="Measure a model on data: loss, perplexity and bits per byte of a language "
        "model, accuracy and F1 of a classifier.",
        epilog=examples(
            "modelzoo evaluate my-gpt --data held-out.txt",
            "modelzoo evaluate sentiment --data test.csv --json",
        ),
    )
    parser.add_argument("directory", metavar="DIR", help="a model directory")
    parser.add_argument("--data", metavar="PATH", required=True, help="what to measure on")
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows of a batch")
    parser.add_argument("--length", type=int, metavar="N", help="tokens of a row")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from modelzoo.building.keras_backend import need_keras
    from modelzoo.cli.data_check import check_data
    from modelzoo.recipe import LOCK_NAME, read_lock

    if Path(args.directory, LOCK_NAME).is_file():  # else loading it says what is wrong
        check_data(args.data, read_lock(args.directory)[0].task)

    with told_warnings(), Steps() as step:
        step("starting TensorFlow")
        need_keras()
        from modelzoo.training.evaluate import evaluate

        step(f"measuring {args.directory} on {args.data}")
        figures = evaluate(
            args.directory, args.data, batch_size=args.batch_size, length=args.length
        )
    if args.json:
        print_json(figures)
    else:
        for key, value in figures.items():
            print(f"{key:<14} {value:,.6g}")
    return 0
