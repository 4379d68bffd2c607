"""Rows that are sorted by segment, each segment times a matrix of its own."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.signature import Tensor


def segment_matmul(x, matrices, sizes) -> Tensor:
    """Multiply each segment of rows by its matrix; no row is multiplied by another one.

    Args:
        x: (R, D), first the rows of segment 0, then those of segment 1, and so on.
        matrices: (E, D, F).
        sizes: (E,) int32, rows of each segment. Further rows, at the end, become zeros.

    Returns: (R, F).

    Example:
        >>> x, matrices = ops.ones((3, 2)), ops.ones((2, 2, 1))
        >>> segment_matmul(x, matrices, ops.array([1, 1], "int32"))[:, 0].numpy().tolist()
        [2.0, 2.0, 0.0]
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.ragged_dot(x, ops.convert_to_tensor(matrices), sizes)
    rest = ops.shape(x)[0] - ops.sum(sizes)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        *pieces, last = tf.split(x, tf.concat([sizes, [rest]], 0), num=matrices.shape[0] + 1)
    else:
        ends = ops.convert_to_numpy(ops.cumsum(sizes)).tolist()
        pieces = [x[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        last = x[ends[-1] :]
    products = [ops.matmul(piece, matrices[e]) for e, piece in enumerate(pieces)]
    zeros = ops.zeros((ops.shape(last)[0], matrices.shape[2]), products[0].dtype)
    return ops.concatenate([*products, zeros], axis=0)
