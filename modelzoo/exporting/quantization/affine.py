"""4 bits with a scale and an offset a block, for kernels that know scales alone.

A device's 4-bit matrix product has symmetric blocks: 32 weights of one output are integers of -8
to 7 times a scale. Checkpoints in 4 bits (Q4_1) have an offset as well, and lose much without it.
A block's offset multiplies the sum of the block's inputs, so a second, small product over these
sums gives it back: `x W = x (W - offsets) + sums(x) offsets`. It adds a weight in 32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelzoo.exporting.quantization.calibrate import blocks_of, replace_method

__all__ = ["OFFSETS", "affine_blocks", "split_affine"]

OFFSETS = "block_offsets"  # in the name of the second product's output
_LOWEST, _STEPS = -8, 15
_SMALLEST = 2.0**-14  # below it a float16 has fewer bits


def split_affine(
    model, block_size: int = 32, skip: Callable[[str], bool] = lambda path: False
) -> list[str]:
    """Make two products of every dense layer of the transformer blocks, in place.

    The kernel is left as integers times scales, which dequantized-weight recovery finds again; the
    offsets are a variable of their own. A kernel that came from Q4_1 stays what it was but for the
    rounding of its scales to 8 bits; of any other this is rounding to the nearest of 16 levels.

    Args:
        model: a task model with transformer blocks.
        block_size: weights a scale, along a kernel's inputs.
        skip: for a layer's path, whether it is left as it is.

    Returns: the paths of the layers that were split; one whose inputs no block size fits is not.

    Example:
        >>> paths = split_affine(modelzoo.load("my-gpt"))
        >>> any(path.endswith("block_0/attention/output") for path in paths)
        True
    """
    from keras.layers import Dense

    split = []
    for block in blocks_of(model):
        for layer in block._flatten_layers():
            if not isinstance(layer, Dense) or layer.kernel.shape[0] % block_size:
                continue
            if not skip(layer.path):
                _split(layer, block_size)
                split.append(layer.path)
    return split


def _split(dense, block_size: int) -> None:
    import tensorflow as tf

    integers, scales, offsets = affine_blocks(np.asarray(dense.kernel), block_size)
    dense.kernel.assign((integers * scales[:, None]).reshape(dense.kernel.shape))
    offsets = tf.Variable(offsets, name=OFFSETS)
    inner, activation = dense.call, dense.activation

    def call(x, *args, **kwargs):
        shape = [-1 if size is None else size for size in x.shape[:-1]]
        sums = tf.reduce_sum(tf.reshape(x, [*shape, -1, block_size]), axis=-1)
        with tf.name_scope(OFFSETS):
            correction = tf.matmul(sums, tf.cast(offsets, x.dtype))
        return activation(inner(x, *args, **kwargs) + correction)

    dense.activation = _identity  # of the sum, not of its parts
    replace_method(dense, "call", call)


def _identity(x):
    return x


def affine_blocks(kernel: np.ndarray, block_size: int = 32) -> tuple:
    """A kernel as integers, scales and offsets: `integers * scales + offsets`.

    Args:
        kernel: (in, out) float32; `in` is n times `block_size`.

    Returns: integers of -8 to 7 as float32 (n, block_size, out); scales (n, out) that bfloat16 and
    float16 both have; offsets (n, out) float32.

    Example:
        >>> integers, scales, offsets = affine_blocks(np.linspace(0, 1.5, 32)[:, None])
        >>> scales.shape, float(integers.min()), float(integers.max())
        ((1, 1), -8.0, 7.0)
    """
    import ml_dtypes

    blocks = np.asarray(kernel, np.float32).reshape(-1, block_size, kernel.shape[1])
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    exact = np.maximum((high - low) / _STEPS, _SMALLEST)
    integers = np.clip(np.rint((blocks - low[:, None]) / exact[:, None]), 0, _STEPS) + _LOWEST
    scales = exact.astype(ml_dtypes.bfloat16).astype(np.float32)
    _show_the_scale(integers)
    return integers, scales, low - _LOWEST * exact


def _show_the_scale(integers: np.ndarray) -> None:
    """Where no two neighbours among 0 and the sizes of a block differ by 1, make one weight 1.

    The scale is found again as the least difference between sizes. 16 levels over 32 weights hardly
    ever leave it out; a block of equal weights does.
    """
    present = np.stack([(np.abs(integers) == size).any(axis=1) for size in range(9)])
    present[0] = True
    unseen = ~(present[1:] & present[:-1]).any(axis=0)
    nearest = np.abs(integers - 1).argmin(axis=1)
    n, out = np.nonzero(unseen)
    integers[n, nearest[n, out], out] = 1
