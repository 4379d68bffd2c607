"""A second Python with this one's import path, which never imports from the working directory.

Its standard output is for the answer alone: the child takes it with `answer_stream`, and what
libraries print goes to standard error. Whatever happens, the child and all that it started are
gone when the call returns or raises.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from modelzoo.errors import ModelzooError

__all__ = ["Died", "Ended", "answer_stream", "call", "environment", "run", "start"]

_HOME = str(Path(__file__).resolve().parents[1])


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        output: all of its standard output.
        log: all of its standard error.
    """

    code: int
    output: bytes
    log: str

    @property
    def answer(self) -> str:
        """The last line of the output."""
        return self.output.decode("utf-8", "replace").strip().rpartition("\n")[2]

    @property
    def last_words(self) -> str:
        """The last line of the log, which is the error that ended a Python."""
        return self.log.strip().rpartition("\n")[2]


class Died(Exception):
    """A child ended without an answer; `ended` says how."""

    def __init__(self, ended: Ended):
        said = f": {ended.last_words}" if ended.last_words else ""
        super().__init__(f"exit code {ended.code}{said}")
        self.ended = ended


def environment(**changes: str) -> dict[str, str]:
    """This process's environment for a child, with `PYTHONPATH` and `changes` set.

    The path is this one's, in absolute terms and without the entry for the working directory.
    """
    stated = (entry for entry in sys.path if os.path.normpath(entry) != os.curdir)
    path = [os.path.abspath(entry) for entry in stated]
    if _HOME not in path:  # modelzoo itself was found in the working directory, or by a hook
        path.insert(0, _HOME)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **changes}


@contextmanager
def start(
    module: str,
    *arguments: str,
    stderr: int | BinaryIO = subprocess.PIPE,
    cwd: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -P -m module arguments`, for the length of a `with` block.

    Args:
        stderr: where the log goes; its default is a pipe, which somebody must read.
        cwd: the child's working directory. Default: this process's.
        variables: of the child's environment, in addition to `environment()`.

    Returns: a `Popen` with pipes to its standard input and from its standard output. When the
    block ends, by Ctrl-C too, the child is killed with everything that it has started.

    Example:
        >>> with start("json.tool") as child:
        ...     child.communicate(b"[1]")[0].split()
        [b'[', b'1', b']']
    """
    child = None
    try:
        with _signals_wait():  # a child that has begun and has no name yet could not be killed
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=cwd,
                env=environment(**(variables or {})),
                start_new_session=True,  # a group, to kill as one; Ctrl-C is the parent's decision
            )
        yield child
    finally:
        if child is not None and child.returncode is None:
            _kill(child)
        for pipe in (child.stdin, child.stdout, child.stderr) if child is not None else ():
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what it was to read, and never will
                    pipe.close()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and requests to end are answered when the block has ended, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield  # other threads get no signals
        return
    came: list[tuple] = []
    names = (name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
    handlers = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda *arguments: came.append(arguments))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if came:
            ours[came[0][0]](*came[0])


def run(
    module: str,
    *arguments: str,
    input: bytes = b"",
    timeout: float | None = None,
    cwd: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    """Run `python -P -m module arguments` to its end.

    Args:
        input: all of its standard input.
        timeout: in seconds.
        cwd, variables: see `start`.

    Raises:
        TimeoutError: it did not end in time, and was killed.

    Example:
        >>> run("json.tool", "--compact", input=b"[1, 2]").answer
        '[1,2]'
    """
    with start(module, *arguments, cwd=cwd, variables=variables) as child:
        try:
            output, log = child.communicate(input, timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{module} did not end within {timeout:g} s") from error
    return Ended(child.returncode, output, log.decode("utf-8", "replace"))


def call(function: Callable, *arguments: Any, variables: Mapping[str, str] | None = None) -> Any:
    """`function(*arguments)` in a child: its memory and its global state are not this process's.

    Args:
        function: of a module that can be imported; it and the arguments are pickled.
        variables: see `start`.

    Returns: what the function returns.

    Raises:
        ModelzooError: the function's own.
        Died: any other error, or the process was killed.

    Example:
        >>> call(sum, [1, 2, 3])
        6
    """
    job = pickle.dumps((function, arguments))
    ended = run("modelzoo.child_process", input=job, variables=variables)
    if ended.code:
        raise Died(ended)
    answer = pickle.loads(ended.output)
    if isinstance(answer, ModelzooError):
        raise answer
    return answer


def answer_stream() -> BinaryIO:
    """The child's side: its standard output; what is printed from now on goes to the log."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Before the child is waited for: until then no other process can have its number."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _answer_call() -> None:
    with answer_stream() as answers:
        function, arguments = pickle.load(sys.stdin.buffer)
        try:
            answer = function(*arguments)
        except ModelzooError as error:
            answer = error
        pickle.dump(answer, answers)


if __name__ == "__main__":
    _answer_call()
