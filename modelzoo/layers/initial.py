"""How a matrix or table of the zoo begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras

_BLANK: ContextVar[bool] = ContextVar("_BLANK", default=False)


def normal(stddev: float) -> keras.initializers.Initializer:
    """Normal with mean 0; within `blank_weights()` zeros."""
    if _BLANK.get():
        return keras.initializers.Zeros()
    return keras.initializers.RandomNormal(stddev=stddev)


@contextmanager
def blank_weights() -> Iterator[None]:
    """Layers that are made here get their values later, so drawing random ones is no use."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)
