"""A model's signatures as one SavedModel: the way into every format of TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import keras

from modelzoo.signature import Signature

_MIXED = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


def write_saved_model(signatures: Mapping[str, Signature], directory: str | os.PathLike) -> list:
    """Write a SavedModel with one entry a signature.

    Not through `keras.export.ExportArchive`: what that tracks as Keras variables and finds again
    as TensorFlow's own is stored twice.

    Returns:
        The `tf.Variable`s that the signatures read, each once: the weights in the file.
    """
    import tensorflow as tf

    module = tf.Module()
    functions = {}
    for name, signature in signatures.items():
        specs = {
            key: tf.TensorSpec(spec.shape, spec.dtype, name=key)
            for key, spec in signature.inputs.items()
        }

        def call(_function=signature.function, **inputs):
            return _function(inputs)

        functions[name] = tf.function(call, autograph=False).get_concrete_function(**specs)
    variables = {id(v): v for function in functions.values() for v in function.variables}
    module.weights = list(variables.values())
    tf.saved_model.save(module, str(directory), signatures=functions)
    return module.weights


def expected_bytes(variables: list, bytes_per_weight: float) -> int:
    """What the weights take when each is stored once."""
    return int(sum(bytes_per_weight * variable.shape.num_elements() for variable in variables))


def saved_model_bytes(directory: str | os.PathLike) -> tuple[int, int]:
    """Bytes of the variables, and bytes of the constants in the graph."""
    from tensorflow.core.protobuf import saved_model_pb2

    directory = Path(directory)
    stored = sum(path.stat().st_size for path in (directory / "variables").glob("*.data-*"))
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    constants = sum(n.attr["value"].tensor.ByteSize() for n in nodes if n.op == "Const")
    return stored, constants


def in_float32(model: keras.Model) -> keras.Model:
    """The model, or where some of it computes in half precision a float32 copy of it.

    Its weights are float32 in either case; what a device computes with is the bundle's matter.
    """
    layers = [model, *model._flatten_layers()]
    if all(layer.compute_dtype not in ("float16", "bfloat16") for layer in layers):
        return model
    config = _with_float32(keras.saving.serialize_keras_object(model))
    copy = keras.saving.deserialize_keras_object(config)
    copy.set_weights(
        [keras.ops.convert_to_numpy(keras.ops.cast(w, "float32")) for w in model.weights]
    )
    for name in ("recipe", "tokenizer", "origin"):
        setattr(copy, name, getattr(model, name, None))
    return copy


def _with_float32(config):
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config["config"]["name"] in _MIXED:
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {
            key: "float32" if key == "dtype" and value in _MIXED else _with_float32(value)
            for key, value in config.items()
        }
    return [_with_float32(item) for item in config] if isinstance(config, list) else config
