"""Cases in forked children with limits; a child that dies costs one case."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from tests.faults.group import Group
from tests.faults.outcome import Outcome, TooLong, judge, place_in_dump

_WORKS = 1.0  # seconds of CPU time: who used them is slow, on a busy machine, and does not wait
_RETIRES_AT = 512  # megabytes of growth, so that what a case takes can be told from earlier ones


@dataclass(frozen=True)
class Limits:
    """What one case may use.

    Attributes:
        cpu: seconds of CPU time, of all threads.
        wall: seconds, for what waits and does not work.
        patience: seconds more for the exception that ends a case in Python; then it is killed.
        memory: megabytes of growth of what is resident.
        address_space: megabytes of growth of what is mapped; more is a failed allocation.
    """

    cpu: float = 10.0
    wall: float = 60.0
    patience: float = 5.0
    memory: int = 2000
    address_space: int = 4000


@dataclass
class _Child:
    """A running child, as its parent sees it."""

    pid: int
    pipe: int
    group: Group
    waiting: list[int]
    log: Path
    text: str = ""
    seed: int | None = None
    since: float = field(default_factory=time.monotonic)
    cpu: float = 0.0
    signalled: int = 0


def run(
    work: Iterable[tuple[Group, list[int]]],
    scratch: Path,
    *,
    jobs: int = 1,
    limits: Limits | None = None,
    idle: Callable[[], object] = lambda: None,
    tell: Callable[[str], object] = lambda log: None,
) -> Iterator[Outcome]:
    """The outcomes of cases, in the order in which they end.

    Args:
        work: groups and seeds; a group is prepared when it begins.
        scratch: a folder for the inputs, which are removed as they are done.
        jobs: children at once.
        idle: called several times a second.
        tell: called with what a child, its libraries and its tracebacks said.
    """
    usual = limits or Limits()
    for group, seeds in work:
        if not seeds:
            continue
        limits = replace(usual, wall=max(usual.wall, group.waits))
        group.prepare()
        todo = [seeds[n : n + group.batch] for n in range(0, len(seeds), group.batch)][::-1]
        children: dict[int, _Child] = {}
        try:
            while todo or children:
                while todo and len(children) < jobs:
                    child = _fork(group, todo.pop(), scratch, limits)
                    children[child.pipe] = child
                ready, _, _ = select.select(list(children), [], [], 0.2)
                for pipe in ready:
                    child = children[pipe]
                    data = os.read(pipe, 1 << 16)
                    child.text += data.decode()
                    yield from _read_lines(child)
                    if not data:
                        del children[pipe]
                        yield from _buried(child, scratch, limits, tell)
                        if child.waiting:
                            todo.append(child.waiting)
                for child in children.values():
                    _hurry(child, limits)
                idle()
        finally:
            for child in children.values():
                os.kill(child.pid, signal.SIGKILL)
                os.close(child.pipe)
                os.waitpid(child.pid, 0)


# === The parent ===


def _read_lines(child: _Child) -> Iterator[Outcome]:
    *lines, child.text = child.text.split("\n")
    for line in lines:
        message = json.loads(line)
        child.since, child.cpu = time.monotonic(), _cpu_of(child.pid)
        if "begins" in message:
            child.seed = message["begins"]
            child.waiting.remove(child.seed)
        else:
            child.seed = None
            yield Outcome(**message)


def _buried(
    child: _Child, scratch: Path, limits: Limits, tell: Callable[[str], object]
) -> Iterator[Outcome]:
    """The end of a child, and the case that ended it."""
    os.close(child.pipe)
    _, status = os.waitpid(child.pid, 0)
    log = child.log.read_text("utf-8", "replace")
    child.log.unlink()
    tell(log)
    if child.seed is not None:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        late = bool(child.signalled) or number == signal.SIGXCPU
        how = f"exit code {os.waitstatus_to_exitcode(status)}"
        if number:
            how = signal.Signals(number).name
        if late:
            how = "killed after too much CPU time"
            if child.signalled:
                how = f"killed after {limits.wall + limits.patience:.0f} s"
        yield Outcome(
            child.group.name,
            child.seed,
            "hang" if late else "crash",
            how,
            place_in_dump(log),
        )
        shutil.rmtree(_folder(scratch, child.group, child.seed), ignore_errors=True)
    elif status:
        # Between two cases: nothing of modelzoo runs there, so it is the suite's own fault.
        raise RuntimeError(f"a child of {child.group.name} ended between two cases:\n{log[-2000:]}")


def _hurry(child: _Child, limits: Limits) -> None:
    """Ends a child that waits; SIGABRT makes it say where."""
    late = time.monotonic() - child.since - limits.wall - limits.patience
    if late > 0 and not child.signalled and _cpu_of(child.pid) - child.cpu > _WORKS:
        child.since, child.cpu = time.monotonic(), _cpu_of(child.pid)
        return
    if child.seed is not None and late > 0 and child.signalled < 1:
        child.signalled = 1
        os.kill(child.pid, signal.SIGABRT)
    if child.seed is not None and late > limits.patience and child.signalled < 2:
        child.signalled = 2
        os.kill(child.pid, signal.SIGKILL)


def _cpu_of(pid: int) -> float:
    """Seconds of CPU time of a process that was not waited for yet."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _folder(scratch: Path, group: Group, seed: int) -> Path:
    return scratch / f"{group.name}-{seed}"


