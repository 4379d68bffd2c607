"""Kill a command before each of its file operations, give it again, and see what stands then.

    outcomes = sweep(["build", "gpt-tiny", "-o", "m", "--force"], template, work)

File operations are what Python's audit hooks report below the working directory: files opened for
writing, renames, removals, new folders. The heavy imports are done once, in a process that forks
for each try.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

__all__ = ["Outcome", "sweep"]

_ROOT = Path(__file__).resolve().parents[2]
_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

Files = dict[str, str]  # relative path -> sha256, "" for a folder


@dataclass(frozen=True)
class Outcome:
    """What came of one kill.

    Attributes:
        number: of the file operation before which the process was killed, from 1 on.
        operation: that operation.
        left: what the killed process left.
        again: the exit code of the same command after that.
        said: what it printed.
        after: what stands in the end.
    """

    number: int
    operation: str
    left: Files
    again: int
    said: str
    after: Files


def sweep(
    command: Sequence[str],
    template: Path,
    work: Path,
    *,
    most: int | None = None,
    setup: str | None = None,
    imports: Sequence[str] = ("keras", "safetensors.numpy", "tokenizers", "modelzoo.weights"),
) -> list[Outcome]:
    """Kill `modelzoo COMMAND` before its first file operation, before its second, and so on.

    Args:
        template: a folder; a copy of it is the working directory of each try.
        work: where the copies lie; they are removed.
        most: try at most so many operations, the first and the last among them. Default: all.
        setup: "module:function", called before the command, to replace what takes too long.
        imports: modules that every try needs, imported once.

    Raises:
        AssertionError: the command fails without a kill.

    Example:
        >>> sweep(["cp", "gpt-tiny", "mine.toml"], template, work)[0].again
        0
    """
    job = {"command": [*command], "template": str(template), "work": str(work)}
    job |= {"most": most, "setup": setup, "imports": [*imports]}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kills"],
        input=json.dumps(job),
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def chosen(total: int, most: int | None) -> list[int]:
    """At most so many of the numbers 1 to `total`, evenly, the first and the last among them.

    >>> chosen(9, 3), chosen(3, 5)
    ([1, 5, 9], [1, 2, 3])
    """
    if most is None or most >= total:
        return [*range(1, total + 1)]
    return sorted({1 + round(place * (total - 1) / max(most - 1, 1)) for place in range(most)})


def files(folder: Path) -> Files:
    """All that is below a folder, hidden or not."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


# === The process that forks ===


def _serve(job: dict) -> Iterator[dict]:
    for module in ("modelzoo.cli", *job["imports"]):
        import_module(module)
    work = Path(job["work"])

    def fresh(name: str) -> Path:
        return Path(shutil.copytree(job["template"], work / name))

    folder = fresh("whole")
    code, said = _forked(job, folder, 0)
    assert code == 0, said
    total = int((folder.parent / "count").read_text())
    shutil.rmtree(folder)
    for number in chosen(total, job["most"]):
        folder = fresh(str(number))
        code, _ = _forked(job, folder, number)
        assert code == -signal.SIGKILL, code
        operation, left = (folder.parent / "operation").read_text(), files(folder)
        again, said = _forked(job, folder, 0)
        outcome = Outcome(number, operation, left, again, said, files(folder))
        shutil.rmtree(folder)
        yield vars(outcome)


def _forked(job: dict, folder: Path, number: int) -> tuple[int, str]:
    """The exit code of the command in a process of its own, and what it printed."""
    log = folder.parent / "log"
    pid = os.fork()
    if pid == 0:
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.chdir(folder)
            os._exit(_run(job, folder, number))
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), log.read_text("utf-8", "replace")


def _run(job: dict, folder: Path, number: int) -> int:
    from modelzoo import cli

    if job["setup"]:
        module, _, name = job["setup"].partition(":")
        getattr(import_module(module), name)()
    done = 0

    def look(event: str, arguments: tuple) -> None:
        nonlocal done
        if not _counts(event, arguments, folder):
            return
        done += 1
        if done == number:
            (folder.parent / "operation").write_text(f"{event} {arguments[0]}")
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    code = cli.main(job["command"])
    sys.stdout.flush()
    (folder.parent / "count").write_text(str(done))
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


if __name__ == "__main__":
    for outcome in _serve(json.loads(sys.stdin.read())):
        print(json.dumps(outcome), flush=True)
