"""Position tables of images, for an image of another size than the checkpoint's.

What a place of the new grid gets is interpolated between the places of the old one, bicubically
(Keys 1981, a = -0.75) and without smoothing, as `interpolate_pos_encoding` of `transformers` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from modelzoo.weights.checkpoint import Tensor
from modelzoo.weights.table import Rule

_A = -0.75


def fit_grids(
    rules: Sequence[Rule], tensors: Mapping[str, Tensor], values: Mapping, weights: Mapping
) -> dict[str, Tensor]:
    """The tensors, with those that a rule calls a grid brought to the model's own.

    Only what is certain is changed: a checkpoint's grid is a square. All else is left as it is,
    for the check of shapes to reject.

    Args:
        values, weights: of the model; see `mapping`.
    """
    found = dict(tensors)
    for rule in rules:
        if not rule.grid:
            continue
        (path,) = rule.ours
        part = path.partition("/")[0]
        prefix = f"{part}.model." if f"{part}.architecture" in values else ""
        size, patch = values[f"{prefix}image_size"], values[f"{prefix}patch_size"]
        new = tuple(side // patch for side in ((size, size) if isinstance(size, int) else size))
        tensor, wanted = found[rule.theirs], tuple(weights[path].shape)
        if len(tensor.shape) < 2:
            continue
        extra = wanted[0] - new[0] * new[1]  # a class token, which has no place in the grid
        side = math.isqrt(max(0, tensor.shape[-2] - extra))
        square = side > 0 and side**2 + extra == tensor.shape[-2]
        if (side, side) == new or not square or tensor.shape[-1] != wanted[-1]:
            continue

        def read(tensor=tensor, side=side, new=new, extra=extra):
            table = np.asarray(tensor.read(), np.float32)
            rows = resample(table.reshape(-1, table.shape[-1])[extra:], (side, side), new)
            rows = np.concatenate([table.reshape(-1, table.shape[-1])[:extra], rows])
            return rows.reshape(*table.shape[:-2], *rows.shape)

        shape = (*tensor.shape[:-2], *wanted)
        found[rule.theirs] = replace(tensor, shape=shape, dtype="float32", read=read)
    return found


def resample(table: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """(h * w, D) of an old grid -> (H * W, D) of a new one, row by row.

    >>> resample(np.ones((4, 1), "float32"), (2, 2), (3, 3)).ravel().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    grid = table.reshape(*old, -1).astype(np.float64)
    down, across = (_weights(a, b) for a, b in zip(old, new, strict=True))
    grid = np.einsum("Hh,Ww,hwd->HWd", down, across, grid, optimize=True)
    return grid.reshape(new[0] * new[1], -1).astype(np.float32)


def _weights(old: int, new: int) -> np.ndarray:
    """(new, old): how much of each old place a new one takes."""
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centres).astype(int)
    matrix = np.zeros((new, old))
    for tap in range(-1, 3):
        x = np.abs(centres - (first + tap))
        near = ((_A + 2) * x - (_A + 3)) * x * x + 1
        far = (((x - 5) * x + 8) * x - 4) * _A
        places = np.clip(first + tap, 0, old - 1)  # beyond the edge it goes on as at the edge
        np.add.at(matrix, (np.arange(new), places), np.where(x <= 1, near, far))
    return matrix
