"""Which medium a file holds, by its suffix. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["SUFFIXES", "kind_of_file"]

IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".m4a")
VIDEOS = (".gif", ".webp", ".apng", ".png", ".tif", ".tiff", ".npy")  # or a folder of images
SUFFIXES = {"image": IMAGES, "audio": SOUNDS, "video": VIDEOS}


def kind_of_file(path: object) -> str | None:
    """ "image" or "audio" by a path's suffix; `None` for others, and for what is not a path.

    >>> kind_of_file("a/photo.JPG"), kind_of_file("hello.wav"), kind_of_file("hello")
    ('image', 'audio', None)
    """
    if not isinstance(path, str | os.PathLike):
        return None
    suffix = Path(path).suffix.lower()
    return next((kind for kind in ("image", "audio") if suffix in SUFFIXES[kind]), None)
