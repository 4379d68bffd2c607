"""Attention within windows of a grid, shifted from block to block (Liu et al. 2021).

B batch, H and W sides of the grid, w a window's side, n = (H / w)(W / w) windows, D width.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from modelzoo.layers.backend.lookup import lookup
from modelzoo.layers.block import TransformerBlock
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.dense import normal, projection
from modelzoo.layers.masks import HIDDEN
from modelzoo.layers.positions import relative_places
from modelzoo.signature import Tensor


class SwinBlock(keras.layers.Layer):
    """A transformer block over the windows of a grid. Call: (B, H, W, D) -> the same.

    What is not attention looks at one token at a time, so the whole block runs in windows.

    Args:
        grid: (H, W), multiples of the window.
        shift: of the windows, down and right; what then lies in one window and not side by side
            in the grid does not see each other.
    """

    def __init__(self, config: TransformerConfig, grid, window: int, shift: int = 0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config, self.grid, self.window, self.shift = config, tuple(grid), window, shift
        self.block = TransformerBlock(config, dtype=self.dtype_policy, name="block")
        self._places = relative_places(window, window)
        self._hidden = hidden_across(self.grid, window, shift) if shift else None

    def build(self, input_shape=None) -> None:
        self.block.build()
        self.relative_bias = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.config.num_heads),
            initializer=normal(self.config.initializer_range),
            name="relative_bias",
        )
        self.built = True

    def call(self, x, training=None) -> Tensor:
        x = rolled(x, -self.shift)
        x = to_windows(x, self.grid, self.window)
        x = self.block(x, bias=self._bias(x), training=training)
        return rolled(from_windows(x, self.grid, self.window), self.shift)

    def _bias(self, x):
        """(1 or B n, heads, w w, w w) float32."""
        tokens = self.window**2
        bias = lookup(self.relative_bias, ops.reshape(self._places, (-1,)))
        bias = ops.reshape(bias, (tokens, tokens, self.config.num_heads))
        bias = ops.expand_dims(ops.cast(ops.transpose(bias, (2, 0, 1)), "float32"), 0)
        if self._hidden is None:
            return bias
        windows = len(self._hidden)
        bias = bias + ops.expand_dims(ops.convert_to_tensor(self._hidden), 1)  # (n, heads, …)
        rows = x.shape[0] if x.shape[0] is not None else ops.shape(x)[0]
        return ops.tile(bias, (rows // windows, 1, 1, 1))


class PatchMerging(keras.layers.Layer):
    """Four neighbours become one token of twice the width: (B, H, W, D) -> (B, H/2, W/2, 2 D)."""

    def __init__(self, width: int, epsilon: float = 1e-5, stddev: float = 0.02, **kwargs):
        super().__init__(**kwargs)
        self.width, policy = width, self.dtype_policy
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, dtype=policy, name="norm")
        self.reduction = projection(
            2 * width, stddev, use_bias=False, dtype=policy, name="reduction"
        )

    def build(self, input_shape=None) -> None:
        self.norm.build((None, None, None, 4 * self.width))
        self.reduction.build((None, None, None, 4 * self.width))
        self.built = True

    def call(self, x) -> Tensor:
        corners = [x[:, row::2, column::2] for column in range(2) for row in range(2)]
        return self.reduction(self.norm(ops.concatenate(corners, axis=-1)))


def rolled(x, by: int) -> Tensor:
    """(B, H, W, D) moved down and right, what falls out coming in at the other end."""
    for axis in (1, 2) if by else ():
        size = x.shape[axis]
        low, high = ops.split(x, [-by % size], axis=axis)
        x = ops.concatenate([high, low], axis=axis)
    return x


def to_windows(x, grid, window: int) -> Tensor:
    """(B, H, W, D) -> (B n, w w, D)."""
    width, depth = grid[1], x.shape[-1]
    x = ops.reshape(x, (-1, window, width // window, window * depth))
    x = ops.transpose(x, (0, 2, 1, 3))  # four axes: (B H/w, W/w, w, w D)
    return ops.reshape(x, (-1, window * window, depth))


def from_windows(x, grid, window: int) -> Tensor:
    """(B n, w w, D) -> (B, H, W, D)."""
    (height, width), depth = grid, x.shape[-1]
    x = ops.reshape(x, (-1, width // window, window, window * depth))
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, height, width, depth))


def hidden_across(grid, window: int, shift: int) -> np.ndarray:
    """(n, w w, w w) float32: a large negative number between tokens of different regions.

    Example:
        >>> hidden_across((4, 4), 2, 1).shape
        (4, 4, 4)
    """
    parts = []
    for size in grid:
        places = np.arange(size)
        parts.append((places >= size - window).astype(int) + (places >= size - shift))
    regions = parts[0][:, None] * 3 + parts[1][None, :]
    height, width = grid
    windows = regions.reshape(height // window, window, width // window, window)
    windows = windows.transpose(0, 2, 1, 3).reshape(-1, window * window)
    return np.where(windows[:, :, None] == windows[:, None, :], 0.0, HIDDEN).astype("float32")
