"""Disks that are full: every writer fails at any of its file operations, or beyond a size.

Nothing is half-written then, what stood there is as it was, nothing else is left, and the same
call works once there is room.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.files import new_directory, write_atomic
from modelzoo.runtime.bundle import write_manifest
from modelzoo.runtime.search.index import write_vectors
from tests import small
from tests.faults.group import Group
from tests.faults.groups import good
from tests.faults.outcome import Lost

_CREATES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate"}


class _Disk:
    """The file operations of this process that need room, counted below one folder."""

    def __init__(self):
        self.folder, self.left = "", -1
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple) -> None:
        if self.left < 0 or not (event in _CREATES or (event == "open" and _writes(*args[1:3]))):
            return
        if not isinstance(args[0], str | bytes | os.PathLike):
            return
        if os.fsdecode(args[0]).startswith(self.folder):
            self.left -= 1
            if self.left < 0:
                self.left = 0  # full for all that follows, too
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def full_after(self, operations: int, folder: Path) -> Iterator[None]:
        self.folder, self.left = str(folder), operations
        try:
            yield
        finally:
            self.left = -1


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@cache
def _disk() -> _Disk:
    return _Disk()


@cache
def _model():
    return small.with_tokenizer()


def _atomic(target: Path) -> None:
    write_atomic(target, b"x" * 5000)


def _directory(target: Path) -> None:
    with new_directory(target, force=True) as folder:
        (folder / "manifest.json").write_bytes(b"x" * 100)
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x" * 5000)


def _manifest(target: Path) -> None:
    with new_directory(target, force=True) as folder:
        (folder / "m").write_bytes(b"x" * 5000)
        stated = {"name": "n", "task": "t", "format": "f", "model": "m", "signatures": {}}
        write_manifest(folder, stated)


def _vectors(target: Path) -> None:
    write_vectors(target, "m", {bytes([n]) * 32: np.ones(200, np.float32) for n in range(9)})


def _tokenizer(target: Path) -> None:
    _model().tokenizer.save(target)


def _save(target: Path) -> None:
    from modelzoo.building.directory import save

    save(_model(), target, force=True)


def _weights(target: Path) -> None:
    from modelzoo.weights import write_checkpoint

    write_checkpoint(_model(), target, force=True)


def _checkpoint(target: Path) -> None:
    from modelzoo.training.checkpoint import save_checkpoint

    save_checkpoint(target, _model(), {"done": 1})


# Writer -> bytes that it writes at the most, about.
_WRITERS: dict[Callable[[Path], None], int] = {
    _atomic: 5000,
    _directory: 5000,
    _manifest: 5000,
    _vectors: 8000,
    _tokenizer: 8000,
    _save: 200_000,
    _weights: 100_000,
    _checkpoint: 300_000,
}


def _make(random: Random, folder: Path) -> tuple[Callable, Path, bool, int | None, int | None]:
    write = random.choice(list(_WRITERS))
    operations = random.randrange(12) if random.random() < 0.6 else None
    size = None if operations is not None else random.randrange(_WRITERS[write])
    return write, folder / "target", random.random() < 0.6, operations, size


def _use(made: tuple[Callable, Path, bool, int | None, int | None]) -> None:
    write, target, replaces, operations, size = made
    _model()
    if replaces:
        write(target)
    before, failed = _content(target.parent), None
    try:
        if operations is not None:
            with _disk().full_after(operations, target.parent):
                write(target)
        else:
            with small.files_of_at_most(size or 0):
                write(target)
    except ModelzooError as error:
        failed = error
        _compare("after the failure", _content(target.parent), before)
    write(target)
    others = {name for name in _content(target.parent) if not name.startswith("target")}
    if others:
        raise Lost(f"left behind: {sorted(others)}")
    if failed is not None:
        raise failed


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"folder"
        for path in folder.rglob("*")
    }


def _compare(when: str, now: dict[str, bytes], before: dict[str, bytes]) -> None:
    gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    other = sorted(name for name in now.keys() & before.keys() if now[name] != before[name])
    if gone or new or other:
        raise Lost(f"{when}: gone {gone}, new {new}, changed {other}")


GROUPS = (Group("disk", "writers on a full disk", _make, _use, 400, 8, good.keras_side),)
