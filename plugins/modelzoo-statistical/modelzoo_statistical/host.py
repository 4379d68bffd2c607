"""numpy in the midst of a Keras graph, on TensorFlow and on JAX."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import ops


def on_host(function: Callable, dtype: str, like: Callable, *tensors):
    """`function(*arrays) -> array`, called at once or, in a graph, when that runs.

    Args:
        function: pure: its array depends on the arrays alone.
        dtype: of what it gives.
        like: from the tensors' shapes (tuples, with `None` for what is not known yet) to the shape
            of what it gives.

    Example:
        >>> on_host(lambda a: a + 1, "float32", lambda shape: shape, ops.zeros((2,))).shape[0]
        2
    """

    def call(*arrays):
        arrays = [np.asarray(array) for array in arrays]
        return np.asarray(function(*arrays), dtype)

    tensors = [ops.convert_to_tensor(tensor) for tensor in tensors]
    shape = like(*(tuple(tensor.shape) for tensor in tensors))
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            # Not stateful: where nobody needs what it gives, it is left out of the graph.
            found = tf.numpy_function(call, tensors, dtype, stateful=False)
            found.set_shape(shape)
            return found
    elif backend == "jax":
        import jax

        if any(isinstance(tensor, jax.core.Tracer) for tensor in tensors):
            return jax.pure_callback(call, jax.ShapeDtypeStruct(shape, dtype), *tensors)
    return ops.convert_to_tensor(call(*(ops.convert_to_numpy(tensor) for tensor in tensors)))
