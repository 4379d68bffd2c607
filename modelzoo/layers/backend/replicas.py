"""What stands on other devices, where a batch is spread over several.

TensorFlow's strategies say themselves that they run several replicas. On JAX a function inside of
`shard_map` names its axis with `replicas("data")`; where arrays are merely sharded
(`keras.distribution.DataParallel`), a batch is whole in the code, and there is nothing to gather.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import keras
from keras import ops

from modelzoo.signature import Tensor

_AXIS: ContextVar[str | None] = ContextVar("_AXIS", default=None)


@dataclass(frozen=True)
class Gathered:
    """Rows of this device, those of all devices, and where among them this device's begin.

    Attributes:
        own: (B, …).
        all: (G, …), in the order of the devices.
        start: scalar int32.
    """

    own: object
    all: object
    start: object = 0

    def columns(self, start: int, end: int, flat: bool = False) -> Gathered:
        """Some of the numbers of each row; `flat` for one without an axis of its own."""
        own, every = self.own[:, start:end], self.all[:, start:end]
        if flat:
            own, every = ops.squeeze(own, 1), ops.squeeze(every, 1)
        return Gathered(own, every, self.start)

    def own_columns(self) -> Tensor:
        """(B, G) float32: 1 where a row of this device is that row of all."""
        rows = ops.arange(ops.shape(self.own)[0], dtype="int32") + self.start
        columns = ops.arange(ops.shape(self.all)[0], dtype="int32")
        return ops.cast(ops.expand_dims(rows, 1) == ops.expand_dims(columns, 0), "float32")


@contextmanager
def replicas(axis: str) -> Iterator[None]:
    """Within it, rows are gathered along a named axis of JAX."""
    token = _AXIS.set(axis)
    try:
        yield
    finally:
        _AXIS.reset(token)


def gather(x) -> Gathered:
    """The rows of all devices; every device must hold as many. Gradients find their way back.

    Example:
        >>> gather(ops.ones((2, 3))).all.shape[0]
        2
    """
    if keras.backend.backend() == "tensorflow":
        return _gather_tensorflow(x)
    if keras.backend.backend() == "jax" and _AXIS.get() is not None:
        import jax

        axis = _AXIS.get()
        start = jax.lax.axis_index(axis) * x.shape[0]
        return Gathered(x, jax.lax.all_gather(x, axis, tiled=True), start)
    return Gathered(x, x)


def _gather_tensorflow(x) -> Gathered:
    import tensorflow as tf

    context = tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None
    if context is None or context.num_replicas_in_sync == 1:
        return Gathered(x, x)
    count, place = tf.shape(x)[0], context.replica_id_in_sync_group
    start = tf.cast(place, "int32") * count

    @tf.custom_gradient
    def rows_of_all(x):
        def gradient(upstream):  # each device's rows matter to the loss of every device
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, upstream)
            return tf.ensure_shape(summed[start : start + count], x.shape)

        return tf.ensure_shape(context.all_gather(x, axis=0), (None, *x.shape[1:])), gradient

    return Gathered(x, rows_of_all(x), start)
