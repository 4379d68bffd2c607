"""Arrays in `.npy` and `.npz` files, whose headers are checked before memory is taken.

A header is a Python literal that states a shape; read as it stands, it decides what is allocated.
Here it must fit the bytes of the file. Pickled objects and compressed archives are not read.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from modelzoo.errors import ModelzooError, parsing
from modelzoo.files import check_file

__all__ = ["open_arrays", "read_array"]

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_array(path: str | os.PathLike, error: type[ModelzooError]) -> np.ndarray:
    """The array of a `.npy` file.

    Raises:
        error: not such a file, cut off, or one that states more than it holds.
    """
    size = check_file(path, error)
    with parsing(path, error, "not a readable .npy file"), open(path, "rb") as file:
        shape, fortran, dtype = _header(file, size)
        array = np.fromfile(file, dtype, math.prod(shape))
        return array.reshape(shape, order="F" if fortran else "C")


class _Arrays(Mapping[str, np.ndarray]):
    """name -> array of an open archive, read when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

    def __getitem__(self, name: str) -> np.ndarray:
        raw = self._archive.read(self._members[name])  # its checksum is checked
        file = io.BytesIO(raw)
        shape, fortran, dtype = _header(file, len(raw))
        array = np.frombuffer(raw, dtype, math.prod(shape), file.tell())
        return array.reshape(shape, order="F" if fortran else "C")

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@contextmanager
def open_arrays(
    path: str | os.PathLike,
    error: type[ModelzooError],
    what: str = "cannot be read",
    next_step: str | None = None,
) -> Iterator[Mapping[str, np.ndarray]]:
    """name -> array of a `.npz` that `np.savez` wrote; one is read when it is asked for.

    Args:
        what: the beginning of a message.

    Raises:
        error: not such a file, damaged, compressed, or one that states more than it holds; what
            goes wrong in the block, too.
    """
    size = check_file(path, error)
    with (
        parsing(path, error, what, next_step=next_step),
        open(path, "rb") as file,
        zipfile.ZipFile(file) as archive,
    ):
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename} is compressed")
            if info.file_size > size:
                raise ValueError(f"{info.filename} states {info.file_size:,} bytes of {size:,}")
        yield _Arrays(archive)


def _header(file: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of the array that follows; the file is left at its first byte.

    Raises:
        ValueError: no array, Python objects, or more bytes than the `size` of the file holds.
    """
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of format {version}, and 1.0 and 2.0 are read")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("an array holds Python objects, which are not loaded")
    there, stated = size - file.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or stated > there:
        raise ValueError(
            f"an array states {stated:,} bytes ({shape}, {dtype}), and {there:,} are there"
        )
    return shape, fortran, dtype
