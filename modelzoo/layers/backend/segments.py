"""Rows that are sorted by segment, each segment through a function with matrices of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import keras
from keras import ops

from modelzoo.signature import Tensor


def sizes_may_vary() -> bool:
    """Whether a graph may cut rows where their values say: not in JAX, and not under XLA."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        return backend != "jax"
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    return not control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def segment_map(
    function: Callable[..., Tensor], x, matrices: Sequence[Tensor], sizes, kept
) -> Tensor:
    """Put each segment of rows through a function of its rows and its own matrices.

    A segment goes through the whole function at once, so that what lies between two products stays
    in the processor's cache.

    Args:
        function: `function(rows, *matrices, times=…)` -> rows; `times` multiplies by a matrix.
        x: (R, D), first the rows of segment 0, then those of segment 1, and so on.
        matrices: each (E, …, …), one for every segment.
        sizes: (E,) int32, rows of each segment. Further rows, at the end, become zeros.
        kept: (E,) int32, rows of each segment that the function reads; the others become zeros.

    Returns: (R, F), where the function returns (…, F).

    Example:
        >>> x, matrices, sizes = ops.ones((3, 2)), ops.ones((2, 2, 1)), ops.array([1, 1], "int32")
        >>> def double(rows, matrix, times=ops.matmul):
        ...     return 2 * times(rows, matrix)
        >>> segment_map(double, x, [matrices], sizes, sizes)[:, 0].numpy().tolist()
        [4.0, 4.0, 0.0]
    """
    if keras.backend.backend() == "jax":
        return _ragged(function, x, matrices, sizes, kept)
    cuts = ops.reshape(ops.stack([kept, sizes - kept], axis=1), (-1,))
    own = zip(*(ops.unstack(one) for one in matrices), strict=True)
    *pieces, last = _split(x, cuts, 2 * sizes.shape[0])
    outputs = []
    for read, unread, mine in zip(pieces[::2], pieces[1::2], own, strict=True):
        outputs.append(function(read, *mine))
        outputs.append(_zeros(unread, outputs[0]))
    return ops.concatenate([*outputs, _zeros(last, outputs[0])], axis=0)


def _ragged(function, x, matrices, sizes, kept):
    import jax

    def times(rows, matrix):
        return jax.lax.ragged_dot(rows, matrix, sizes)

    ends = ops.cumsum(sizes)
    row = ops.arange(x.shape[0], dtype="int32")
    segment = ops.searchsorted(ends, row, side="right")
    last = ops.append(ends - sizes + kept, 0)
    read = ops.expand_dims(row < ops.take(last, segment), 1)
    return ops.where(read, function(x, *matrices, times=times), 0)


def _split(x, cuts, count: int) -> list:
    """`count` pieces of `cuts` rows each, and the rows after them."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        rest = ops.shape(x)[0] - ops.sum(cuts)
        return tf.split(x, ops.append(cuts, rest), num=count + 1)
    ends = [0, *ops.convert_to_numpy(ops.cumsum(cuts)).tolist(), len(x)]
    return [x[start:end] for start, end in pairwise(ends)]


def _zeros(rows, like) -> Tensor:
    return ops.zeros((ops.shape(rows)[0], like.shape[-1]), like.dtype)
