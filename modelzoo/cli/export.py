"""modelzoo export: a model becomes a bundle for a device, and proves that it answers the same."""

from __future__ import annotations

import argparse
import sys

from modelzoo.cli.common import add_set, examples, table
from modelzoo.errors import RecipeError, nearest
from modelzoo.exporting.formats.format import DEFAULT_FORMAT
from modelzoo.exporting.quantization.precision import MODES
from modelzoo.registry import components


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "export",
        description="Convert a model to a bundle that runs without Keras, and hold it against the "
        "Keras model on the device runtime. A bundle that differs is not written.",
        epilog=examples(
            "modelzoo export runs/gpt -o gpt.bundle",
            "modelzoo export runs/gpt -o gpt.bundle --set export.max_length=256 --force",
            "modelzoo export runs/bert -o bert.bundle --quantize float32",
            "modelzoo export runs/gpt --quantize int4 --set quantize.block_size=64",
            "modelzoo export runs/t5 -o t5.bundle --format savedmodel",
        ),
    )
    parser.add_argument(
        "model", metavar="DIR|NAME", help="a model directory, or a recipe (with random weights)"
    )
    parser.add_argument("-o", "--output", metavar="BUNDLE", required=True, help="where to write it")
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
    add_set(parser)
    parser.add_argument("--force", action="store_true", help="replace an existing BUNDLE")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.exporting import export_bundle

    options, quantization = settings(args.set)
    report = export_bundle(
        args.model,
        args.output,
        args.format,
        args.quantize,
        force=args.force,
        options=options,
        quantization=quantization,
        progress=show_progress,
    )
    print(summary(report, args.output))
    return 0


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


def show_progress(step: str) -> None:
    """One line a step, for who waits at a terminal."""
    if sys.stderr.isatty():
        print(f"modelzoo: {step} …", file=sys.stderr)


def summary(report, path: str) -> str:
    """What was written, how large it is, and how near to Keras."""
    manifest, parity = report.manifest, report.parity
    size = parity.get("bytes")
    head = f"{path}: {manifest['name']}, {manifest['format']}, {manifest['precision']}"
    if size is not None:
        head += f", {size:,} bytes"
    return f"{head}\n\n{figures(parity)}"


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
            f"\n\nheld-out text, {held_out['metric']}: {held_out['bundle']:.4g} beside "
            f"{held_out['float32']:.4g} in float32 ({held_out['change']:+.2%}; "
            f"{held_out['allowed']:+.0%} is allowed)"
        )
    return text


def _row(name: str, key: str, figure: dict) -> tuple:
    numbers = (f"{figure[n]:.2g}" for n in ("max_abs_error", "allowed"))
    return (name, key, *numbers, f"{figure['cosine']:.6f}")
