"""What every backbone that reads images shares: sizes, processing, the input itself."""

from __future__ import annotations

from modelzoo.errors import DataError, RecipeError, check_choice
from modelzoo.runtime.media.images import RESIZES
from modelzoo.runtime.media.resizing import INTERPOLATIONS
from modelzoo.signature import Tensor


def sides(image_size) -> tuple[int, int]:
    """(H, W) of a side or a pair."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < 1:
        raise RecipeError(f"image_size must be at least 1, not {height} x {width}")
    return int(height), int(width)


def image_processing(size, resize: str, resize_to: int | None, interpolation: str) -> dict:
    """How an image file becomes the input, as data; see `runtime.media.images.prepare_image`."""
    check_choice("resize", resize, RESIZES)
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    if resize_to is not None and resize == "pad":
        raise RecipeError(
            "resize_to is the shorter side before the middle is cut out",
            next_step='resize = "crop", or resize = "squash"',
        )
    if resize_to is not None and resize_to < max(size):
        raise RecipeError(f"resize_to {resize_to} is smaller than image_size {max(size)}")
    return {
        "size": list(size),
        "resize": resize,
        "resize_to": resize_to,
        "interpolation": interpolation,
    }


def image_input(inputs, size: tuple[int, int]) -> Tensor:
    """The images (B, H, W, C) of a dict or alone.

    Raises:
        DataError: they are not of the model's size.
    """
    images = inputs["images"] if isinstance(inputs, dict) else inputs
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1:3] != size:
        raise DataError(
            f"the model takes images (batch, {size[0]}, {size[1]}, channels), not {shape}",
            next_step="modelzoo.runtime.media.images.prepare_image brings an image to its size",
        )
    return images
