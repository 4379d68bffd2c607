"""What `modelzoo run` reads: the command line, standard input, a context."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator

from modelzoo.cli.media_inputs import near_file, path_of
from modelzoo.data.files import read_lines
from modelzoo.errors import DataError

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_FILE_NAME = re.compile(r"\S+\.[A-Za-z]\w{1,4}")


def inputs(args: argparse.Namespace) -> Iterable[str]:
    """The text of the command line, or the lines of standard input."""
    if args.input not in (None, "-"):
        return [args.input]
    if args.input is None and sys.stdin.isatty():
        raise DataError(
            "no input", next_step=f'modelzoo run {args.model} "some text", or - for standard input'
        )
    return standard_input()


def standard_input() -> Iterator[str]:
    """The lines of standard input, without their ends.

    Raises:
        DataError: bytes that are not text.
    """
    number = 0
    try:
        for line in sys.stdin:
            number += 1
            yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input is not {error.encoding}: {error.reason}",
            where=f"standard input, after line {number}",
            next_step="convert it: iconv -f ENCODING -t UTF-8",
        ) from error


def unescaped(text: str) -> str:
    r"""A text of the command line with `\n`, `\t`, `\r` and `\\` as the characters they stand for.

    >>> unescaped(r"a\n") == "a" + chr(10), unescaped(r"a\\n") == r"a\n"
    (True, True)
    """
    return re.sub(r"\\([ntr\\])", lambda found: _ESCAPES[found[1]], text)


def context_of(value: str) -> str:
    """The text of `--context`: that of the file, where there is one of this name.

    Raises:
        DataError: the file cannot be read; what looks like the name of a file is not one.
    """
    path = path_of(value)
    if path is not None:
        return "".join(read_lines(path))
    if _FILE_NAME.fullmatch(value):
        raise DataError(
            f"no such file: {value}",
            did_you_mean=near_file(value),
            next_step="--context takes a file, or the text itself",
        )
    return value
