"""Resizing of images, one numpy function for training and for devices.

Separable and antialiased: each pixel of the result is a weighted mean of all pixels that it covers,
with weights of 22 binary places, along one axis and then the other, and 8-bit values between. These
are Pillow's conventions, the order of the axes is Pillow 13's: the result is the same, bit by bit.

H, W height and width of the image; h, w of the result; C channels.
"""

from __future__ import annotations

import math

import numpy as np

from modelzoo.errors import DataError, nearest

__all__ = ["INTERPOLATIONS", "resize"]

_BITS = 22  # binary places of a weight: with 8 bits of a pixel they fit 32, and float64 is exact
_PLACES = 16  # of the result, computed by one product of matrices
_BLOCK = 1 << 17  # multiplications of it: few enough to stay in the cache, and in one thread


def resize(
    image: np.ndarray,
    size: tuple[int, int],
    interpolation: str = "bicubic",
    *,
    window: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """An image in another size.

    Args:
        image: (H, W, C) uint8.
        size: (h, w) of the result.
        interpolation: `"bicubic"` (Keys 1981, a = -0.5), `"bilinear"` or `"nearest"`.
        window: (top, left, height, width), the part of the result to compute. Default: all of it.

    Returns: (h, w, C) uint8, or the window of it.

    Raises:
        DataError: an unknown interpolation, an empty image, or a size below 1.

    Example:
        >>> resize(np.full((3, 5, 3), 7, "uint8"), (2, 2))[0, 0].tolist()
        [7, 7, 7]
    """
    if interpolation not in INTERPOLATIONS:
        raise DataError(
            f"the interpolation {interpolation!r} is not one of {', '.join(INTERPOLATIONS)}",
            did_you_mean=nearest(str(interpolation), INTERPOLATIONS),
        )
    if image.dtype != np.uint8 or image.ndim != 3 or not image.size:
        raise DataError(f"an image to resize is (H, W, C) uint8, not {image.shape} {image.dtype}")
    height, width = (int(side) for side in size)
    if min(height, width) < 1:
        raise DataError(f"an image cannot be resized to {height} x {width}")
    top, left, rows, columns = window or (0, 0, height, width)
    passes = [(2, width, left, left + columns), (1, height, top, top + rows)]
    if image.shape[0] - height > max(0, 2 * (image.shape[1] - width)):
        passes.reverse()  # the rows are what makes it smaller
    planes = np.ascontiguousarray(np.moveaxis(image, 2, 0))  # (C, H, W)
    for axis, new, start, stop in passes:
        planes = _resized(planes, axis, new, start, stop, interpolation)
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2))


def _resized(planes: np.ndarray, axis: int, new: int, start: int, stop: int, interpolation: str):
    """Places `start` to `stop` of (C, H, W), of the `new` ones that an axis is to have."""
    old, across = planes.shape[axis], 3 - axis
    if new == old:
        return _part(planes, axis, start, stop)
    if interpolation == "nearest":
        return np.take(planes, _nearest(old, new)[start:stop], axis=axis)
    firsts, weights = _weights(old, new, start, stop, *INTERPOLATIONS[interpolation])
    shape = [*planes.shape]
    shape[axis] = stop - start
    result = np.empty(shape, np.uint8)
    for place in range(0, stop - start, _PLACES):
        first, matrix = _matrix(firsts[place : place + _PLACES], weights[place : place + _PLACES])
        matrix = matrix[:, : old - first]  # what is beyond the image has no weight
        source = _part(planes, axis, first, first + matrix.shape[1])
        target = _part(result, axis, place, place + _PLACES)
        step = max(1, _BLOCK // matrix.size)
        for begin in range(0, planes.shape[across], step):
            block = _part(source, across, begin, begin + step).astype(np.float64)
            values = matrix @ block if axis == 1 else block @ matrix.T
            values = np.floor(values * 2.0**-_BITS + 0.5)
            _part(target, across, begin, begin + step)[...] = np.clip(values, 0, 255)
    return result


def _part(array: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _matrix(firsts: np.ndarray, weights: np.ndarray) -> tuple[int, np.ndarray]:
    """(n,) and (n, K) of `_weights` as one matrix (n, N), from the first old pixel on."""
    first, taps = int(firsts[0]), weights.shape[1]
    matrix = np.zeros((len(firsts), firsts[-1] - first + taps))
    places = (firsts - first)[:, None] + np.arange(taps)
    np.put_along_axis(matrix, places, weights, axis=1)
    return first, matrix


def _weights(old: int, new: int, start: int, stop: int, kernel, reach: float):
    """Pixels `start` to `stop` of `new`: the first old pixel of each, (n,), and weights (n, K)."""
    scale = old / new
    spread = max(scale, 1.0)  # an image that shrinks is smoothed, one that grows is not
    centres = (np.arange(start, stop) + 0.5) * scale
    firsts = np.maximum((centres - reach * spread + 0.5).astype(np.int64), 0)
    lasts = np.minimum((centres + reach * spread + 0.5).astype(np.int64), old)
    pixels = firsts[:, None] + np.arange((lasts - firsts).max())
    weights = kernel(np.abs((pixels - centres[:, None] + 0.5) / spread))
    weights = np.where(pixels < lasts[:, None], weights, 0.0)
    weights /= weights.sum(1, keepdims=True)
    return firsts, np.trunc(weights * (1 << _BITS) + np.copysign(0.5, weights))


def _nearest(old: int, new: int) -> np.ndarray:
    """The old pixel that each of `new` shows."""
    steps = np.full(new, old / new)
    steps[0] /= 2
    return np.minimum(np.add.accumulate(steps).astype(np.int64), old - 1)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - x)


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


# name -> kernel of a distance in pixels, and how far it reaches
INTERPOLATIONS = {
    "bicubic": (_cubic, 2.0),
    "bilinear": (_triangle, 1.0),
    "nearest": (None, math.inf),
}
