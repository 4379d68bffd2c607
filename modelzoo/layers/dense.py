"""Dense layers and tables of the zoo: how their weights begin."""

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


def projection(units: int, stddev: float, **kwargs) -> keras.layers.Dense:
    """A dense layer whose kernel starts normal with `stddev`; `kwargs` are those of `Dense`.

    Example:
        >>> projection(4, 0.02, use_bias=False).use_bias
        False
    """
    return keras.layers.Dense(units, kernel_initializer=normal(stddev), **kwargs)


@contextmanager
def blank_weights() -> Iterator[None]:
    """Layers that are made here get their values later, so drawing random ones is of no use."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)
