"""Layers of PyTorch's `nn.LSTM` and `nn.GRU` as those of a `RecurrentEncoder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelzoo.errors import WeightsError, nearest

__all__ = ["take_layers"]

# Keras' gates as places among PyTorch's: i, f, g, o of both; r, z, n become z, r, h.
_GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}


def take_layers(backbone: Any, tensors: Mapping[str, np.ndarray], prefix: str = "") -> None:
    """Give the recurrent layers of a `backbones.recurrent.RecurrentEncoder` PyTorch's weights.

    PyTorch's LSTM adds two biases where one does; the layer has their sum.

    Args:
        tensors: a `state_dict()` of `nn.LSTM` or `nn.GRU` with `bidirectional=True`, as arrays.
        prefix: of their names, "lstm." for example. Other names are left alone.

    Raises:
        WeightsError: a tensor is missing, has another shape, or is left over.

    Example:
        >>> backbone = modelzoo.build("bilstm-tiny-tagger").backbone
        >>> take_layers(backbone, {"weight_ih_l0": np.zeros((4, 4))})
        Traceback (most recent call last):
        modelzoo.errors.WeightsError: ...
    """
    found = {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }
    used = set()
    for number, both in enumerate(zip(backbone.forth, backbone.back, strict=True)):
        for layer, way in zip(both, ("", "_reverse"), strict=True):
            names = [f"{kind}_l{number}{way}" for kind in _KINDS]
            used |= {*names}
            layer.set_weights(_layer(found, names, layer, backbone.cell))
    left = sorted({*found} - used)
    if left:
        raise WeightsError(
            f"{len(left)} tensors have no place in the model, the first is {prefix}{left[0]}",
            next_step=f"build it with hidden_dims of as many layers; it has {len(backbone.forth)}",
        )


_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _layer(found: Mapping[str, np.ndarray], names: list[str], layer, cell: str) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias of one layer."""
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise WeightsError(f"there is no tensor {missing}", did_you_mean=nearest(missing, found))
    gates = _GATES[cell]
    arrays = []
    for name in names:
        array = np.asarray(found[name])
        parts = array.reshape(len(gates), -1, *array.shape[1:])
        arrays.append(np.concatenate([parts[gate] for gate in gates]).T)
    kernel, recurrent, *biases = arrays
    bias = np.stack(biases) if cell == "gru" else np.sum(biases, axis=0)
    weights = [kernel, recurrent, bias]
    for name, array, weight in zip(names, weights, layer.weights, strict=False):
        if array.shape != tuple(weight.shape):
            raise WeightsError(
                f"{name} has the shape {array.shape} as the layer reads it, and the layer has "
                f"{tuple(weight.shape)}"
            )
    return weights
