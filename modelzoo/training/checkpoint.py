"""One file that holds a whole training: weights, optimizer, random state, and how far it is.

The file appears by a rename, so whenever the process is killed there is one that is whole.
"""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from modelzoo.errors import ModelDirectoryError
from modelzoo.files import replacing

STATE = "state.json"
_ANEW = "start anew with --restart"


def save_checkpoint(path: Path, model, state: dict) -> None:
    """Write all variables of the model and its optimizer, and `state` (JSON), to `path`.

    Raises:
        OutputError: not enough room; the checkpoint from before stands.
    """
    arrays = {f"v{i}": np.asarray(value) for i, value in enumerate(_variables(model))}
    arrays[STATE] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    way_on = "make room and start the same command again: it goes on where it was"
    with (
        replacing(path, title=f"the checkpoint {path}", next_step=way_on) as temporary,
        open(temporary, "wb") as file,
    ):
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def read_state(path: Path) -> dict:
    """The `state` of a checkpoint.

    Raises:
        ModelDirectoryError: not a checkpoint, or a damaged one.
    """
    with _opened(path) as file:
        return json.loads(bytes(file[STATE]))


def load_checkpoint(path: Path, model) -> dict:
    """Set all variables of the model and its built optimizer; returns `state`."""
    variables = _variables(model)
    with _opened(path) as file:
        if len(file.files) != len(variables) + 1:
            raise ModelDirectoryError(
                "the checkpoint is of another model", where=path, next_step=_ANEW
            )
        for i, variable in enumerate(variables):
            value = file[f"v{i}"]
            # numpy has no bfloat16: it comes back as two opaque bytes.
            variable.assign(value.view(variable.dtype) if value.dtype.kind == "V" else value)
        return json.loads(bytes(file[STATE]))


def _variables(model) -> list:
    # The optimizer's must exist before they are set, or what is set is lost.
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


@contextmanager
def _opened(path: Path):
    try:
        with open(path, "rb") as raw, np.load(raw) as file:
            yield file
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ModelDirectoryError(
            f"the checkpoint cannot be read: {error}", where=path, next_step=_ANEW
        ) from error
