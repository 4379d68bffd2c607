"""Commands that are killed before each of their file operations, and then given again.

Nothing is half-written, nothing is lost, the same command goes on, and no litter stays.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random

import modelzoo
from modelzoo.files import new_directory
from tests import small, written
from tests.faults.group import Group
from tests.faults.groups import good
from tests.faults.kills import Ended, Files, files, run
from tests.faults.light_export import install as light_export
from tests.faults.outcome import Lost

_STEPS = {"train.checkpoint_steps": 1, "train.steps": 2, "train.validation_fraction": 0}
_TRAIN = ["train", "gpt-tiny", "--data", "corpus.txt", *small.options(**_STEPS)]
_BUILD = ["build", "gpt-tiny", *small.options()]
_VOCABULARY = ["tokenizer", "train", "--data", "corpus.txt", "--vocab-size", "300"]
_SEARCH = ["search", "embedder", "how?", "--in", "docs"]


def _eager() -> None:
    """Tracing and compiling take most of a training of two steps, and of a search."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)


@dataclass(frozen=True)
class Command:
    """A command that is killed.

    Attributes:
        words: the command line; `{out}` is its output.
        out: the output, new, or one that stands there and is replaced.
        setup: see `kills.run`.
        replaces: whether it says `--force`.
    """

    words: list[str]
    out: str
    setup: Callable[[], None] = lambda: None

    @property
    def line(self) -> list[str]:
        return [word.format(out=self.out) for word in self.words]

    @property
    def replaces(self) -> bool:
        return "--force" in self.words


def _both(words: list[str], *old: str, **options) -> list[Command]:
    """A command that writes a new folder, and one for each kind of folder that it replaces."""
    new = Command([*words, "-o", "{out}"], "new", **options)
    return [new, *(Command([*words, "-o", "{out}", "--force"], name, **options) for name in old)]


_COMMANDS = {
    "build": _both(_BUILD, "bundle", "empty"),
    "weights": _both(["weights", "gpt"], "checkpoint", "bundle"),
    "export": _both(["export", "gpt"], "bundle", "model", setup=light_export),
    "tokenizer": _both(_VOCABULARY, "tokenizer.json"),
    "search": [
        Command([*_SEARCH, "--index", "{out}"], name, _eager) for name in ("new.npz", "docs.npz")
    ],
    "train": _both(_TRAIN, "model", setup=_eager),
}


