"""Search in a folder of images and sounds: its files, their vectors, and a sheet of what was found.

The index is that of `runtime.search.index`: a file is known by its content, so it is embedded once,
whatever it is called and wherever it stands.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelzoo.errors import DataError, require
from modelzoo.files import replacing
from modelzoo.runtime.media.suffixes import kind_of_file
from modelzoo.runtime.search.index import Hit, Passage

__all__ = ["MediaFile", "contact_sheet", "find_media", "media_embedder"]

_TILE, _LABEL, _GAP = 192, 40, 12  # pixels


@dataclass(frozen=True)
class MediaFile:
    """A file, its kind ("image" or "audio") and the hash of its content."""

    path: Path
    kind: str
    sha256: str

    @property
    def passage(self) -> Passage:
        """As the index has it: known by its content, and by where it stands."""
        return Passage(f"{self.kind} {self.sha256}", str(self.path))


def find_media(path: str | os.PathLike, kinds: Sequence[str]) -> list[MediaFile]:
    """The files of these kinds in a folder, at any depth, or the one file; hidden ones left out.

    Raises:
        DataError: there is none, or one that cannot be opened.
    """
    root = Path(path)
    entries = [root] if root.is_file() else sorted(root.rglob("*"))
    found = []
    for entry in entries:
        hidden = any(part.startswith(".") for part in entry.relative_to(root).parts)
        kind = kind_of_file(entry)
        if kind is not None and kind in kinds and not hidden and entry.is_file():
            found.append(MediaFile(entry, kind, _sha256(entry)))
    if not found:
        raise DataError(
            f"there is no {' or '.join(kinds)} file",
            where=root,
            next_step="--in takes a folder of files that this model reads",
        )
    return found


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror}", where=path) from error


def media_embedder(
    model,
    files: Sequence[MediaFile],
    width: int,
    bad: Callable[[DataError], object] | None = None,
) -> Callable[[list[str]], np.ndarray]:
    """What `search.vectors_of` asks for the vectors (N, D) of passages' texts.

    Args:
        model: offers `embed_image`, `embed_audio`.
        width: D.
        bad: called with a file that cannot be read, whose vector then is zeros and which no query
            finds. Without it, such a file is an error.
    """
    by_text = {file.passage.text: file for file in files}

    def embed(texts: list[str]) -> np.ndarray:
        vectors: dict[str, np.ndarray] = {}
        for kind in ("image", "audio"):
            own = [text for text in texts if by_text[text].kind == kind]
            paths = [by_text[text].path for text in own]
            found = _vectors(getattr(model, f"embed_{kind}"), paths, width, bad) if own else ()
            vectors |= zip(own, found, strict=True)
        return np.stack([vectors[text] for text in texts])

    return embed


def _vectors(embed, paths: list[Path], width: int, bad) -> list[np.ndarray]:
    try:
        return list(embed(paths))
    except DataError:
        if bad is None:
            raise
    found: list[np.ndarray] = []
    for path in paths:  # one at a time: the others' vectors are none the worse
        try:
            found.append(embed(path))
        except DataError as error:
            error.where = error.where or str(path)
            bad(error)
            found.append(np.zeros(width, np.float32))
    return found


# === The sheet ===


def contact_sheet(hits: Sequence[Hit], path: str | os.PathLike, columns: int = 5) -> None:
    """Write a PNG of what was found: a tile each, the best first, with its score and its name.

    A sound's tile is its wave.

    Raises:
        OutputError: it cannot be written.
    """
    image_module = require("PIL.Image", "media")
    draw_module = require("PIL.ImageDraw", "media")
    columns = min(columns, len(hits)) or 1
    rows = -(-len(hits) // columns) or 1
    size = (columns * (_TILE + _GAP) + _GAP, rows * (_TILE + _LABEL + _GAP) + _GAP)
    sheet = image_module.new("RGB", size, "white")
    draw = draw_module.Draw(sheet)
    for number, hit in enumerate(hits):
        row, column = divmod(number, columns)
        left, top = _GAP + column * (_TILE + _GAP), _GAP + row * (_TILE + _LABEL + _GAP)
        tile = image_module.fromarray(_tile(hit.passage.where))
        tile.thumbnail((_TILE, _TILE))
        sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + (_TILE - tile.height) // 2))
        name = Path(hit.passage.where).name
        name = name if len(name) <= 28 else name[:25] + "..."
        draw.text((left, top + _TILE + 4), f"{number + 1}.  {hit.score:.4f}", fill="black")
        draw.text((left, top + _TILE + 20), name.encode("ascii", "replace"), fill="gray")
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")


def _tile(where: str) -> np.ndarray:
    if kind_of_file(where) == "image":
        from modelzoo.runtime.media.images import open_image

        return open_image(where)
    from modelzoo.runtime.media.sounds import open_sound

    samples = open_sound(where, 8000)
    blocks = np.array_split(samples, min(_TILE, len(samples)))
    heights = np.array([np.abs(block).max() for block in blocks])
    heights = np.interp(np.linspace(0, len(heights) - 1, _TILE), np.arange(len(heights)), heights)
    far = np.abs(np.linspace(-1, 1, _TILE))[:, None]
    inside = far <= np.maximum(heights / max(heights.max(), 1e-9), 0.01)[None]
    return np.where(inside[..., None], (40, 90, 160), (240, 240, 240)).astype(np.uint8)
