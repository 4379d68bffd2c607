"""modelzoo evaluate: a model directory's figures on data."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import (
    add_columns,
    add_data,
    clipped,
    examples,
    print_json,
    table,
    told_warnings,
)
from modelzoo.cli.elapsed import Steps
from modelzoo.errors import DataError

MOST_LABELS = 20  # of a confusion matrix for people
_FIGURES = ("precision", "recall", "f1")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "evaluate",
        description="Measure a model directory or a bundle on data: loss, perplexity and bits per "
        "byte of a language model; accuracy, F1, calibration, the figures of each label and the "
        "confusion matrix of a classifier, with those of naive Bayes on the words (baseline_); "
        "exact match and F1 of answers, with those of the sentence nearest to the question. "
        "A bundle is run as on a device.",
        epilog=examples(
            "modelzoo evaluate my-gpt --data held-out.txt",
            "modelzoo evaluate sentiment --data test.csv --predictions answers.csv",
            "modelzoo evaluate sentiment --data test.csv --json",
            "modelzoo evaluate sentiment.bundle --data test.csv --against sentiment",
        ),
    )
    parser.add_argument("directory", metavar="DIR|BUNDLE", help="a model directory or a bundle")
    add_data(parser, "--data", "what to measure on", required=True)
    parser.add_argument(
        "--against",
        metavar="DIR|BUNDLE",
        help="another model whose figures on the same data are shown beside",
    )
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
    from modelzoo.cli.data_check import check_all_data, data_of
    from modelzoo.cli.table_files import check_output
    from modelzoo.data.raw import columns_in
    from modelzoo.recipe import LOCK_NAME, read_lock
    from modelzoo.runtime.bundle import bundle_directory

    directory = bundle_directory(args.directory)
    if Path(directory, LOCK_NAME).is_file():  # else loading it says what is wrong
        recipe = read_lock(directory)[0]
        data = data_of(recipe, args.data)
        kept = columns_in(data, recipe.table("train").get("columns"))
        problem = recipe.table("task_options").get("problem_type")
        check_all_data(recipe, data, args.columns or kept, problem)
    else:
        data = args.data[0]
    if args.predictions is not None:
        check_output(args.predictions, args.data[0], "--predictions", args.force)

    with told_warnings(), Steps() as step:
        step("starting TensorFlow")
        need_keras()
        from modelzoo.training.evaluate import evaluate_in_detail

        def measured(path: str):
            step(f"measuring {path} on {' '.join(args.data)}")
            return evaluate_in_detail(
                path,
                data,
                columns=args.columns,
                batch_size=args.batch_size,
                length=args.length,
            )

        found = measured(args.directory)
        other = measured(args.against).figures if args.against else None
    if args.predictions is not None:
        _write_predictions(found, args)
    if args.json:
        beside = {} if other is None else {"against": {"model": args.against, "figures": other}}
        print_json({**found.figures, **_by_label(found), **beside})
        return 0
    print(_figures(found.figures, other))
    print(_tables(found), end="")
    if args.predictions is not None:
        print(f"\n{args.predictions}: {len(found.truth):,} rows")
    return 0


def _figures(figures: dict, other: dict | None) -> str:
    """A figure a line; with those of another model and the differences beside."""
    if other is None:
        return "\n".join(f"{key:<14} {value:,.6g}" for key, value in figures.items())
    rows = [
        (key, f"{value:,.6g}", f"{other[key]:,.6g}", f"{value - other[key]:+,.3g}")
        for key, value in figures.items()
        if key in other
    ]
    heads = ("model", "against", "change")
    return table(("figure", *heads), rows, right=",".join(heads))


def _by_label(found) -> dict:
    """The figures of each label, and the confusion matrix, as JSON has them."""
    if found.labels is None:
        return {}
    matrix, scores = _scores(found)
    columns = {name: values.tolist() for name, values in scores.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    labels = [{"label": name, **row} for name, row in zip(found.labels, rows, strict=True)]
    return {"labels": labels} | ({} if matrix is None else {"confusion": matrix.tolist()})


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
    if matrix is None:
        return text
    heads = [str(number) for number in range(1, len(names) + 1)]
    numbered = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    cells = [(name, *map(int, row)) for name, row in zip(numbered, matrix, strict=True)]
    text += "\nright label (rows) and the model's label (columns)\n"
    return f"{text}{table(('', *heads), cells, right=','.join(heads))}\n"


def _scores(found) -> tuple:
    """The confusion matrix, `None` where several labels may apply, and the figures of each."""
    from modelzoo.tasks.shared.label_scores import given, scores_of_each
    from modelzoo.tasks.shared.scores import class_scores, confusion

    if found.truth.ndim > 1:
        return None, scores_of_each(given(found.logits, found.thresholds), found.truth > 0)
    matrix = confusion(found.truth, found.logits.argmax(-1), len(found.labels))
    return matrix, class_scores(matrix)


def _write_predictions(found, args: argparse.Namespace) -> None:
    """The rows of the data with what the model said of each.

    Raises:
        DataError: no classifier, or examples were left out, so that rows and answers do not match.
    """
    from pathlib import Path

    from modelzoo.cli.table_files import is_table, read_rows, write_rows

    data = args.data[0]
    if found.labels is None or not is_table(data):
        raise DataError(
            "--predictions is for a classifier and data in one file",
            where=data,
            next_step="leave --predictions out, or see: modelzoo run --help",
        )
    records = [record for record, _ in read_rows(Path(data))]
    if len(records) != len(found.truth):
        raise DataError(
            f"{len(found.truth):,} of the {len(records):,} rows were measured: answers and rows do "
            "not match",
            where=data,
            next_step="leave the others out of the file",
        )
    write_rows(Path(args.predictions), records, _predicted(found))


def _predicted(found) -> list[dict]:
    """The columns that a row gets: `prediction` and `probability`; where several labels may apply,
    `prediction` is `a|b`, and each label has a probability."""
    import numpy as np

    from modelzoo.runtime.abilities.labels import sigmoid, softmax
    from modelzoo.tasks.shared.label_scores import given

    if found.truth.ndim == 1:
        return [
            {"prediction": found.labels[best], "probability": float(row[best])}
            for row, best in zip(softmax(found.logits), found.logits.argmax(-1), strict=True)
        ]
    labels, names = np.array(found.labels), [f"probability_{label}" for label in found.labels]
    said, shares = given(found.logits, found.thresholds), sigmoid(found.logits)
    return [
        {"prediction": "|".join(labels[one]), **dict(zip(names, row.tolist(), strict=True))}
        for one, row in zip(said, shares, strict=True)
    ]