# === The child ===


def _fork(group: Group, seeds: list[int], scratch: Path, limits: Limits) -> _Child:
    readable, writable = os.pipe()
    log = scratch / f"log-{group.name}-{seeds[0]}-{time.monotonic_ns()}"
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writable)
        return _Child(pid, readable, group, list(seeds), log)
    code = 1
    try:
        os.close(readable)
        _work(group, seeds, scratch, limits, writable, log)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _work(group: Group, seeds, scratch: Path, limits: Limits, pipe: int, log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    signal.signal(signal.SIGPROF, _too_long)
    signal.signal(signal.SIGALRM, _too_long)
    faulthandler.enable(descriptor)
    faulthandler.register(signal.SIGXCPU, descriptor, chain=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mapped = _pages(0) + (limits.address_space << 20)
    resource.setrlimit(resource.RLIMIT_AS, (mapped, mapped))
    at_start = _pages(1)
    for seed in seeds:
        folder = _folder(scratch, group, seed)
        folder.mkdir(parents=True)
        made = group.input(seed, folder)
        _say(pipe, {"begins": seed})
        outcome = _tried(group, seed, folder, made, limits)
        shutil.rmtree(folder, ignore_errors=True)
        _say(pipe, outcome.as_dict())
        grown = (_pages(1) - at_start) >> 20
        tired = max(grown, outcome.megabytes) > _RETIRES_AT
        if tired or outcome.kind in ("hang", "memory"):
            return


def _tried(group: Group, seed: int, folder: Path, made: object, limits: Limits) -> Outcome:
    """One case in this process."""
    before, peak, began = _pages(1), _peak(), _cpu()
    _allow(limits)
    try:
        found = judge(lambda: _use(group, made), folder)
    finally:
        _allow(None)
    grown = max(0, _peak() - before) >> 20 if _peak() > peak else 0
    if grown > limits.memory and found["kind"] in ("ok", "refused", "unclear"):
        found |= {"what": f"{grown} MB, then {found['kind']}", "kind": "memory"}
    seconds = round(_cpu() - began, 3)
    return Outcome(group.name, seed, **found, seconds=seconds, megabytes=grown)


def _use(group: Group, made: object) -> None:
    group.use(made)


_alarm = (0.0, 0.0)  # when it is due, in seconds from the last one, and the CPU time then


def _too_long(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGALRM and _cpu() - _alarm[1] > _WORKS:
        _set_alarm(_alarm[0])
        return
    while frame is not None and frame.f_code is not _use.__code__:
        frame = frame.f_back
    if frame is not None:  # else the case is over, and its outcome being made
        raise TooLong


def _set_alarm(seconds: float) -> None:
    global _alarm
    _alarm = seconds, _cpu()
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)


def _allow(limits: Limits | None) -> None:
    """Sets the clocks of a case, or stops them."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if limits is None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
        return
    end = int(_cpu() + limits.cpu + limits.patience) + 1  # for native code, where no handler runs
    resource.setrlimit(resource.RLIMIT_CPU, (end, hard))
    signal.setitimer(signal.ITIMER_PROF, limits.cpu, 1.0)
    _set_alarm(limits.wall)


def _say(pipe: int, message: dict) -> None:
    os.write(pipe, json.dumps(message).encode() + b"\n")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _pages(field: int) -> int:
    """Bytes that are mapped (0) or resident (1) now."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()
