"""modelzoo train: fit a recipe or a model directory to data."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import (
    add_columns,
    add_data,
    add_pretrained,
    add_set,
    add_task,
    examples,
    note,
    told_warnings,
)
from modelzoo.cli.elapsed import Ending, Steps
from modelzoo.recipe.train_options import TrainOptions


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "train",
        description="Train a model and write its directory. Killed at any moment, the same command "
        "goes on where it was; what is under way lives in DIR.training, with a TensorBoard log.",
        epilog=examples(
            "modelzoo train gpt-tiny --data demo:python-docs -o docs-gpt --steps 20",
            "modelzoo train gpt-small --data corpus/ -o my-gpt --set train.warmup_steps=200",
            "modelzoo train my-bert --task text-classification --data my.csv -o sentiment",
            "modelzoo train my-bert --task text-classification --data my.csv -o sentiment "
            "--columns text=review,label=stars --patience 3 --set train.class_weights=balanced",
            "modelzoo train smollm2-135m --pretrained --data corpus/ -o tuned",
            "modelzoo train vit-tiny --data photos/ -o my-vit --set train.on_bad_file=skip",
        ),
    )
    parser.add_argument("name", metavar="DIR|NAME", help="a model directory, or a recipe")
    add_data(
        parser,
        "--data",
        "what to train on: a .txt, .jsonl, .csv, .tsv or .parquet file, a folder of these, or "
        "a folder of images or sounds; the columns of a classifier are text and label, perhaps "
        "weight",
    )
    add_columns(parser)
    add_data(parser, "--validation", "what to validate on (default: a twentieth of the data)")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="where to write it")
    add_task(parser)
    parser.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    parser.add_argument("--epochs", type=float, metavar="X", help="passes over the data")
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows of a batch")
    parser.add_argument(
        "--learning-rate", "--lr", type=float, metavar="X", help="peak learning rate"
    )
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="early stopping: end after N validations without a better figure (the best weights "
        "are written in any case)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of weights, order and dropout")
    add_set(parser, f"; keys of train: {', '.join(vars(TrainOptions()))}")
    add_pretrained(parser)
    parser.add_argument(
        "--start",
        metavar="SOURCE",
        help="start from the weights and tokenizer of a model directory or a checkpoint",
    )
    parser.add_argument("--tokenizer", metavar="PATH", help="a tokenizer.json to use")
    parser.add_argument("--force", action="store_true", help="replace an existing directory")
    parser.add_argument("--restart", action="store_true", help="forget an unfinished run")
    return parser


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from modelzoo import registry
    from modelzoo.recipe import LOCK_NAME, parse_set
    from modelzoo.training.run_folder import run_of

    changes = parse_set(args.set)
    for name in ("steps", "epochs", "batch_size", "learning_rate", "patience", "seed"):
        if getattr(args, name) is not None:
            changes[f"train.{name}"] = getattr(args, name)
    if args.task is not None:
        changes["task"] = args.task
    if args.epochs is not None and args.steps is None:
        changes["train.steps"] = None  # a recipe's own number of steps must not win
    with told_warnings():
        recipe = registry.recipe(args.name, changes)
    start = args.start
    if args.pretrained:
        from modelzoo.building.pretrained import published_weights

        start = published_weights(recipe, start)
    elif start is None and Path(recipe.source) == Path(args.name, LOCK_NAME):
        start = args.name
    if start is None and recipe.weights:
        note(f"training starts from random weights; --pretrained starts from {recipe.weights}")
    with run_of(args.output, force=args.force, restart=args.restart):
        figures = _figures(args, recipe, start)
    names = "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())
    print(f"{args.output}: {recipe.name}  {names}".rstrip())
    return 0


def _figures(args: argparse.Namespace, recipe, start: str | None) -> dict[str, float]:
    """Train; an error in the recipe or the data is reported before Keras is imported."""
    from modelzoo import registry
    from modelzoo.building.keras_backend import need_keras
    from modelzoo.cli.data_check import check_all_data, data_of
    from modelzoo.data.raw import columns_in
    from modelzoo.recipe.schema import validate_against
    from modelzoo.recipe.train_options import train_options
    from modelzoo.runtime.text.tokenizer import Tokenizer

    validate_against(recipe, registry.architecture(recipe.architecture))
    options = train_options(recipe)
    problem = recipe.table("task_options").get("problem_type")
    data = data_of(recipe, args.data, training=True)
    validation = data_of(recipe, args.validation, "--validation") if args.validation else None
    for given in (data, validation):
        if given is not None:
            kept = columns_in(given, args.columns or options.columns)
            columns = args.columns if given == data else None
            check_all_data(recipe, given, columns or kept, problem)
    tokenizer = Tokenizer.load(args.tokenizer) if args.tokenizer else None

    with told_warnings(), Steps() as step:
        step("starting TensorFlow")
        need_keras()
        from modelzoo.training.train import train

        step(f"reading {' '.join(args.data)}")
        return train(
            recipe,
            data,
            args.output,
            stream=Ending(step),
            validation=validation,
            columns=args.columns,
            start=start,
            tokenizer=tokenizer,
            force=args.force,
            restart=args.restart,
        )
