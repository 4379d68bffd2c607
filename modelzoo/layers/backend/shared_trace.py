"""Blocks that differ in nothing but the values of their weights are traced once.

While TensorFlow traces a training step, every layer puts its nodes into the graph, and tracing and
optimising that graph takes longer than the steps that follow. Here one function is put into the
graph for all blocks of a kind, which takes a block's weights as tensors: the first step of GPT-2
small then takes half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType

import keras

__all__ = ["shared_trace"]


def shared_trace() -> Callable:
    """`call(layer, x, training=…, **inputs)`, for layers that may be alike.

    A layer is called through the function of the first one that is like it in all but its weights'
    values: the same variables, the same of them trainable, and the same attributes in every
    sublayer. A layer that recomputes its activations (`keras.RematScope`) is called as it is, and
    so is every layer where TensorFlow traces no graph.
    """
    if not _is_tracing():
        return keras.layers.Layer.__call__
    functions: dict[tuple, _Traced] = {}

    def call(layer: keras.layers.Layer, x, training: bool, **inputs):
        if any(one._remat_mode is not None for one in _with_sublayers(layer)):
            return layer(x, training=training, **inputs)
        kind = _kind(layer)
        if kind not in functions:
            functions[kind] = _Traced(layer)
        given = {key: value for key, value in inputs.items() if value is not None}
        return functions[kind](layer, x, {**given, "training": training})

    return call


class _Traced:
    """One function in the graph, made of one layer and called with the weights of others."""

    def __init__(self, layer: keras.layers.Layer):
        import tensorflow as tf

        self.layer = layer
        self.written: list[int] = []  # which of the non-trainable variables a call changes
        self.function = tf.function(
            self._call, autograph=False, experimental_attributes={"_noinline": True}
        )

    def __call__(self, layer: keras.layers.Layer, x, inputs: dict):
        # As tensors: TensorFlow takes a variable of several replicas for a part of the function,
        # and would call it with the first layer's again. As they are stored: sublayers cast them.
        trainable, other = (
            [_stored(variable) for variable in variables]
            for variables in (layer.trainable_variables, layer.non_trainable_variables)
        )
        x, written, losses = self.function(trainable, other, x, inputs)
        for place, value in zip(self.written, written, strict=True):
            layer.non_trainable_variables[place].assign(value)  # the seeds of dropout
        for loss in losses:
            layer.add_loss(loss)
        return x

    def _call(self, trainable: list, other: list, x, inputs: dict) -> tuple:
        x, after, losses = self.layer.stateless_call(
            trainable, other, x, return_losses=True, **inputs
        )
        self.written = [place for place, value in enumerate(after) if value is not other[place]]
        # The last ones are of the weights' regularizers, which the model adds itself.
        regularized = len(self.layer._get_regularization_losses())
        own = losses[: len(losses) - regularized]
        return x, [after[place] for place in self.written], own


def _stored(variable: keras.Variable):
    import tensorflow as tf

    return tf.convert_to_tensor(variable._value)


def _with_sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return list(layer._flatten_layers())


def _kind(layer: keras.layers.Layer) -> tuple:
    """Equal for layers that compute the same from the same weights."""
    variables = (
        (v.name, tuple(v.shape), v.dtype, v.trainable, v.regularizer is None)
        for v in layer.variables
    )
    return (*variables, *map(_attributes, _with_sublayers(layer)))


def _attributes(layer: keras.layers.Layer) -> tuple:
    """Class, dtype policy, and each attribute that holds a number, a text or a function."""
    named = {
        key: value
        for key, value in vars(layer).items()
        if key not in _NAMES and not isinstance(value, keras.layers.Layer | keras.Initializer)
    }
    values = (
        (key, _value(value))
        for key, value in sorted(named.items())
        if isinstance(value, _PLAIN) or callable(value)
    )
    return type(layer), layer.dtype_policy.name, *values


_PLAIN = (bool, int, float, str, type(None))
# What differs between layers that compute the same: names, and wrappers that Keras makes for each.
_NAMES = frozenset({"_name", "name", "_path", "_parent_path", "_called", "build", "quantize"})


def _value(value: object) -> object:
    """A number or text; of a function its code and what it holds on to; any other by itself."""
    if isinstance(value, _PLAIN):
        return value
    if not isinstance(value, FunctionType):
        return id(value)
    held = (cell.cell_contents for cell in value.__closure__ or ())
    return value.__code__, *map(_value, (*(value.__defaults__ or ()), *held))


def _is_tracing() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.inside_function()
