"""What Keras itself would not save of a task's model: attributes and quantized layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from modelzoo.errors import ModelzooError

# What tasks and the runtime read of a backbone, besides its outputs.
KEPT = ("vocab_size", "max_length", "hidden_dim", "hidden_dims", "num_segments", "processing")
_CALIBRATED = ("gptq", "awq")  # modes that need data


def is_functional(model: keras.Model) -> bool:
    """Whether it is of a class of Keras' own, which saves its layers and no attribute."""
    return type(model).__module__.partition(".")[0] == "keras"


def kept_attributes(backbone: keras.Model) -> dict[str, Any]:
    """The attributes in `KEPT` that were set on a functional model; `{}` for any other."""
    if not is_functional(backbone):
        return {}
    return {name: _plain(getattr(backbone, name)) for name in KEPT if hasattr(backbone, name)}


def _plain(value):
    """Without the wrappers in which Keras tracks dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def quantized_layers(model: keras.Model) -> dict[str, dict]:
    """Path of a layer -> how Keras' `quantize` changed it.

    Raises:
        ModelzooError: a mode that needs data, which a file cannot begin with.
    """
    found = {}
    for layer in model._flatten_layers():
        mode = layer.quantization_mode
        if mode in _CALIBRATED:
            raise ModelzooError(
                f"{layer.path} is quantized by {mode}, which modelzoo cannot save",
                next_step="quantize with int8, int4 or float8; or export: modelzoo.export(model, "
                'DIR, quantize="int4")',
            )
        if mode is not None and hasattr(layer, "quantization_config"):
            config = keras.saving.serialize_keras_object(layer.quantization_config)
            found[layer.path] = {"mode": mode, "config": config}
    return found


def quantize_layers(model: keras.Model, quantized: Mapping[str, Mapping]) -> None:
    """Prepare the layers that `quantized_layers` named for the weights that it was saved with."""
    layers = {layer.path: layer for layer in model._flatten_layers()} if quantized else {}
    for path, how in quantized.items():
        if layers[path].quantization_mode is None:  # a functional model's are made so
            config = keras.saving.deserialize_keras_object(how["config"])
            layers[path].quantize(how["mode"], config=config)
