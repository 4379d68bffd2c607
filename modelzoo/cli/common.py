"""What the commands share: examples under `--help`, tables, numbers, JSON, `--set`."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from modelzoo.cli.elapsed import CLEAR_LINE
from modelzoo.errors import RecipeError

__all__ = [
    "EXAMPLES",
    "add_columns",
    "add_data",
    "add_pretrained",
    "add_set",
    "add_task",
    "add_trust",
    "count",
    "exact",
    "examples",
    "fitted",
    "note",
    "print_json",
    "printable",
    "table",
    "terminal_width",
    "told_warnings",
]

EXAMPLES = "examples:"  # the first line of an epilog

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def examples(*lines: str) -> str:
    """The epilog of a parser: lines that run as they stand."""
    return "\n".join([EXAMPLES, *(f"  {line}" for line in lines)])


def add_set(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Adds `--set KEY=VALUE`, repeatable; give `args.set` to `modelzoo.recipe.parse_set`.

    Args:
        more: what else to say of it in `--help`.
    """
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the recipe: num_layers=6, train.learning_rate=1e-3 (repeatable)"
        + more,
    )


def add_pretrained(parser: argparse.ArgumentParser) -> None:
    """Adds `--pretrained`."""
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="start from the published weights of the recipe (modelzoo list shows which have some)",
    )


def add_task(parser: argparse.ArgumentParser) -> None:
    """Adds `--task`."""
    parser.add_argument(
        "--task",
        metavar="TASK",
        help="what the model is for, if not what the recipe says (modelzoo list --task)",
    )


def add_data(
    parser: argparse.ArgumentParser, option: str, more: str, required: bool = False
) -> None:
    """Adds an option for data; give what it holds to `cli.data_check.data_of`."""
    parser.add_argument(
        option,
        metavar="[NAME=]PATH",
        action="append",
        default=[],
        required=required,
        help=f"{more}; of a mixture NAME=PATH for each of its parts (repeatable)",
    )


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Adds `--columns`, which becomes a dict, or `None`."""
    parser.add_argument(
        "--columns",
        metavar="FIELD=COLUMN,...",
        type=_columns,
        help="which columns of the data hold what: text=review,label=stars",
    )


def _columns(text: str) -> dict[str, str]:
    found = {}
    for pair in text.split(","):
        field, equals, column = (part.strip() for part in pair.partition("="))
        if not (field and equals and column):
            raise RecipeError(
                f"--columns {text}: {pair!r} is not FIELD=COLUMN",
                next_step="write it as --columns text=review,label=stars",
            )
        found[field] = column
    return found


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds `--trust`."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="open a bundle's model file without checking it first (see docs/safety.md)",
    )


@contextmanager
def told_warnings() -> Iterator[None]:
    """Our own warnings, each as one line on standard error when it comes."""

    def tell(message, category, *place, **more):
        if issubclass(category, UserWarning):
            note(message)
        else:
            show(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        show, warnings.showwarning = warnings.showwarning, tell
        yield


def note(message: object) -> None:
    """One line on standard error, over a line that ticks."""
    start = CLEAR_LINE if sys.stderr.isatty() else ""
    print(f"{start}note: {message}", file=sys.stderr, flush=True)


def count(number: int | None) -> str:
    """A parameter count in three digits: `124M`, `1.56B`; `-` where it is not known."""
    if number is None:
        return "-"
    for size, unit in _UNITS:
        # 999,950 is 1M, not 1000K: compare what is going to be printed.
        if float(f"{number:.3g}") >= size:
            value = number / size
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            text = f"{value:.{digits}f}"
            return (text.rstrip("0").rstrip(".") if digits else text) + unit
    return str(number)


def exact(number: int | None) -> str:
    """`124,439,808`, or that the recipe does not say."""
    return "not stated" if number is None else f"{number:,}"


def printable(text: object) -> str:
    """One line without control characters: what a plugin writes must not drive the terminal."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def terminal_width() -> int | None:
    """The columns of the terminal that standard output is, or `None` where it is a file or pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(text: str) -> str:
    """A sentence with line breaks between words where standard output is a terminal."""
    width = terminal_width()
    return text if width is None else textwrap.fill(text, width)


def clipped(text: str, width: int) -> str:
    """At most `width` columns of a text, cut between words.

    Example:
        >>> clipped("a decoder for short texts", 15)
        'a decoder for …'
    """
    return textwrap.shorten(text, width, placeholder=" …", break_on_hyphens=False)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    right: str = "",
    width: int | None = None,
) -> str:
    """Aligned columns; the columns named in `right` are set flush right. No trailing spaces.

    Args:
        width: the last column is cut between words to fit into it.
    """
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    if width is not None:
        widths[-1] = max(min(widths[-1], width - sum(widths[:-1]) - 2 * len(widths[:-1])), 1)
        for row in cells:
            row[-1] = textwrap.shorten(
                row[-1], widths[-1], placeholder=" …", break_on_hyphens=False
            )
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if name in right.split(",") else cell.ljust(width)
            for cell, width, name in zip(row, widths, header, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def print_json(value: object) -> None:
    """Prints JSON, one value, readable; a number that is none is null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
