"""The one way that a matrix of the zoo begins."""

from __future__ import annotations

import keras

from modelzoo.layers.initial import normal


def projection(units: int, stddev: float, **kwargs) -> keras.layers.Dense:
    """A dense layer whose kernel starts normal with `stddev`; `kwargs` are those of `Dense`.

    Example:
        >>> projection(4, 0.02, use_bias=False).use_bias
        False
    """
    return keras.layers.Dense(units, kernel_initializer=normal(stddev), **kwargs)
