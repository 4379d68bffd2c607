"""LiteRT and TensorFlow log straight to file descriptor 2; this keeps that off a terminal."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LEVEL, _SILENT = "TF_CPP_MIN_LOG_LEVEL", "3"
_LOG_LINE = re.compile(
    r"INFO: |WARNING: \[|ERROR: \[|└ |VERBOSE: "  # LiteRT
    r"|[IW]\d{4} |WARNING: All log messages before absl|To enable the following instructions"
)


class _Held:
    """File descriptor 2 led into a file, by all threads that hold the log at once.

    A descriptor belongs to the process: the first one leads it away, and the last one back.
    """

    def __init__(self):
        self.kept = os.dup(2)
        self.file = tempfile.TemporaryFile("w+b")  # noqa: SIM115  closed by `release`
        self.users = 0
        _flush()
        os.dup2(self.file.fileno(), 2)

    def text(self, start: int = 0) -> str:
        # Without moving the position, which descriptor 2 shares.
        return os.pread(self.file.fileno(), self.size() - start, start).decode("utf-8", "replace")

    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def release(self) -> None:
        _flush()
        os.dup2(self.kept, 2)
        os.close(self.kept)
        for line in self.text().splitlines(keepends=True):
            if not _LOG_LINE.match(line):
                os.write(2, line.encode())
        self.file.close()


_lock = threading.Lock()
_held: _Held | None = None


@contextmanager
def native_log() -> Iterator[Callable[[], str]]:
    """Hold the log back; yields a function that returns what there is of it so far.

    LiteRT writes some twenty lines about absent accelerators to file descriptor 2 at each start,
    and has no switch. Whatever else was written there meanwhile is passed on. Several threads may
    hold it at once; each then sees the lines of the others too.
    """
    global _held
    with _lock:
        try:
            held = _held = _held or _Held()
        except OSError:  # a daemon without standard error has nothing to keep clean
            held = None
        else:
            held.users += 1
            start = held.size()
    if held is None:
        yield lambda: ""
        return
    try:
        yield lambda: held.text(start)
    finally:
        with _lock:
            held.users -= 1
            if not held.users:
                _held = None
                held.release()


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Where TensorFlow is imported: it keeps to itself what it says to its own developers.

    A line about an absent GPU and the like, then and later. A user who has set
    `TF_CPP_MIN_LOG_LEVEL` sees what it lets through.
    """
    if os.environ.setdefault(LEVEL, _SILENT) != _SILENT:
        yield
        return
    with native_log():  # the first lines come before TensorFlow looks at the variable
        yield


def mute_exit() -> None:
    """Native code reports what it tears down after Python is gone; Python's own messages stay."""
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
