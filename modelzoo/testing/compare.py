"""Outputs of a model as numbers, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelzoo.testing.check import fail

# Of float32 arithmetic in another order: another batch size, another process.
TOLERANCE = 1e-4


def outputs_of(model, x) -> dict[str, np.ndarray]:
    """`model(x)` outside of training: path -> float64, whatever the structure of the outputs."""
    return flat(model(as_tensors(x), training=False))


def as_tensors(x) -> Any:
    import keras

    return keras.tree.map_structure(keras.ops.convert_to_tensor, x)


def flat(outputs) -> dict[str, np.ndarray]:
    """A structure of tensors as path -> float64 numpy."""
    import keras

    leaves = keras.tree.flatten_with_path(outputs)
    return {
        "/".join(map(str, path)) or "output": np.asarray(
            keras.ops.convert_to_numpy(keras.ops.cast(leaf, "float32")), np.float64
        )
        for path, leaf in leaves
    }


def check_equal(
    found: Mapping[str, np.ndarray],
    right: Mapping[str, np.ndarray],
    what: str,
    *,
    tolerance: float = TOLERANCE,
    next_step: str,
) -> None:
    """Raise a CheckFailure where an output differs by more than `tolerance` of its size."""
    if set(found) != set(right):
        fail(f"{what}: the outputs are {sorted(found)} and {sorted(right)}", next_step=next_step)
    for name, wanted in right.items():
        got = found[name]
        if got.shape != wanted.shape:
            fail(f"{what}: {name} is {got.shape}, not {wanted.shape}", next_step=next_step)
        if not np.isfinite(wanted).all():
            fail(f"{what}: {name} is not a number (nan or infinite)", next_step=next_step)
        gap = distance(got, wanted)
        if not gap <= tolerance:
            fail(f"{what}: {name} differs by {gap:.3g}", next_step=next_step)


def distance(found: np.ndarray, right: np.ndarray) -> float:
    """The largest difference, as a share of the largest value where that is above 1."""
    if right.size == 0:
        return 0.0
    gap = np.abs(found - right).max()
    return float(gap / max(1.0, np.abs(right).max()))
