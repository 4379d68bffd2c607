"""What an image file holds besides the pixels: notes, profiles, other programs' data.

A decoder gives up on a file when one of them is damaged, and the pixels are whole all the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

__all__ = ["without_side_blocks"]

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"


def without_side_blocks(data: bytes) -> bytes | None:
    """The file with only those blocks that say what the picture looks like.

    These are its pixels, colours and transparency, and EXIF, which says which side is up.

    Returns:
        `None` for a file that is not a PNG or a JPEG, and where there is nothing to leave out.

    Example:
        >>> without_side_blocks(b"GIF89a") is None
        True
    """
    if data.startswith(_PNG):
        kept = _PNG + b"".join(_png_blocks(data))
    elif data.startswith(_JPEG):
        kept = _JPEG + b"".join(_jpeg_blocks(data))
    else:
        return None
    return kept if len(kept) < len(data) else None


def _png_blocks(data: bytes) -> Iterator[bytes]:
    """Chunks (PNG, third edition, section 5.3); critical ones have a capital letter first."""
    start = len(_PNG)
    while start + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, start)
        name, block = data[start + 4 : start + 8], data[start : start + 12 + size]
        whole = block[-4:] == struct.pack(">I", zlib.crc32(block[4:-4]))
        if name[:1].isupper() or name == b"tRNS" or (name == b"eXIf" and whole):
            yield block
        start += 12 + size


def _jpeg_blocks(data: bytes) -> Iterator[bytes]:
    """Segments (ITU-T T.81, annex B) before the pixels, which begin with SOS, and the rest."""
    start = len(_JPEG)
    while data[start : start + 1] == b"\xff" and start + 4 <= len(data):
        marker, size = struct.unpack_from(">xBH", data, start)
        if marker == 0xDA:
            break
        block = data[start : start + 2 + size]
        exif = marker == 0xE1 and block[4:8] == b"Exif"
        colours = (marker == 0xE0 and len(block) >= 18) or (marker == 0xEE and len(block) >= 16)
        if exif or colours or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield block
        start += 2 + size
    yield data[start:]
