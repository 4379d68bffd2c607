"""From an image file, its bytes or an array to the pixels that a model takes.

The recipe of a model says how, as data: `{"size": [H, W], "resize": "squash" | "crop" | "pad",
"resize_to": int | None, "interpolation": "bicubic"}`. Training and devices read it here alike.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np

from modelzoo.errors import DataError, ModelzooError, nearest, require
from modelzoo.runtime.media.processing import DEFAULTS, RESIZES
from modelzoo.runtime.media.resizing import resize
from modelzoo.runtime.media.side_blocks import without_side_blocks

__all__ = ["LARGEST", "RESIZES", "open_image", "prepare_image", "resize"]

LARGEST = 2**27  # pixels; a small file can hold an image that fills the memory
LONGEST = 2**16  # pixels of a side; the weights of resizing grow with it
# What Pillow opens. It knows more, and some of them (EPS) start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_WIDEST = 2**24  # pixels of a side, before the middle is cut out
_BLOCK = 2**22  # pixels that are converted at a time
_ORIENTATION = 0x0112  # a tag of EXIF
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_PAPER = (255, 255, 255)  # what transparent images are put on


def open_image(source) -> np.ndarray:
    """An image as (H, W, 3) uint8, RGB, the right way up.

    Args:
        source: a path, the bytes of a file, an open file, a Pillow image, or an array: (H, W),
            (H, W, 1 to 4) of 8- or 16-bit numbers, of booleans, or of floats from 0 to 255.
            Damaged notes beside the pixels (EXIF, profiles, comments) are passed over.
            Of an animation the first frame counts; what is transparent becomes white.

    Raises:
        DataError: no such file; no image, or half of one; too many pixels; another kind of array.

    Example:
        >>> open_image(np.zeros((2, 3), "uint8")).shape
        (2, 3, 3)
    """
    if isinstance(source, str | os.PathLike):
        return _opened(source, os.fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _opened(BytesIO(source), f"{len(source)} bytes")
    if type(source).__module__.partition(".")[0] == "PIL":
        with explained("a Pillow image"):
            return _pixels(source, "a Pillow image")
    if hasattr(source, "read"):
        return _opened(source, str(getattr(source, "name", "an open file")))
    array = np.asarray(source)
    if array.dtype == np.uint16:
        check_depth(array, "an array")
    return _from_array(array)


def prepare_image(source, processing: Mapping) -> np.ndarray:
    """An image of any size as a model takes it, (H, W, 3) uint8.

    Args:
        source: see `open_image`.
        processing: `size` [H, W]; `resize`: `"squash"` changes the proportions, and with
            `resize_to` makes a square of that side and takes the middle; `"crop"` brings the
            shorter side to `resize_to` (default: until `size` is filled) and takes the middle;
            `"pad"` fits all of it in and puts `fill` (default 0, black) around; `interpolation`.

    Raises:
        DataError: as `open_image`.

    Example:
        >>> prepare_image(np.zeros((5, 9, 3), "uint8"), {"size": [4, 4], "resize": "crop"}).shape
        (4, 4, 3)
    """
    image = open_image(source)
    processing = {**DEFAULTS["image"], **processing}
    height, width = processing["size"]
    how, interpolation = processing["resize"], processing["interpolation"]
    if how not in RESIZES:
        raise DataError(
            f"resize {how!r} is not one of {', '.join(RESIZES)}",
            did_you_mean=nearest(str(how), RESIZES),
        )
    shorter = processing["resize_to"]
    if how == "squash" and shorter is None:
        return resize(image, (height, width), interpolation)
    if how == "pad":
        rows, columns = _scaled(image, min(height / image.shape[0], width / image.shape[1]))
        canvas = np.full((height, width, 3), processing.get("fill", 0), np.uint8)
        top, left = (height - rows) // 2, (width - columns) // 2
        canvas[top : top + rows, left : left + columns] = resize(
            image, (rows, columns), interpolation
        )
        return canvas
    if how == "squash":
        rows = columns = shorter
    else:
        rows, columns = _covering(image, height, width, shorter)
    if rows < height or columns < width:
        raise DataError(f"resize_to {shorter} leaves less than the {height} x {width} to cut out")
    window = ((rows - height) // 2, (columns - width) // 2, height, width)
    return resize(image, (rows, columns), interpolation, window=window)


def _covering(image, height: int, width: int, shorter: int | None) -> tuple[int, int]:
    """The size to resize to before the middle is cut out."""
    old = image.shape[:2]
    if shorter is None:  # the side that is short for this size fills it
        upright = old[0] * width > old[1] * height
        shorter = width if upright else height
    else:
        upright = old[0] > old[1]
    # What is left of a pixel on the longer side is dropped, not rounded, as others do.
    longer = int(shorter * old[not upright] / old[upright])
    if longer > _WIDEST:
        raise DataError(
            f"the image is {old[1]} x {old[0]} pixels: too narrow to be cut to {width} x {height}",
            next_step="cut it into parts",
        )
    return (longer, shorter) if upright else (shorter, longer)


def _scaled(image, factor: float) -> tuple[int, int]:
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return height, width


# === Files ===


def _opened(file, where: str) -> np.ndarray:
    """The image in a path or an open file; without its side blocks, where one is damaged."""
    start = 0
    if isinstance(file, str | os.PathLike):
        check_image_file(file)
    elif hasattr(file, "tell"):
        start = file.tell()
    try:
        return _decoded(file, where)
    except DataError:
        spare = without_side_blocks(_content(file, start))
        if spare is None:
            raise
        return _decoded(BytesIO(spare), where)


def check_image_file(path: str | os.PathLike) -> None:
    """Raise a DataError unless it is a file: a pipe would be waited for."""
    with explained(os.fspath(path)):
        is_file = stat.S_ISREG(os.stat(path).st_mode) or Path(path).is_dir()
    if not is_file:
        raise DataError("the image is a pipe or a device, not a file", where=path)


def _content(file, start: int) -> bytes:
    if hasattr(file, "read"):
        file.seek(start)
        return file.read()
    return Path(file).read_bytes() if Path(file).is_file() else b""


def _decoded(file, where: str) -> np.ndarray:
    pillow = require("PIL.Image", "media")
    with explained(where), pillow.open(file, formats=FORMATS) as image:
        return _pixels(image, where)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """What Pillow raises, as a `DataError`."""
    pillow = require("PIL.Image", "media")
    try:
        yield
    except ModelzooError:
        raise
    except FileNotFoundError as error:
        raise DataError("there is no such image file", where=where) from error
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"the image cannot be opened: {error.strerror}", where=where) from error
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise _too_large("far more", where) from error
    except pillow.UnidentifiedImageError as error:
        raise DataError(
            "this is not an image, or its format is unknown",
            where=where,
            next_step="check the file; PNG, JPEG, WebP, GIF, BMP, TIFF and PPM are read",
        ) from error
    except Exception as error:  # Pillow's formats fail in ways of their own
        what = str(error) or type(error).__name__
        raise DataError(f"the image is damaged: {what}", where=where) from error


def _pixels(image, where: str) -> np.ndarray:
    """A Pillow image as (H, W, 3) uint8."""
    _check_size(image.width, image.height, where)
    image.load()
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)  # more than 8 bits, which Pillow would cut off at 255
        if image.mode == "I":
            values = _in_16_bits(values, where)
        return _from_array(values if image.mode == "F" else values.astype(np.uint16), where)
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.array(image)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    result = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _BLOCK // image.width)
    for top in range(0, image.height, rows):  # a copy of the whole would be as large again
        box = (0, top, image.width, min(top + rows, image.height))
        part = image if rows >= image.height else image.crop(box)
        part = np.asarray(part.convert(mode))
        result[top : top + rows] = _on_paper(part) if mode == "RGBA" else part
    return result


def _upright(image):
    """A Pillow image turned as its EXIF block says; as it is, where the block cannot be read.

    Pillow's `exif_transpose` writes the whole block again, and fails where any tag is wrong.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # Pillow fails on damaged blocks in ways of their own; the pixels are whole
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    ways = require("PIL.Image", "media").Transpose
    return image if turn is None else image.transpose(ways[turn])


