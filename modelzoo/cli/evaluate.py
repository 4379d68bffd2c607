"""modelzoo evaluate: a model directory's figures on data."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import add_columns, clipped, examples, print_json, table, told_warnings
from modelzoo.cli.elapsed import Steps
from modelzoo.errors import DataError

MOST_LABELS = 20  # of a confusion matrix for people
_FIGURES = ("precision", "recall", "f1")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "evaluate",
        description="Measure a model on data: loss, perplexity and bits per byte of a language "
        "model; accuracy, F1, the figures of each label and the confusion matrix of a classifier; "
        "exact match and F1 of answers, with those of the sentence nearest to the question.",
        epilog=examples(
            "modelzoo evaluate my-gpt --data held-out.txt",
            "modelzoo evaluate sentiment --data test.csv --predictions answers.csv",
            "modelzoo evaluate sentiment --data test.csv --json",
        ),
    )
    parser.add_argument("directory", metavar="DIR", help="a model directory")
    parser.add_argument("--data", metavar="PATH", required=True, help="what to measure on")
    add_columns(parser)
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows of a batch")
    parser.add_argument("--length", type=int, metavar="N", help="tokens of a row")
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        help="write the rows of a classifier's data with its `prediction` and `probability`, as "
        ".csv, .tsv, .jsonl or .parquet",
    )
    parser.add_argument("--force", action="store_true", help="replace the FILE of --predictions")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from modelzoo.building.keras_backend import need_keras
    from modelzoo.cli.data_check import check_data
    from modelzoo.cli.table_files import check_output
    from modelzoo.data.raw import columns_in
    from modelzoo.recipe import LOCK_NAME, read_lock

    if Path(args.directory, LOCK_NAME).is_file():  # else loading it says what is wrong
        recipe = read_lock(args.directory)[0]
        kept = columns_in(args.data, recipe.table("train").get("columns"))
        check_data(args.data, recipe.task, args.columns or kept)
    if args.predictions is not None:
        check_output(args.predictions, args.data, "--predictions", args.force)

    with told_warnings(), Steps() as step:
        step("starting TensorFlow")
        need_keras()
        from modelzoo.training.evaluate import evaluate_in_detail

        step(f"measuring {args.directory} on {args.data}")
        found = evaluate_in_detail(
            args.directory,
            args.data,
            columns=args.columns,
            batch_size=args.batch_size,
            length=args.length,
        )
    if args.predictions is not None:
        _write_predictions(found, args)
    if args.json:
        print_json({**found.figures, **_by_label(found)})
        return 0
    for key, value in found.figures.items():
        print(f"{key:<14} {value:,.6g}")
    print(_tables(found), end="")
    if args.predictions is not None:
        print(f"\n{args.predictions}: {len(found.truth):,} rows")
    return 0


def _by_label(found) -> dict:
    """The figures of each label, and the confusion matrix, as JSON has them."""
    if found.labels is None:
        return {}
    matrix, scores = _scores(found)
    columns = {name: values.tolist() for name, values in scores.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    labels = [{"label": name, **row} for name, row in zip(found.labels, rows, strict=True)]
    return {"labels": labels, "confusion": matrix.tolist()}


def _tables(found) -> str:
    """The same for people; nothing where there are more labels than fit."""
    if found.labels is None or len(found.labels) > MOST_LABELS:
        return ""
    matrix, scores = _scores(found)
    names = [clipped(name, 24) for name in found.labels]
    rows = [
        (name, *(f"{scores[key][at]:.3f}" for key in _FIGURES), int(scores["examples"][at]))
        for at, name in enumerate(names)
    ]
    columns = (*_FIGURES, "examples")
    text = f"\n{table(('label', *columns), rows, right=','.join(columns))}\n"
    heads = [str(number) for number in range(1, len(names) + 1)]
    numbered = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    cells = [(name, *map(int, row)) for name, row in zip(numbered, matrix, strict=True)]
    text += "\nright label (rows) and the model's label (columns)\n"
    return f"{text}{table(('', *heads), cells, right=','.join(heads))}\n"


def _scores(found) -> tuple:
    from modelzoo.tasks.shared.scores import class_scores, confusion

    matrix = confusion(found.truth, found.logits.argmax(-1), len(found.labels))
    return matrix, class_scores(matrix)


def _write_predictions(found, args: argparse.Namespace) -> None:
    """The rows of the data with what the model said of each.

    Raises:
        DataError: no classifier, or examples were left out, so that rows and answers do not match.
    """
    from pathlib import Path

    from modelzoo.cli.table_files import is_table, read_rows, write_rows
    from modelzoo.runtime.abilities.labels import softmax

    if found.labels is None or not is_table(args.data):
        raise DataError(
            "--predictions is for a classifier and data in one file",
            where=args.data,
            next_step="leave --predictions out, or see: modelzoo run --help",
        )
    records = [record for record, _ in read_rows(Path(args.data))]
    if len(records) != len(found.truth):
        raise DataError(
            f"{len(found.truth):,} of the {len(records):,} rows were measured: answers and rows do "
            "not match",
            where=args.data,
            next_step="leave the others out of the file",
        )
    shares = softmax(found.logits)
    added = [
        {"prediction": found.labels[best], "probability": float(row[best])}
        for row, best in zip(shares, found.logits.argmax(-1), strict=True)
    ]
    write_rows(Path(args.predictions), records, added)
