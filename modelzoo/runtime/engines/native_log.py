"""LiteRT and TensorFlow log straight to file descriptor 2; this keeps that off a terminal."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_LOG_LINE = re.compile(
    r"INFO: |WARNING: \[|ERROR: \[|└ |VERBOSE: "  # LiteRT
    r"|[IW]\d{4} |WARNING: All log messages before absl|To enable the following instructions"
)


@contextmanager
def native_log() -> Iterator:
    """Hold the log back; yields a function that returns what there is of it so far.

    LiteRT writes some twenty lines about absent accelerators to file descriptor 2 at each start,
    and has no switch. Whatever else was written there meanwhile is passed on.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a daemon without standard error has nothing to keep clean
        yield lambda: ""
        return
    _flush()
    with tempfile.TemporaryFile("w+b") as file:

        def text() -> str:
            file.seek(0)
            return file.read().decode("utf-8", "replace")

        os.dup2(file.fileno(), 2)
        try:
            yield text
        finally:
            _flush()
            os.dup2(kept, 2)
            os.close(kept)
            for line in text().splitlines(keepends=True):
                if not _LOG_LINE.match(line):
                    os.write(2, line.encode())


def mute_exit() -> None:
    """Native code tells what it tears down after Python is gone; Python's own messages stay."""
    if sys.stderr is not None and sys.stderr is sys.__stderr__:
        _flush()
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def errors_in(log: str) -> str:
    """The error lines of a log, to be shown below a message."""
    lines = [line for line in log.splitlines() if line.startswith("ERROR: ")]
    return "".join(f"\n    {line}" for line in lines)