def _check_size(width: int, height: int, where: str) -> None:
    if width * height > LARGEST:
        raise _too_large(f"{width} x {height}", where)
    if max(width, height) > LONGEST:
        raise DataError(
            f"the image is {width} x {height} pixels, and a side may have {LONGEST:,}",
            where=where,
            next_step="cut it into parts",
        )


def _too_large(pixels: str, where: str) -> DataError:
    return DataError(
        f"the image has {pixels} pixels, over the limit of {LARGEST:,}",
        where=where,
        next_step="make it smaller beforehand",
    )


def _on_paper(image: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 -> (H, W, 3), over white."""
    result = np.empty((*image.shape[:2], 3), np.uint8)
    rows = max(1, _BLOCK // image.shape[1])
    for top in range(0, len(image), rows):  # in 16 bits the whole would be several times as large
        part = image[top : top + rows]
        alpha = part[..., 3:].astype(np.uint16)
        mixed = part[..., :3] * alpha + np.asarray(_PAPER, np.uint16) * (255 - alpha)
        result[top : top + rows] = (mixed + 127) // 255
    return result


# === Arrays ===


def _from_array(source, where: str = "an array") -> np.ndarray:
    array = np.asarray(source)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 2, 3, 4) or not array.size:
        raise DataError(
            f"an image is an array (height, width, 1 to 4), not {array.shape}",
            where=where,
            next_step="pass one image at a time, channels last",
        )
    _check_size(array.shape[1], array.shape[0], where)
    array = in_8_bits(array, where).reshape(*array.shape[:2], channels)
    if channels == 1:
        return array.repeat(3, axis=2)
    if channels == 2:  # grey with alpha
        array = np.concatenate([array[..., :1].repeat(3, axis=2), array[..., 1:]], axis=2)
    return _on_paper(array) if array.shape[2] == 4 else np.ascontiguousarray(array)


def _in_16_bits(array: np.ndarray, where: str) -> np.ndarray:
    """32-bit numbers as the 16-bit ones that Pillow keeps in them."""
    low, high = array.min(), array.max()
    if low < 0 or high > 65535:
        raise DataError(f"an image of 16 bits holds 0 to 65535, not {low} to {high}", where=where)
    check_depth(array, where)
    return array


def check_depth(array: np.ndarray, where: str) -> None:
    """Reject 8-bit numbers in a wider type, which would all be black."""
    if array.size and 0 < array.max() <= 255:
        raise DataError(
            f"an image of 16 bits holds 0 to 65535, and this one nothing above {array.max()}",
            where=where,
            next_step='if it has 8 bits, give it as np.asarray(image, "uint8")',
        )


def in_8_bits(array: np.ndarray, where: str) -> np.ndarray:
    """Numbers of an image, or of all images of a video, as uint8; see `open_image`."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        result = np.empty(array.shape, np.uint8)
        flat, rows = result.reshape(-1), array.reshape(-1)
        for start in range(0, array.size, _BLOCK):
            part = rows[start : start + _BLOCK].astype(np.uint32)
            flat[start : start + _BLOCK] = (part * 255 + 32767) // 65535
        return result
    if array.dtype.kind not in "iuf":
        raise DataError(f"an image holds numbers, not {array.dtype}", where=where)
    low, high = array.min(), array.max()
    if not (0 <= low and high <= 255):  # false where there is NaN, too
        raise DataError(f"an image holds 0 to 255, not {low} to {high}", where=where)
    if 0 < high <= 2 and array.dtype.kind == "f":  # 1 and a little: resizing overshoots
        raise DataError(
            f"an image holds 0 to 255, and this one nothing above {high:.3g}",
            where=where,
            next_step="multiply it by 255",
        )
    return np.rint(array).astype(np.uint8)
