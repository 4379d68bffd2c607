"""What a long command is doing, and for how long: seconds that tick on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from typing import TextIO

__all__ = ["CLEAR_LINE", "Ending", "Steps", "clock"]

CLEAR_LINE = "\r\x1b[K"


def clock(seconds: float) -> str:
    """A duration as people read it.

    Example:
        >>> clock(9.4), clock(83), clock(3723)
        ('9 s', '1:23', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Steps:
    """One line a step on standard error. On a terminal the line of a step counts its seconds;
    elsewhere a line is printed when the step begins, after the seconds since the first.

    Example:
        >>> with Steps() as step:
        ...     step("converting to tflite")
    """

    EVERY = 1.0  # seconds between ticks

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stderr
        self._ticks = self.stream.isatty()
        self._screen = _descriptor_of_its_own(self.stream) if self._ticks else self.stream
        self.begun = self._since = time.monotonic()
        self._step: str | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.end()
        if self._screen is not self.stream:
            self._screen.close()

    def __call__(self, step: str) -> None:
        """The step before has ended, and this one begins."""
        self.end()
        if not self._ticks:
            seconds = clock(time.monotonic() - self.begun)
            print(f"modelzoo: {seconds}: {step}", file=self.stream, flush=True)
            return
        self._step, self._since = step, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, args=(self._over,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the line of the step that is under way."""
        with self._lock:
            step, self._step = self._step, None
            self._over.set()
            if step is not None:
                seconds = clock(time.monotonic() - self._since)
                print(f"{CLEAR_LINE}modelzoo: {step}, {seconds}", file=self._screen, flush=True)

    def _tick(self, over: threading.Event) -> None:
        while True:
            with self._lock:
                if over.is_set():
                    return
                seconds = clock(time.monotonic() - self._since)
                # A line that wraps could not be written over.
                text = f"modelzoo: {self._step} … {seconds}"[: shutil.get_terminal_size()[0] - 1]
                print(f"{CLEAR_LINE}{text}", end="", file=self._screen, flush=True)
            over.wait(self.EVERY)


def _descriptor_of_its_own(stream: TextIO) -> TextIO:
    """A terminal once more: descriptor 2 leads elsewhere while TensorFlow is imported."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding)
    except OSError:  # not a file of the system
        return stream


class Ending:
    """A stream like that of some steps; the first thing that is written ends the step's line."""

    def __init__(self, steps: Steps):
        self._steps = steps

    def write(self, text: str) -> int:
        self._steps.end()
        return self._steps.stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._steps.stream, name)
