"""A reader that is broken on purpose, in each of the ways that the suite must report."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from modelzoo.errors import DataError, nearest
from tests.faults.children import Limits
from tests.faults.group import Group
from tests.faults.outcome import MARK, Lost

LIMITS = Limits(cpu=0.5, wall=1.0, patience=0.5, memory=150, address_space=600)


def _fills_memory() -> None:
    block = bytearray(200 << 20)
    block[::4096] = b"x" * len(block[::4096])


def _never_ends() -> None:
    while True:
        pass


def _deaf(then: Callable[[], object]) -> None:
    """As native code is: no handler of a signal runs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGPROF])
    then()


def _reads_wrongly() -> None:
    {}["missing"]


# What a case does -> what the suite must call it.
WAYS = (
    (lambda folder: None, "ok"),
    (lambda folder: _refuses("the file is damaged"), "refused"),
    (lambda folder: _refuses("found \ud800", _Raw), "unclear"),
    (lambda folder: _refuses("x" * 10_000, _Raw), "unclear"),
    (lambda folder: _reads_wrongly(), "internal"),
    (lambda folder: ctypes.string_at(0), "crash"),
    (lambda folder: nearest(_Deadly(), ()), "crash"),
    (lambda folder: os._exit(3), "crash"),
    (lambda folder: _never_ends(), "hang"),
    (lambda folder: time.sleep(60), "hang"),
    (lambda folder: _deaf(_never_ends), "hang"),
    (lambda folder: _deaf(lambda: time.sleep(60)), "hang"),
    (lambda folder: _fills_memory(), "memory"),
    (lambda folder: (folder / MARK).mkdir(), "ran"),
    (lambda folder: _loses(), "lost"),
    (lambda folder: bytearray(1 << 40), "internal"),
    (lambda folder: nearest(7, ()), "internal"),
    (lambda folder: subprocess.run([sys.executable, "-c", ""], check=True), "ok"),
)


class _Deadly(str):
    """A name that ends the process as soon as the package looks at it."""

    def lower(self) -> str:
        return str(ctypes.string_at(0))


class _Raw(DataError):
    """An error that shows all of what it is told, as it is."""

    def __str__(self) -> str:
        return self.what


def _refuses(what: str, kind: type[DataError] = DataError) -> None:
    raise kind(what)


def _loses() -> None:
    raise Lost("the old file is gone")


def _make(random: Random, folder: Path) -> tuple[int, Path]:
    return int(folder.name.removeprefix("self-test-")), folder


def _use(made: tuple[int, Path]) -> None:
    number, folder = made
    if number >= 0:
        WAYS[number][0](folder)


GROUP = Group("self-test", "a broken reader", _make, _use, len(WAYS), len(WAYS))