# === What is there before ===


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    """Where the working directories are copied from; in memory, where there is such a place."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="faults-kills-", dir=memory)


@cache
def template() -> Path:
    """A working directory with texts, models and outputs, written in processes of their own."""
    folder = Path(_scratch().name) / "first" / "work"
    pid = os.fork()
    if pid == 0:
        try:
            _fill(folder)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "the models of the groups of kills cannot be written"
    indexed = run([*_SEARCH, "--index", "docs.npz"], folder.parent)
    assert indexed.code == 0, indexed.said
    (folder / "docs" / "more.md").write_text("a text that the index does not have")
    return folder


def _fill(folder: Path) -> None:
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "help.md").write_text("how do I cancel?\n\nwhere is my parcel?")
    (folder / "corpus.txt").write_text("\n".join(small.TEXTS))
    (folder / "empty").mkdir()
    gpt = small.with_tokenizer("gpt-tiny")
    modelzoo.save(gpt, folder / "gpt")
    gpt.tokenizer.save(folder / "tokenizer.json")
    values = {**small.recipe("bert-tiny").values, "task": "text-embedding", "task_options": {}}
    embedder = modelzoo.build(modelzoo.recipe.from_values(values, name="tiny-embedder"))
    pairs = [("how do I cancel?", "write to us."), ("where is it?", "so it goes.")]
    modelzoo.dataset(embedder, pairs, length=32)
    modelzoo.save(embedder, folder / "embedder")
    for name, write in (
        ("bundle", written.bundle),
        ("model", written.model_directory),
        ("checkpoint", written.checkpoint),
    ):
        write(folder / name)


@dataclass(frozen=True)
class Whole:
    """What a command does that nobody kills: its operations, and what stands then.

    Attributes:
        weights: of the model that a training has written; else nothing.
    """

    operations: int
    before: Files
    after: Files
    weights: bytes = b""


@cache
def whole(name: str) -> list[tuple[Command, Whole]]:
    """Each command of a group, run once, in a process that is forked for it."""
    good.keras_side()
    found = []
    for number, command in enumerate(_COMMANDS[name]):
        folder = _copied(Path(_scratch().name) / f"{name}-{number}")
        ended = _run(command, folder)
        assert ended.code == 0, ended.said
        found.append(
            (
                command,
                Whole(
                    ended.operations,
                    files(template()),
                    files(folder / "work"),
                    _weights(name, folder / "work" / command.out),
                ),
            )
        )
        shutil.rmtree(folder)
    return found


def _copied(folder: Path) -> Path:
    shutil.copytree(template(), folder / "work")
    return folder


def _run(command: Command, folder: Path, kill_at: int = 0) -> Ended:
    return run(command.line, folder, kill_at, command.setup)


# === A kill ===


def _make(name: str, seed: int, folder: Path) -> tuple[str, int, list[int]]:
    """A command's number, and the operations before which it is killed: each of all in turn.

    Where there are more seeds, what goes on after a kill is killed too.
    """
    commands = whole(name)
    if seed < 0:
        return name, seed % len(commands), []
    every = [
        (number, operation)
        for number, (_, one) in enumerate(commands)
        for operation in range(1, one.operations + 1)
    ]
    Random(name).shuffle(every)  # so that the first ones are of all commands
    number, operation = every[seed % len(every)]
    again = Random(f"{name} {seed}").randint(1, operation)
    return name, number, [operation, again] if seed >= len(every) else [operation]


def _use(made: tuple[str, int, list[int]]) -> None:
    name, number, kills = made
    command, expected = whole(name)[number]
    with tempfile.TemporaryDirectory(dir=_scratch().name) as place:
        folder = _copied(Path(place))
        for nth, operation in enumerate(kills):
            killed = _run(command, folder, operation)
            if not nth and killed.code != -signal.SIGKILL:
                raise Lost(f"it was not killed: exit code {killed.code}: {killed.said[-500:]}")
            _need(check_left(command, expected, files(folder / "work")), killed)
        left = files(folder / "work")
        ended = _run(command, folder)
        _need(check_end(command, expected, left, files(folder / "work"), ended.code), ended)
        litter = [path.name for path in (folder / "tmp").glob("modelzoo-*")]
        _need(f"temporary files stay: {litter}" if litter else None, ended)
        if _weights(name, folder / "work" / command.out) != expected.weights:
            _need("other weights than without the kill", ended)


def _need(fault: str | None, ended: Ended) -> None:
    if fault:
        at = ended.killed_before or f"the command after the kill: {ended.said[-500:]}"
        raise Lost(f"{fault} ({at})")


def check_left(command: Command, expected: Whole, left: Files) -> str | None:
    """What a kill has lost, or left half-written; `None` is nothing."""
    old, new, now = (_below(some, command.out) for some in (expected.before, expected.after, left))
    if now not in (old, new):
        return f"half-written: {sorted(now)}"
    return _lost(command, expected, left)


def check_end(
    command: Command, expected: Whole, left: Files, after: Files, code: int
) -> str | None:
    """What is wrong with the end of the same command; `None` is nothing."""
    new, now = _below(expected.after, command.out), _below(after, command.out)
    # A file or folder that is whole is not written again without --force; all else is.
    done = not command.replaces and _below(left, command.out) == new
    if code != 0 and not (done and code == 2):
        return f"refused after the kill, exit code {code}"
    if now != new:
        return f"half-written: {sorted(now)}"
    if after.keys() != expected.after.keys():
        return f"litter: {sorted(after.keys() ^ expected.after.keys())}"
    return _lost(command, expected, after)


def _below(found: Files, name: str) -> Files:
    """A file or a folder, without its name."""
    return {path[len(name) :]: at for path, at in found.items() if _is_in(path, name)}


def _is_in(path: str, name: str) -> bool:
    return f"{path}/".startswith(f"{name}/")


def _lost(command: Command, expected: Whole, found: Files) -> str | None:
    changed = [
        path
        for path, at in expected.before.items()
        if not _is_in(path, command.out) and found.get(path) != at
    ]
    return f"changed or gone: {changed}" if changed else None


def _weights(name: str, model: Path) -> bytes:
    """Of a training's model; else nothing, for `build` makes random ones."""
    if name != "train":
        return b""
    with zipfile.ZipFile(model / "model.keras") as archive:
        return archive.read("model.weights.h5")


# === A reader ===

_EACH = 25  # replacements of a case


def _use_reader(target: Path) -> None:
    """Replace a directory again and again, while a thread looks for it and must see it."""
    looks = missing = 0
    done = threading.Event()

    def look() -> None:
        nonlocal looks, missing
        while not done.is_set():
            looks += 1
            try:
                os.lstat(target)
            except FileNotFoundError:
                missing += 1

    written.model_directory(target)
    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(_EACH):
            with new_directory(target, force=True) as folder:
                written.model_directory(folder, str(number))
    finally:
        done.set()
        reader.join()
    if missing or looks < _EACH:
        raise Lost(f"{missing:,} of {looks:,} looks saw no directory")
    assert (target / "model.keras").read_text() == str(_EACH - 1)


# Cases: each operation of each command, and some that are killed twice.
_CASES = {"build": 70, "weights": 80, "export": 80, "tokenizer": 20, "search": 20, "train": 130}

GROUPS = (
    *(
        Group(
            f"kill-{name}",
            f"kills of `{name}`",
            partial(_make, name),
            _use,
            cases,
            2,
            partial(whole, name),
            batch=10,
            numbered=True,
            waits=600,
            counted="kills at single file operations",
        )
        for name, cases in _CASES.items()
    ),
    Group(
        "reader",
        f"a reader beside {_EACH} replacements",
        lambda random, folder: folder / "model",
        _use_reader,
        100,
        4,
        counted="replacements beside a reader",
        each=_EACH,
    ),
)
