"""Rows of a table by their ids, in the form that suits where the graph is going.

On a device GATHER would keep a table in float32, and a second copy of one that is tied:
quantizers know tables by the operation EMBEDDING_LOOKUP. The TFLite converter makes one of a
function that says it implements it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import keras
from keras import ops

from modelzoo.signature import Tensor

_FOR_DEVICE: ContextVar[bool] = ContextVar("_FOR_DEVICE", default=False)


def is_for_device() -> bool:
    """Whether the graph that is being traced is for the TFLite converter."""
    return _FOR_DEVICE.get()


def lookup(table, ids) -> Tensor:
    """table (V, D), ids (…) int32 within 0..V-1 -> (…, D).

    Example:
        >>> tuple(lookup(ops.eye(3), ops.array([2])).shape)
        (1, 3)
    """
    if not _FOR_DEVICE.get():
        return ops.take(table, ids, axis=0)
    rows = _embedding_lookup()(ops.convert_to_tensor(table), ops.reshape(ids, (-1,)))
    return ops.reshape(rows, (*ids.shape, table.shape[-1]))


@contextmanager
def device_lookups() -> Iterator[None]:
    """Graphs that are traced in here are for the TFLite converter.

    `keras.layers.Embedding`, which a plugin's model may have, reads its table so too.
    """
    token, call = _FOR_DEVICE.set(True), keras.layers.Embedding.call
    keras.layers.Embedding.call = _embedded
    try:
        yield
    finally:
        keras.layers.Embedding.call = call
        _FOR_DEVICE.reset(token)


def _embedded(layer: keras.layers.Embedding, inputs) -> Tensor:
    """What `keras.layers.Embedding` calls, by `lookup`."""
    rows = lookup(layer.embeddings, ops.cast(inputs, "int32"))
    return ops.cast(rows, layer.compute_dtype)


@cache
def _embedding_lookup():
    import tensorflow as tf

    return tf.function(
        lambda table, ids: tf.gather(table, ids),
        autograph=False,
        experimental_implements="embedding_matmul",
    )
