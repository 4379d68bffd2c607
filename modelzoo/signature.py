"""What a model can do on a device: functions of named tensors, and the tensors' shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

# A tensor of the backend in use, or a symbolic one: Keras has no class that all of them share.
Tensor: TypeAlias = Any


@dataclass(frozen=True)
class TensorSpec:
    """Static shape and dtype of one named tensor."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Signature:
    """A function `{name: tensor} -> {name: tensor}` with the shapes of its inputs.

    A tensor named both among the inputs and the outputs is state: the device carries it over.

    Attributes:
        fused_attention: whether attention is marked in the file for the accelerators that have one
            kernel for all of it, where the format can.
    """

    function: Callable[[Mapping], dict]
    inputs: Mapping[str, TensorSpec]
    fused_attention: bool = False
