"""Unfinished files: names that nobody guesses, locks, and an end for what killed processes left.

A lock is the kernel's (flock) and goes with its process. What is named as an unfinished file of
ours, and whose lock nobody holds, is litter.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Busy", "beside", "claimed_file", "left_over", "locked", "scratch", "sweep"]

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EISDIR)
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_OWNER = re.compile(r"\d+-[0-9a-f]{16}")  # a process and a random number
_FAR = 1 << 30  # Windows locks bytes, and nobody can read those


class Busy(Exception):
    """Another process, `pid` (text), or another thread has the lock."""

    def __init__(self, pid: str):
        super().__init__(pid)
        self.pid = pid


def beside(path: Path, ending: str) -> Path:
    """A hidden path in the same folder, with this process's number and a random one."""
    return path.with_name(f".{path.name}.{_owner()}.{ending}")


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of `path`, a file next to it, for the length of a `with` block.

    Yields: whether there is a lock; some file systems have none.

    Raises:
        Busy: somebody holds it.
        OSError: the folder is not writable.
    """
    lock = path.with_name(f".{path.name}.modelzoo-lock")
    while True:
        descriptor = os.open(lock, _OPEN, 0o666)
        held = _try_lock(descriptor)
        if held is False:
            pid = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise Busy(pid)
        if _is_at(descriptor, lock):
            break
        os.close(descriptor)  # the one before us removed it in between
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        yield bool(held)
    finally:
        ours = _is_at(descriptor, lock)
        if os.name == "nt":  # removes no open file, and so none that another holds by now
            os.close(descriptor)
        with suppress(OSError):
            if ours:
                os.unlink(lock)
        if os.name != "nt":
            os.close(descriptor)


def claimed_file(path: Path) -> tuple[Path, int | None]:
    """A new empty file beside `path`, and the descriptor that locks it; None on Windows."""
    while True:
        temporary = beside(path, "tmp")
        descriptor = os.open(temporary, _OPEN | os.O_EXCL, 0o666)
        if os.name == "nt":  # which renames no open file
            os.close(descriptor)
            return temporary, None
        if _try_lock(descriptor) is not False and _is_at(descriptor, temporary):
            return temporary, descriptor
        os.close(descriptor)  # another process took it for litter, in this moment


def left_over(path: Path, ending: str, *, folders: bool) -> list[Path]:
    """What has a name by `beside(path, ending)`, files or folders; some may be in use."""
    return _owned(path.parent, f".{path.name}.", f".{ending}", folders)


def sweep(paths: list[Path]) -> None:
    """Remove those of unfinished files and folders whose lock nobody holds."""
    for path in paths:
        with suppress(OSError):  # another process sweeps as well, or it is another user's
            if os.name == "nt" and path.is_dir():
                shutil.rmtree(path)
                continue
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _try_lock(descriptor) is True:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for this user's eyes in the system's place for temporary files; gone afterwards.

    Those of processes that were killed go too.
    """
    import tempfile

    common = Path(tempfile.gettempdir())
    if os.name != "nt":
        found = _owned(common, "modelzoo-", "", folders=True)
        sweep([path for path in found if path.lstat().st_uid == os.getuid()])
    while True:
        folder = common / f"modelzoo-{_owner()}"
        folder.mkdir(0o700)
        if os.name == "nt":
            descriptor = None
            break
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if _try_lock(descriptor) is not False and _is_at(descriptor, folder):
                break
            os.close(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _owner() -> str:
    return f"{os.getpid()}-{os.urandom(8).hex()}"


def _owned(folder: Path, prefix: str, suffix: str, folders: bool) -> list[Path]:
    """Files or folders called by `_owner` between a prefix and a suffix; no links."""
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.name.startswith(prefix)
                and entry.name.endswith(suffix)
                and _OWNER.fullmatch(entry.name[len(prefix) : len(entry.name) - len(suffix)])
                and entry.is_dir(follow_symlinks=False) is folders
                and not entry.is_symlink()
            ]
    except OSError:  # whoever writes there next says what is wrong with the folder
        return []


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool | None:
    """Take the lock of an open file: True, or False where another has it; None: no such thing."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(
                    descriptor, 0, os.SEEK_SET
                )  # whoever holds it has written its number there
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True
