"""What people try on any Keras model, answered by name: raw text in `fit`, the shapes of layers.

`TaskModel` asks these; nothing here changes what Keras does with arrays.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import keras
import numpy as np

from modelzoo.errors import DataError, shown

__all__ = ["check_inputs", "shapes_in_summary"]


def check_inputs(method: str, x: object, able: Iterable[str] = ()) -> None:
    """Reject raw text and paths where Keras reads arrays.

    Args:
        method: "fit", "evaluate", "predict" or "call".
        able: the model's methods that take text or media, the foremost first.

    Raises:
        DataError: with the call that reads such data.

    Example:
        >>> check_inputs("fit", "train.csv")
        Traceback (most recent call last):
        modelzoo.errors.DataError: fit() reads arrays or a dataset, not raw data: 'train.csv'
          next: model.fit(modelzoo.dataset(model, 'train.csv'))
    """
    if not _is_raw(x):
        return
    said = data = shown(x, 40)
    order = ", shuffle=False" if method in ("call", "predict") else ""
    name, ways = "predict" if method == "call" else method, []
    if order and _is_text(x):
        data = f"[{said}]" if isinstance(x, str) else said
        ways += [f"model.{name}({said})" for name in able][:1]
    ways.append(f"model.{name}(modelzoo.dataset(model, {data}{order}))")
    raise DataError(
        f"{'the model' if method == 'call' else method + '()'} reads arrays"
        f"{'' if method == 'call' else ' or a dataset'}, not raw data: {said}",
        next_step=", or ".join(ways),
    )


def _is_text(value: object) -> bool:
    """Whether it is a text, or a list of them, and not the path of a file."""
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, str) and not os.path.exists(value)


def _is_raw(value: object) -> bool:
    """Whether it is a path or text, alone or as the first thing in what it is."""
    if isinstance(value, str | bytes | os.PathLike):
        return True
    if isinstance(value, Mapping):
        return any(map(_is_raw, value.values()))
    if isinstance(value, list | tuple):
        return bool(value) and _is_raw(value[0])
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "O":  # a column of a data frame too
        array = np.asarray(value)
        return array.size > 0 and _is_raw(array.flat[0])
    return kind in ("S", "U")


@contextmanager
def shapes_in_summary(model: keras.Model, inputs: Mapping[str, keras.InputSpec]) -> Iterator[None]:
    """Let Keras' summary print the output shape of every layer; Keras knows built-in layers' only.

    Args:
        inputs: what the model is called with; see `TaskModel.call_inputs`.
    """
    shapes = _output_shapes(model, inputs)
    layers = [layer for layer in model._flatten_layers(include_self=False) if id(layer) in shapes]
    kept = [
        (layer, {name: layer.__dict__.get(name, _ABSENT) for name in _READ}) for layer in layers
    ]
    try:
        for layer in layers:
            said = functools.partial(_said, shapes[id(layer)])
            layer.__dict__.update(dict(zip(_READ, ({"input_shape": ()}, said), strict=True)))
        yield
    finally:
        for layer, before in kept:
            _restore(layer, before)


_READ = ("_build_shapes_dict", "compute_output_shape")  # what the summary asks a layer for
_ABSENT = object()


def _said(shape: object, input_shape: object) -> object:
    return shape


def _restore(layer: keras.Layer, before: Mapping[str, object]) -> None:
    for name, value in before.items():
        if value is _ABSENT:
            layer.__dict__.pop(name, None)
        else:
            layer.__dict__[name] = value


def _output_shapes(model: keras.Model, inputs: Mapping[str, keras.InputSpec]) -> dict[int, object]:
    """The output shape of each layer that a symbolic call reaches, by the layer's id."""
    found: dict[int, object] = {}
    layers = [one for one in model._flatten_layers(include_self=False) if not one._inbound_nodes]

    def recorded(call, key, *args, **kwargs):
        outputs = call(*args, **kwargs)
        shapes = keras.tree.map_structure(_shape, outputs)
        found[key] = _agreed(found[key], shapes) if key in found else shapes
        return outputs

    tensors = {
        name: keras.KerasTensor(spec.shape, spec.dtype or "float32", name=name)
        for name, spec in inputs.items()
    }
    try:
        for layer in layers:
            layer.__dict__["call"] = functools.partial(recorded, layer.call, id(layer))
        model.compute_output_spec(tensors, training=False)
    except Exception:  # of a plugin's model, which may take other inputs: a summary needs no shapes
        return {}
    finally:
        for layer in layers:
            layer.__dict__.pop("call", None)
    return found


def _shape(tensor: object) -> tuple:
    """With `None` for a size that varies, which is a symbol on JAX."""
    return tuple(size if isinstance(size, int) else None for size in getattr(tensor, "shape", ()))


def _agreed(first: object, second: object) -> object:
    """Shapes of two calls as one: a size that differs varies."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return {name: _agreed(first.get(name), shape) for name, shape in second.items()}
    if not (isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second)):
        return second
    pairs = zip(first, second, strict=True)
    return tuple(
        _agreed(a, b) if isinstance(b, tuple) else (b if a == b else None) for a, b in pairs
    )
