"""The folder of a training that is under way: `OUTPUT.training`.

It is there until the model is written; the TensorBoard log stays.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo.building.directory import MODEL_FILE
from modelzoo.errors import ModelDirectoryError, OutputError, shown
from modelzoo.files import read_json, reserved, write_atomic
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.training.checkpoint import read_state


class RunFolder:
    """Paths of a run, and whether a run that is asked for is the one in the folder.

    Attributes:
        settings: what must be the same for a run to go on (JSON); its recipe by its values.
        tokenizer: the run's, for the text must be cut as before.
        checkpoint, best: of the last step, and of the best validation.
        written: of the model that takes its place: its digest, the settings and the figures.
        log: TensorBoard's.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.settings = self.path / "run.json"
        self.tokenizer = self.path / "tokenizer.json"
        self.checkpoint = self.path / "checkpoint.npz"
        self.best = self.path / "best.npz"
        self.written = self.path / "written.json"
        self.log = self.path / "log"
        # In the order in which they are removed: what says that the run is over goes last.
        self._files = (self.checkpoint, self.best, self.tokenizer, self.settings, self.written)

    def holds(self, settings: dict) -> bool:
        """Whether there is a checkpoint of this very run, to go on from.

        Raises:
            OutputError: there is one, and of a run with other settings.
            ModelDirectoryError: its files are damaged.
        """
        if not self.checkpoint.is_file() or not self.settings.is_file():
            return False  # nothing that could be lost
        before = read_json(
            self.settings, ModelDirectoryError, next_step="start again with --restart"
        )
        changed = [key for key, value in settings.items() if before.get(key) != value]
        if changed:
            values = before.get("recipe"), settings["recipe"]
            differs = "; ".join(_differences(*values)) if "recipe" in changed else ""
            raise OutputError(
                f"an unfinished run with another {' and another '.join(changed)} is there "
                f"({read_state(self.checkpoint).get('done', 0):,} batches done)"
                + (f": {differs}" if differs else ""),
                where=self.path,
                next_step="give the same command to go on with it, or --restart to forget it",
            )
        return True

    def begin(self, settings: dict, tokenizer: Tokenizer | None) -> None:
        """Make the folder of a new run; of another that was there, nothing stays.

        Raises:
            OutputError: the folder cannot be written, or its files are not a run's.
        """
        theirs = [path for path in self._files if path.exists()]
        if theirs and not self.settings.exists() and not self.written.exists():
            raise OutputError(
                f"{theirs[0]} is not of a training, and is not replaced",
                next_step="take another output, or move it away yourself",
            )
        try:
            self.clear()
            for events in self.log.glob("events.out.tfevents.*"):
                events.unlink()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        write_atomic(self.settings, json.dumps(settings, indent=1))
        if tokenizer is not None:
            tokenizer.save(self.tokenizer)

    def end(self, model: Path, settings: dict, figures: dict[str, float]) -> None:
        """Note which model file takes the output's place: from then on the run may be cleared."""
        facts = {"model": _sha256(model), "settings": settings, "figures": figures}
        write_atomic(self.written, json.dumps(facts))

    def ended(self, model: Path) -> dict | None:
        """The settings and the figures of the run, if `model` is the file that it ended with."""
        if not self.written.is_file() or not model.is_file():
            return None
        try:
            facts = read_json(self.written, ModelDirectoryError)
        except ModelDirectoryError:  # damaged: the output is an output like any other
            return None
        figures = facts.get("figures")
        sound = isinstance(facts.get("settings"), dict) and isinstance(figures, dict)
        if not sound or not all(type(value) in (int, float) for value in figures.values()):
            return None
        return facts if facts.get("model") == _sha256(model) else None

    def sweep(self) -> None:
        """Remove files that a killed process left unfinished."""
        for path in self._files:
            for half in self.path.glob(f".{path.name}*.tmp"):
                half.unlink()

    def clear(self) -> None:
        """Remove everything but the log, and nothing that is not the run's."""
        self.sweep()
        for path in self._files:
            path.unlink(missing_ok=True)


@contextmanager
def run_of(
    output: str | os.PathLike, *, force: bool, restart: bool
) -> Iterator[tuple[RunFolder, dict | None]]:
    """The folder of the run that writes `output`, which no other process writes meanwhile.

    Yields: the folder; and what a run has noted that was killed when `output` was whole, if that
    is to be cleared and not to be forgotten.

    Raises:
        OutputError: as `files.reserved`.
    """
    run = RunFolder(f"{os.fspath(output)}.training")
    ended = None if restart else run.ended(Path(output) / MODEL_FILE)
    with reserved(output, force or ended is not None):
        yield run, ended


def _differences(before: object, now: object, key: str = "") -> Iterator[str]:
    """`train.learning_rate was 0.0003 and is 0.5` for each value of a recipe that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            inner = f"{key}.{name}" if key else name
            yield from _differences(before.get(name), now.get(name), inner)
    elif before != now and key:
        was, value = ("not set" if one is None else shown(one, 40) for one in (before, now))
        yield f"{key} was {was} and is {value}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
