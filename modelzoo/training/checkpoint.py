"""One file that holds a whole training: weights, optimizer, random state, and how far it is.

The file appears by a rename, so whenever the process is killed there is one that is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modelzoo.errors import ModelDirectoryError
from modelzoo.files import parse_json, replacing
from modelzoo.runtime.arrays import open_arrays

STATE = "state.json"
_ANEW = "start again with --restart"
_KINDS = {"done": int, "best": int | float, "waited": int, "figures": dict, "stopped": int}


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


def read_state(path: Path) -> dict:
    """The `state` of a checkpoint: batches `done`, and what `Keeper` keeps.

    Raises:
        ModelDirectoryError: not a checkpoint, or a damaged one.
    """
    with _opened(path) as file:
        return _state(file, path)


def load_checkpoint(path: Path, model) -> dict:
    """Set all variables of the model and its built optimizer; returns `state`."""
    variables = _variables(model)
    with _opened(path) as file:
        if len(file) != len(variables) + 1:
            raise ModelDirectoryError(
                "the checkpoint is of another model", where=path, next_step=_ANEW
            )
        state = _state(file, path)
        for i, variable in enumerate(variables):
            value = file[f"v{i}"]
            # numpy has no bfloat16: it comes back as two opaque bytes.
            variable.assign(value.view(variable.dtype) if value.dtype.kind == "V" else value)
        return state


def _state(file: Mapping[str, np.ndarray], path: Path) -> dict:
    state = parse_json(bytes(file[STATE]), path, ModelDirectoryError, title=STATE, next_step=_ANEW)
    for key, kind in _KINDS.items():
        if key in state and (not isinstance(state[key], kind) or isinstance(state[key], bool)):
            raise ModelDirectoryError(
                f"the checkpoint has no proper {key!r}", where=path, next_step=_ANEW
            )
    if not all(type(value) in (int, float) for value in state.get("figures", {}).values()):
        raise ModelDirectoryError(
            "the checkpoint has figures that are not numbers", where=path, next_step=_ANEW
        )
    return state


def _variables(model) -> list:
    # The optimizer's must exist before they are set, or what is set is lost.
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def _opened(path: Path):
    return open_arrays(path, ModelDirectoryError, "the checkpoint cannot be read", _ANEW)
