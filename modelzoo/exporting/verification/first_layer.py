"""Where a quantized file begins to differ from the float32 file that it was made from.

Both run operation by operation on LiteRT's interpreter, every tensor kept, and each layer's last
tensor is compared. numpy and ai-edge-litert only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelzoo.exporting.formats.tflite_file import layer_path
from modelzoo.exporting.verification.parity import difference


@dataclass(frozen=True)
class LayerDifference:
    """How near a layer's output is: its path, and the cosine between the two."""

    path: str
    cosine: float


def compare_layers(
    reference: Path,
    found: Path,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    layers: Collection[str],
) -> list[LayerDifference]:
    """Each layer's output in both files, in the order of the computation.

    Args:
        signature: the one that both run, on `inputs`.
        layers: names of the model's layers.

    Example:
        >>> # Only an export has a file in float32 and its quantized twin side by side.
        >>> compare_layers(a, b, "decode", inputs, {"block_0", "ffn", "down"})[0]  # doctest: +SKIP
        LayerDifference(path='block_0/ffn/down', cosine=0.99997)
    """
    right, there = (_tensors(path, signature, inputs) for path in (reference, found))
    paths: dict[str, float] = {}
    for name, value in right.items():
        path = layer_path(name, layers)
        other = there.get(name)
        if path and other is not None and other.shape == value.shape and value.size > 1:
            paths.pop(path, None)  # the last tensor of a layer is what leaves it
            paths[path] = difference(other, value).cosine
    return [LayerDifference(path, cosine) for path, cosine in paths.items()]


def first_difference(compared: list[LayerDifference], least: float) -> LayerDifference | None:
    """The first layer whose cosine is below `least`; where none is, the one that is furthest."""
    below = [layer for layer in compared if layer.cosine < least]
    return below[0] if below else min(compared, key=lambda layer: layer.cosine, default=None)


def _tensors(path: Path, signature: str, inputs: Mapping[str, np.ndarray]) -> dict:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        experimental_preserve_all_tensors=True,
        # Delegates compute many operations at once, and keep nothing of what is between.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = interpreter.get_signature_runner(signature)
    known = runner.get_input_details()
    runner(**{name: value for name, value in inputs.items() if name in known})
    graph, values = runner._subgraph_index, {}
    for detail in interpreter.get_tensor_details(graph):
        if detail["dtype"] != np.float32:
            continue
        try:
            values[detail["name"]] = interpreter.get_tensor(detail["index"], graph).copy()
        except ValueError:  # scratch memory, which holds no result
            continue
    return values
