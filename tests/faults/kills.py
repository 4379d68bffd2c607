"""Run a command in a process that is killed before one of its file operations.

File operations are what Python's audit hooks report below the working directory: files opened for
writing, renames, removals, new folders. The process is forked, so that a command costs no imports.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelzoo.runtime.user_cache import VARIABLE

__all__ = ["Ended", "Files", "files", "run"]

_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

Files = dict[str, str]  # relative path -> sha256, "" for a folder


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        said: what it printed.
        operations: how many file operations it did, unless it was killed.
        killed_before: the operation that it was killed before.
    """

    code: int
    said: str
    operations: int = 0
    killed_before: str = ""


def run(
    command: Sequence[str],
    folder: Path,
    kill_at: int = 0,
    setup: Callable[[], object] = lambda: None,
) -> Ended:
    """`modelzoo COMMAND` with `folder / "work"` as the working directory.

    Args:
        folder: whose other files are this function's: temporary files, the user's cache, a log.
        kill_at: the number of the operation before which it is killed, from 1 on; 0 is never.
        setup: called before the command, to replace what takes too long.
    """
    temporary, log, noted = (folder / name for name in ("tmp", "log", "noted"))
    temporary.mkdir(exist_ok=True)
    noted.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            _lead_output_to(log)
            os.environ[VARIABLE] = str(folder / "cache")
            tempfile.tempdir = str(temporary)
            os.chdir(folder / "work")
            setup()
            os._exit(_run(command, folder / "work", kill_at, noted))
        finally:
            os._exit(70)
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:  # the case's time is over
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    said, note = log.read_text("utf-8", "replace"), noted.read_text() if noted.exists() else ""
    if code == -signal.SIGKILL:
        return Ended(code, said, killed_before=note)
    return Ended(code, said, int(note or 0))


def files(folder: Path) -> Files:
    """All that is below a folder, hidden or not, but the events of a training."""
    return {
        path.relative_to(folder).as_posix(): _digest(path) if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith("events.out.tfevents.")
    }


def _digest(path: Path) -> str:
    if path.suffix == ".keras" and zipfile.is_zipfile(path):  # random weights, and the time
        return "a whole archive"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lead_output_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _run(command: Sequence[str], folder: Path, kill_at: int, noted: Path) -> int:
    from modelzoo import cli

    done = 0

    def look(event: str, arguments: tuple) -> None:
        nonlocal done
        if not _counts(event, arguments, folder):
            return
        done += 1
        if done == kill_at:
            noted.write_text(f"{event} {arguments[0]}")
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    code = cli.main(list(command))
    sys.stdout.flush()
    noted.write_text(str(done))
    return code


def _counts(event: str, arguments: tuple, folder: Path) -> bool:
    """Whether it is an operation that changes something below a folder."""
    path = arguments[0] if arguments else None
    if event == "open":
        if not isinstance(path, str | bytes) or not (arguments[2] & _WRITES):
            return False
    elif event not in _EVENTS:
        return False
    elif isinstance(arguments[-1], int) and arguments[-1] >= 0:
        return True  # relative to an open folder, as rmtree removes
    return os.path.abspath(os.fsdecode(path)).startswith(f"{folder}{os.sep}")
