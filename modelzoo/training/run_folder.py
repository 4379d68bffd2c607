"""The folder of a training that is under way: `OUTPUT.training`.

It is there until the model is written; the TensorBoard log stays.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from modelzoo.errors import ModelDirectoryError, OutputError
from modelzoo.files import read_json, write_atomic
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.training.checkpoint import read_state


class RunFolder:
    """Paths of a run, and whether a run that is asked for is the one in the folder.

    Attributes:
        settings: what must be the same for a run to go on (JSON).
        tokenizer: the run's, for the text must be cut as before.
        checkpoint, best: of the last step, and of the best validation.
        log: TensorBoard's.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.settings = self.path / "run.json"
        self.tokenizer = self.path / "tokenizer.json"
        self.checkpoint = self.path / "checkpoint.npz"
        self.best = self.path / "best.npz"
        self.log = self.path / "log"
        self._files = (self.checkpoint, self.best, self.settings, self.tokenizer)

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
            raise OutputError(
                f"an unfinished run with another {' and another '.join(changed)} is there "
                f"({read_state(self.checkpoint).get('done', 0):,} batches done)",
                where=self.path,
                next_step="give the same command to go on with it, or --restart to forget it",
            )
        return True

    def begin(self, settings: dict, tokenizer: Tokenizer | None) -> None:
        """Make the folder of a new run; of another that was there, nothing stays."""
        self.clear()
        shutil.rmtree(self.log, ignore_errors=True)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        if tokenizer is not None:
            tokenizer.save(self.tokenizer)
        write_atomic(self.settings, json.dumps(settings, indent=1))

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
