"""modelzoo export: a model becomes a bundle for a device, and proves that it answers the same."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.cli.common import examples, note, table, told_warnings
from modelzoo.cli.elapsed import Steps
from modelzoo.errors import RecipeError, UnknownNameError, nearest
from modelzoo.exporting.formats.format import DEFAULT_FORMAT
from modelzoo.exporting.quantization.precision import MODES
from modelzoo.registry import components

if TYPE_CHECKING:
    from modelzoo.recipe import Recipe


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "export",
        description="Convert a model to a bundle that runs without Keras, and compare it with the "
        "Keras model on the device runtime. A bundle that fails is not written.",
        epilog=examples(
            "modelzoo export runs/gpt -o gpt.bundle",
            "modelzoo export runs/gpt -o gpt.bundle --set export.max_length=256 --force",
            "modelzoo export runs/bert -o bert.bundle --quantize float32",
            "modelzoo export runs/gpt --quantize int4 --set quantize.block_size=64",
            "modelzoo export runs/t5 -o t5.bundle --format savedmodel",
            "modelzoo export runs/gpt --vocabulary corpus.txt --vocabulary-size 16000",
        ),
    )
    parser.add_argument(
        "model", metavar="DIR|NAME", help="a model directory, or a recipe (with random weights)"
    )
    parser.add_argument(
        "-o", "--output", metavar="BUNDLE", help="where to write it (default: NAME.bundle)"
    )
    parser.add_argument(
        "--format",
        default=DEFAULT_FORMAT,
        metavar="FORMAT",
        help=f"{', '.join(components.known('exporter'))} (default: {DEFAULT_FORMAT})",
    )
    parser.add_argument(
        "--quantize",
        metavar="MODE",
        help=f"{', '.join(MODES)} (default: the recipe's quantize.mode, or the format's own: int8 "
        "for devices)",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="keep the tokens that these texts need and leave out others (default: keep all)",
    )
    parser.add_argument(
        "--vocabulary-size",
        type=int,
        metavar="N",
        help="tokens to keep, with the most frequent ones besides (default: those that are needed)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="export.max_length=256, quantize.block_size=64: a value of these two tables "
        "(repeatable); other values belong to `modelzoo build`",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing BUNDLE")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.exporting import export_bundle

    options, quantization = settings(args.set)
    chosen = {"vocabulary": args.vocabulary, "vocabulary_size": args.vocabulary_size}
    options |= {key: value for key, value in chosen.items() if value is not None}
    _check_format(args.format)
    output = args.output or default_output(args.model)
    with told_warnings(), Steps() as step:
        report = export_bundle(
            args.model,
            output,
            args.format,
            args.quantize,
            force=args.force,
            options=options,
            quantization=quantization,
            progress=step,
            begins=lambda recipe: announce(recipe, args.model),
        )
    print(summary(report, output))
    return 0


def announce(recipe: Recipe, model: str) -> None:
    """Notes before the minutes of work: random weights where there are others, time and memory."""
    from modelzoo.building.memory import free_bytes
    from modelzoo.exporting.process.estimate import estimate

    if recipe.weights and not Path(model).is_dir():
        note(
            f"the weights are random; for those of {recipe.weights}: modelzoo build {recipe.name} "
            "--pretrained -o DIR, then modelzoo export DIR"
        )
    expected = estimate(recipe, model)
    if expected is not None and expected.seconds > WORTH_A_NOTE:
        free = free_bytes()
        short = f", and only {free / 1e9:.1f} GB are free now" if expected.memory > free else ""
        note(f"estimated from the number of parameters: {expected}{short}")


WORTH_A_NOTE = 20  # seconds of an export

# What the bundle of such weights is good for.
WARNINGS = {
    "random": "random weights: the model was never trained, so its answers mean nothing",
    "partly random": "its head has random weights: train the model before you use its answers",
}


def default_output(model: str) -> str:
    """NAME.bundle in the working directory.

    Example:
        >>> default_output("runs/gpt"), default_output("acme/tiny")
        ('gpt.bundle', 'tiny.bundle')
    """
    return f"{Path(model).name or Path(model).resolve().name}.bundle"


def _check_format(name: str) -> None:
    try:
        components.check("exporter", name)
    except UnknownNameError as error:
        error.what = f"--format: {name!r} is not a format"
        raise


def settings(pairs: list[str]) -> tuple[dict, dict]:
    """`--set export.max_length=256 --set quantize.block_size=64` as {"max_length": 256} and
    {"block_size": 64}; nothing else can still be set.

    Raises:
        RecipeError: a key outside the tables `[export]` and `[quantize]`.
    """
    from modelzoo.recipe import parse_set

    tables: dict[str, dict] = {"export": {}, "quantize": {}}
    for key, value in parse_set(pairs).items():
        table_name, dot, name = key.partition(".")
        if not dot or not name or table_name not in tables:
            near = nearest(table_name, tables) if dot else "export"
            raise RecipeError(
                f"--set {key}: a model that exists takes export.* and quantize.* only",
                did_you_mean=f"{near}.{name if dot else key}" if near else None,
                next_step="other values are set by `modelzoo build --set`",
            )
        tables[table_name][name] = value
    return tables["export"], tables["quantize"]


def summary(report, path: str) -> str:
    """What was written, how large it is, and how near to Keras."""
    manifest, parity = report.manifest, report.parity
    size = parity.get("bytes")
    head = f"{path}: {manifest['name']}, {manifest['format']}, {manifest['precision']}"
    if size is not None:
        head += f", {size:,} bytes"
    cut = parity.get("vocabulary")
    if cut:
        head += f", {cut['tokens']:,} of {cut['of']:,} tokens"
    weights = WARNINGS.get(parity.get("weights"))
    said = f"{verdict(parity)}\n{weights}" if weights else verdict(parity)
    return f"{head}\n{said}\n\n{figures(parity)}"


def verdict(parity: dict) -> str:
    """What the figures mean, in one sentence.

    Example:
        >>> held_out = {"metric": "label_agreement", "texts": 64, "float32": 1.0}
        >>> verdict({"held_out": {**held_out, "bundle": 63 / 64}})
        'answers as Keras does: the same label for 63 of 64 held-out texts'
    """
    held_out, greedy = parity.get("held_out"), parity.get("generation", {}).get("greedy")
    how = "every output is within the allowed error"
    if greedy:
        how = f"the same text, {greedy['equal']} of {greedy['compared']} tokens"
    elif held_out and held_out["metric"] == "perplexity":
        same = round(held_out["argmax_agreement"] * held_out["tokens"])
        how = f"the same next token at {same} of {held_out['tokens']} places"
    elif held_out:
        count, of = held_out["texts"], held_out.get("of", "texts")
        found, right = (round(held_out[key] * count) for key in ("bundle", "float32"))
        how = f"the same label for {found} of {count} held-out {of}"
        if held_out["metric"] != "label_agreement":
            how = f"finds {found} of {count} held-out {of} again, and Keras finds {right}"
    return f"answers as Keras does: {how}"


def figures(parity: dict) -> str:
    """A line a signature: its worst output; then generation as a whole."""
    from modelzoo.exporting.bundle.readme import worst_output

    rows = []
    for name, outputs in parity["signatures"].items():
        if outputs:
            key = worst_output(outputs)
            rows.append(_row(name, key, outputs[key]))
    generation = parity.get("generation", {})
    rows += [
        _row("generation", key, value)
        for key, value in generation.items()
        if isinstance(value, dict) and "allowed" in value
    ]
    header = ("against Keras", "output", "max error", "allowed", "cosine")
    text = table(header, rows, right="max error,allowed,cosine")
    greedy = generation.get("greedy")
    if greedy:
        ties = f" ({greedy['ties']} ties)" if greedy["ties"] else ""
        text += f"\n\ngreedy text: {greedy['equal']} of {greedy['compared']} tokens equal{ties}"
    held_out = parity.get("held_out")
    if held_out:
        text += (
            f"\n\nheld out, {held_out['metric']}: {held_out['bundle']:.4g} against "
            f"{held_out['float32']:.4g} in float32 ({held_out['change']:+.2%}; "
            f"{held_out['allowed']:+.0%} is allowed)\n"
            f"held out: {_held_out_data(held_out)}"
        )
    return text


def _held_out_data(figures: dict) -> str:
    if "of" in figures:
        return f"{figures['of']} made for the test"
    return "paragraphs of the docstrings of Python's standard library"


def _row(name: str, key: str, figure: dict) -> tuple:
    numbers = (f"{figure[n]:.2g}" for n in ("max_abs_error", "allowed"))
    return (name, key, *numbers, f"{figure['cosine']:.6f}")
