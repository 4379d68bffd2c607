"""Weights that this machine has no room for are rejected before they are made."""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from modelzoo.errors import ModelzooError

__all__ = ["free_bytes", "machine_bytes", "only_shapes", "unbounded", "within_memory"]

_WIDTHS = {"float64": 8, "int64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "bool": 1}


@dataclass
class _Room:
    """Bytes of the weights that were made so far, and what they are the weights of."""

    name: str
    error: type[ModelzooError]
    most: float
    taken: int = 0


_ROOM: ContextVar[_Room | None] = ContextVar("_ROOM", default=None)
_UNBOUNDED: ContextVar[bool] = ContextVar("_UNBOUNDED", default=False)
_lock = threading.Lock()
_inside = 0  # blocks of `within_memory` under way, in all threads
_original = None


def machine_bytes() -> float:
    """Bytes of memory that the machine has; infinity where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


def free_bytes() -> float:
    """Bytes of memory that no process needs now; infinity where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration):  # not Linux, or an old one
        return math.inf


@contextmanager
def within_memory(name: str, error: type[ModelzooError]) -> Iterator[None]:
    """Layers made in the block count their weights, and stop before the machine's memory ends.

    Args:
        name: what a message calls the model.

    Raises:
        error: the weights made so far, and the next one, need more than the machine has.
    """
    _count_weights(+1)
    room = None if _UNBOUNDED.get() else _Room(name, error, machine_bytes())
    token = _ROOM.set(room)
    try:
        yield
    finally:
        _ROOM.reset(token)
        _count_weights(-1)


@contextmanager
def unbounded() -> Iterator[None]:
    """Within it nothing is rejected: for variables that get a shape and no values."""
    token = _UNBOUNDED.set(True)
    try:
        yield
    finally:
        _UNBOUNDED.reset(token)


def only_shapes() -> bool:
    """Whether this is inside of `unbounded()`: the weights that are made here have no values."""
    return _UNBOUNDED.get()


def _count_weights(step: int) -> None:
    """Have Keras ask `_take` before each weight, as long as any thread is inside of a block."""
    global _inside, _original
    from keras.layers import Layer

    with _lock:
        _inside += step
        if _inside == 1 and step == 1:
            _original = original = Layer.add_weight

            @functools.wraps(original)
            def add_weight(self, *args, **kwargs):
                _take(self, args[0] if args else kwargs.get("shape"), kwargs.get("dtype"))
                return original(self, *args, **kwargs)

            Layer.add_weight = add_weight
        elif _inside == 0:
            Layer.add_weight = _original


def _take(layer, shape, dtype) -> None:
    room = _ROOM.get()
    if room is None or not isinstance(shape, tuple | list):
        return
    if any(type(side) is not int or side < 0 for side in shape):
        return  # Keras says what is wrong with it
    width = _WIDTHS.get(str(dtype or layer.variable_dtype), 4)
    room.taken += math.prod(shape) * width
    if room.taken > room.most:
        raise room.error(
            f"{room.name} needs {room.taken / 1e9:,.1f} GB of memory for its weights up to "
            f"{layer.path}, of shape {tuple(shape)}, and this machine has {room.most / 1e9:,.1f}",
            next_step="make it smaller: --set hidden_dim=N, vocab_size=N or num_layers=N",
        )
