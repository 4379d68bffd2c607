"""Videos as frames: an animation, a folder of images, an array, a list of images.

Films (.mp4) need a decoder that is large: ffmpeg makes a folder of images of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modelzoo.errors import DataError, require
from modelzoo.runtime.arrays import read_array
from modelzoo.runtime.media.images import (
    FORMATS,
    check_depth,
    explained,
    in_8_bits,
    open_image,
    prepare_image,
)

__all__ = ["choose_frames", "open_video", "prepare_video"]

MAX_FRAMES = 10_000
MAX_BYTES = 2**30  # of an animation's decoded frames
_ANIMATIONS = (".gif", ".webp", ".png", ".apng", ".tif", ".tiff")
_STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")


def prepare_video(source, processing: Mapping, still: bool = False) -> np.ndarray:
    """(F, H, W, 3) uint8: as many frames as the model takes, at even distances.

    Args:
        source: see `open_video`.
        processing: `{"video": {"num_frames": F}, "image": {…}}`.
        still: return one frame, (1, H, W, 3), of a video that has but one: an image.

    Raises:
        DataError: it cannot be read, or holds no frame.
    """
    frames = open_video(source)
    wanted = 1 if still and len(frames) == 1 else processing["video"]["num_frames"]
    chosen = choose_frames(len(frames), wanted)
    kept = {place: prepare_image(frames[place], processing["image"]) for place in set(chosen)}
    return np.stack([kept[place] for place in chosen])


def choose_frames(count: int, wanted: int) -> list[int]:
    """The middles of `wanted` equal parts of `count` frames; of too few, some are there twice.

    Example:
        >>> choose_frames(30, 3), choose_frames(1, 3)
        ([5, 15, 25], [0, 0, 0])
    """
    return [(2 * part + 1) * count // (2 * wanted) for part in range(wanted)]


def open_video(source) -> list:
    """The frames, each something that `open_image` takes.

    Args:
        source: the path of an animation (GIF, WebP, APNG, TIFF), of a `.npy` file or of a folder of
            images in the order of their names; an animation's bytes; (F, H, W, C) numbers; or a
            list of images.

    Raises:
        DataError: corrupt, of another format, or without a frame.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            return _checked([file for file in _in_order(path)], path)
        if path.suffix.lower() == ".npy":
            return _of_array(read_array(path, DataError), path)
        if path.suffix.lower() not in _ANIMATIONS:
            raise DataError(
                f"no reader for {path.suffix or 'files without a suffix'}; a video is an animation "
                f"({', '.join(_ANIMATIONS)}), a .npy file or a folder of images",
                where=path,
                next_step=f"ffmpeg -i {path.name} frames/%05d.png makes a folder of it",
            )
        return _of_animation(path)
    if isinstance(source, bytes):
        return _of_animation(source)
    if isinstance(source, list | tuple):
        return _checked(list(source), None)
    return _of_array(np.asarray(source), None)


def _in_order(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in _STILLS and not file.name.startswith(".")
    )


def _of_array(frames: np.ndarray, where) -> list:
    if frames.ndim == 3 and frames.shape[-1] in (1, 3, 4):
        frames = frames[None]  # a picture is a film of one frame
    if frames.ndim not in (3, 4):
        raise DataError(
            f"a video's array must be (frames, height, width, channels), not {frames.shape}",
            where=where,
        )
    if frames.size and frames.dtype.kind in "iuf":  # all of them: a dark frame alone says little
        name = "a video's array" if where is None else os.fspath(where)
        if frames.dtype == np.uint16:
            check_depth(frames, name)
        frames = in_8_bits(frames, name)
    return _checked(list(frames), where)


def _of_animation(source: Path | bytes) -> list:
    image_module = require("PIL.Image", "media")
    open_image(source)  # whatever is wrong with the file is reported in one way
    import io

    frames = []
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    where = "an animation" if isinstance(source, bytes) else os.fspath(source)
    with explained(where), image_module.open(opened, formats=FORMATS) as animation:
        count = getattr(animation, "n_frames", 1)
        _check_count(count, source)
        size = count * 4 * animation.width * animation.height
        if size > MAX_BYTES:
            raise DataError(
                f"the animation would take {size / 2**30:.1f} GiB of memory; 1 GiB is the most",
                where=source if isinstance(source, Path) else None,
                next_step="cut it into parts, or make its frames smaller",
            )
        for number in range(count):
            try:
                animation.seek(number)
                frames.append(animation.convert("RGBA"))
            except (EOFError, OSError, ValueError, SyntaxError) as error:
                raise DataError(
                    f"frame {number + 1} of {count} cannot be read: {error}",
                    where=source if isinstance(source, Path) else None,
                ) from error
    return frames


def _checked(frames: list, where) -> list:
    if not frames:
        raise DataError("the video has no frame", where=where)
    _check_count(len(frames), where)
    return frames


def _check_count(count: int, where) -> None:
    if count > MAX_FRAMES:
        raise DataError(
            f"the video has {count:,} frames; {MAX_FRAMES:,} are the most that are read at once",
            where=where if isinstance(where, str | os.PathLike) else None,
            next_step="cut it into parts",
        )
