"""`model.keras` before Keras opens it: what it states must be there, for Keras would allocate it.

Keras writes its archive uncompressed, and arrays as they are. So what is many times larger inside
than outside was not written by it.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from modelzoo.errors import ModelDirectoryError

__all__ = ["check_model_file"]

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_TIMES = 4  # the bytes of the file: somebody may have compressed it
_ROOM = 1 << 20  # bytes that any file may take
_LARGE = 64 << 20  # bytes of weights above which Keras' own bounds are enough


def check_model_file(path: Path) -> None:
    """
    Raises:
        ModelDirectoryError: no archive of Keras, or one whose parts state far more than it holds.
    """
    if not zipfile.is_zipfile(path):
        raise _damaged(path, "it is not a zip archive, or it is cut off")
    most = _TIMES * path.stat().st_size + _ROOM
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        stated = sum(info.file_size for info in members.values())
        if stated > most:
            raise _damaged(path, f"its parts state {stated:,} bytes, and {most:,} are the most")
        if _CONFIG not in members:
            raise _damaged(path, f"it has no {_CONFIG}")
        if not isinstance(json.loads(archive.read(_CONFIG)), dict):
            raise _damaged(path, f"{_CONFIG} is not a table")
        if _WEIGHTS in members and members[_WEIGHTS].file_size <= _LARGE:
            _check_weights(path, archive.read(_WEIGHTS))


def _check_weights(path: Path, raw: bytes) -> None:
    """Arrays may state any shape, of which HDF5 keeps only what was written."""
    import h5py

    stated = 0

    def count(name: str, item: object) -> None:
        nonlocal stated
        if isinstance(item, h5py.Dataset):
            stated += item.size * item.dtype.itemsize if item.size is not None else 0

    with h5py.File(io.BytesIO(raw), "r") as file:
        file.visititems(count)
    if stated > _TIMES * len(raw) + _ROOM:
        raise _damaged(path, f"its weights state {stated:,} bytes, and {len(raw):,} are there")


def _damaged(path: Path, what: str) -> ModelDirectoryError:
    return ModelDirectoryError(
        f"{path.name} is damaged: {what}", where=path.parent, next_step="write the directory again"
    )
