"""Batches whose second axes differ in length, for Keras on TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras

__all__ = ["of_any_length"]


def of_any_length(batches: Iterator) -> Any:
    """What `fit` reads of batches that differ in their first two axes.

    On TensorFlow, Keras takes the shapes of all batches from the first two, so that a longer one
    that comes later is an error. Here both axes are left open.

    Args:
        batches: tuples of arrays and of dicts of arrays, all with the same other axes.

    Returns: an iterator, or a `tf.data.Dataset`, which is read once.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    first = next(batches)

    def spec(array):
        return tf.TensorSpec([None, None, *array.shape[2:]], array.dtype)

    return tf.data.Dataset.from_generator(
        lambda: itertools.chain([first], batches),
        output_signature=keras.tree.map_structure(spec, first),
    )
