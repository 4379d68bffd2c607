"""A GGUF file as it lies on the disk: its metadata, and where each tensor stands.

Only the header is read. It is read here and not with `gguf.GGUFReader`, which takes seconds for a
large vocabulary and does not say where a damaged file breaks off. What block a quantization has and
what its values are is `gguf`'s to know.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import WeightsError, require

if TYPE_CHECKING:
    import gguf
    import numpy as np

__all__ = ["GgufFile", "StoredTensor", "quantizations", "read_file"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# The number of a type of metadata -> its `struct` code.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"}
_SCALARS |= {10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_AGAIN = "copy or download the file again; it is not what its writer wrote"
# Values that are dequantized at once: they stay in the processor's cache, and `gguf` would keep a
# second copy of the whole tensor.
_AT_ONCE = 1 << 16


def quantizations() -> list[str]:
    """The names of the quantizations that are read: those that `gguf` dequantizes.

    Raises:
        MissingDependencyError: the package `gguf` is not installed.

    Example:
        >>> {"F16", "Q4_K", "Q5_0"} <= set(quantizations())
        True
    """
    gguf = require("gguf", "tensorflow")
    return [kind.name for kind in gguf.GGMLQuantizationType if _is_read(kind)]


def _is_read(kind: gguf.GGMLQuantizationType) -> bool:
    """Whether `gguf` dequantizes this type; it names some that it does not."""
    import numpy as np

    gguf = require("gguf", "tensorflow")
    try:
        gguf.quants.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of the file.

    Attributes:
        name: GGUF's own: `blk.0.attn_q.weight`.
        shape: rows first, as numpy has it. The file has it the other way round.
        quantization: one of `quantizations()`.
        start: its first byte in the file.
        size: in bytes.
    """

    name: str
    shape: tuple[int, ...]
    quantization: str
    start: int
    size: int


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file, opened; `data` is a memory map of all of it."""

    path: Path
    data: mmap.mmap
    metadata: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    def values(self, tensor: StoredTensor) -> np.ndarray:
        """The values of a tensor: F32 and F16 a view of the file, all others float32, computed."""
        import numpy as np

        gguf = require("gguf", "tensorflow")
        raw = np.frombuffer(self.data, np.uint8, tensor.size, tensor.start)
        if tensor.quantization in ("F32", "F16"):
            return raw.view("<f4" if tensor.quantization == "F32" else "<f2").reshape(tensor.shape)
        kind = gguf.GGMLQuantizationType[tensor.quantization]
        rows = raw.reshape(math.prod(tensor.shape[:-1]), -1)
        values = np.empty((len(rows), tensor.shape[-1]), np.float32)
        step = max(1, _AT_ONCE // tensor.shape[-1])
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            values[part] = gguf.quants.dequantize(rows[part], kind)
        return values.reshape(tensor.shape)


def read_file(path: str | os.PathLike) -> GgufFile:
    """Opens a GGUF file and reads its header.

    Raises:
        WeightsError: there is no such file, it is not a GGUF file, it is cut off or damaged, or it
            holds a quantization that is not read here.
        MissingDependencyError: the package `gguf` is not installed.
    """
    require("gguf", "tensorflow")
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
            _check_kind(path, start)
            header = _Header(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        what = f"cannot read {path}: {error.strerror or error}"
        raise WeightsError(what, next_step="give the path of a .gguf file") from error

    num_tensors, num_keys = header.number("Q"), header.number("Q")
    # At the least; so lying numbers are found before they are followed.
    header.expect(32 * num_tensors + 13 * num_keys, "what it counts")
    metadata: dict[str, Any] = {}
    for _ in range(num_keys):
        key = header.string("the name of a metadata key")
        if key in metadata:
            raise header.broken(f"the metadata key {key} stands there twice")
        metadata[key] = header.value(key)
    parts = metadata.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        what = f"this is one of {parts} files that hold the model together"
        raise WeightsError(
            what, where=path, next_step="join them first: llama-gguf-split --merge FIRST OUT.gguf"
        )

    infos = [header.tensor_info() for _ in range(num_tensors)]
    return GgufFile(path, header.data, metadata, _placed(header, metadata, infos))


def _check_kind(path: Path, start: bytes) -> None:
    if start[:4] != _MAGIC:
        what = f"not a GGUF file: it begins with {start[:4]!r}" if start else "the file is empty"
        raise WeightsError(what, where=path, next_step="give the path of a .gguf file")
    if len(start) < 8:
        raise WeightsError("the file ends after 'GGUF'", where=path, next_step=_AGAIN)
    version = int.from_bytes(start[4:], "little")
    if version in _VERSIONS:
        return
    known = " and ".join(map(str, _VERSIONS))
    if version & 0xFFFF == 0:
        what = "this GGUF file is big-endian; only little-endian ones are read"
    else:
        what = f"GGUF version {version} is not known; the versions {known} are"
    raise WeightsError(what, where=path, next_step="convert the model to GGUF again")


def _placed(header: _Header, metadata: Mapping, infos: list[tuple]) -> dict[str, StoredTensor]:
    """The tensors with their places in the file, all checked to lie inside it."""
    gguf = require("gguf", "tensorflow")
    names = {int(kind): kind.name for kind in gguf.GGMLQuantizationType}
    present = {kind for _, _, kind, _ in infos}
    read = {k for k in present & names.keys() if _is_read(gguf.GGMLQuantizationType(k))}
    foreign = [(name, kind) for name, _, kind, _ in infos if kind not in read]
    if foreign:
        name, kind = foreign[0]
        raise WeightsError(
            f"the quantization {names.get(kind, f'number {kind}')} is not supported; "
            f"those that are: {', '.join(quantizations())}",
            where=f"{header.path}: {name}, {len(foreign)} of {len(infos)} tensors",
            next_step="take a file of the same model in one of these, for example Q8_0; a newer "
            "version of the package gguf may read more",
        )
    alignment = metadata.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise header.broken(f"general.alignment is {alignment!r}, not a power of two")
    begin = -(-header.at // alignment) * alignment

    tensors: dict[str, StoredTensor] = {}
    for name, shape, kind, offset in infos:
        if name in tensors:
            raise header.broken(f"the tensor {name} stands there twice")
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
        if shape[-1] % block:
            what = (
                f"the rows of {name} have {shape[-1]} values; {names[kind]} has blocks of {block}"
            )
            raise header.broken(what)
        size = math.prod(shape) // block * size
        tensors[name] = StoredTensor(name, shape, names[kind], begin + offset, size)
    past = [t for t in tensors.values() if t.start + t.size > len(header.data)]
    if past:
        end = max(tensor.start + tensor.size for tensor in past)
        raise WeightsError(
            f"the file ends at byte {len(header.data):,}, the data of its tensors at {end:,}: "
            f"{len(past)} of {len(tensors)} are cut off",
            where=f"{header.path}: {past[0].name}",
            next_step=_AGAIN,
        )
    return tensors


class _Header:
    """Reads a header from front to back, and never past the end of the file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 8

    def number(self, code: str) -> Any:
        """An int, a float or a bool, as the code of `struct` says."""
        start = self._advance(struct.calcsize(code), "a number")
        return struct.unpack_from("<" + code, self.data, start)[0]

    def string(self, what: str) -> str:
        length = self.number("Q")
        start = self._advance(length, what)
        try:
            return self.data[start : self.at].decode()
        except UnicodeDecodeError as error:
            raise self.broken(f"{what} is not UTF-8") from error

    def value(self, key: str) -> object:
        kind = self.number("I")
        if kind == _STRING:
            return self.string(f"the value of {key}")
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind != _ARRAY:
            raise self.broken(f"the value of {key} is of type {kind}, which is not known")
        kind, length = self.number("I"), self.number("Q")
        if kind == _STRING:
            self.expect(length * 8, f"the list {key}")  # a lying length shows before the loop
            return [self.string(f"an entry of {key}") for _ in range(length)]
        if kind not in _SCALARS:
            raise self.broken(f"the list {key} is of type {kind}, which is not known")
        size = struct.calcsize(_SCALARS[kind])
        start = self._advance(length * size, f"the list {key}")
        return list(struct.unpack_from(f"<{length}{_SCALARS[kind]}", self.data, start))

    def tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        """(name, shape, number of the quantization, offset in the tensor data)."""
        name = self.string("the name of a tensor")
        dimensions = self.number("I")
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise self.broken(f"the tensor {name} has {dimensions} dimensions")
        shape = tuple(self.number("Q") for _ in range(dimensions))[::-1]
        if 0 in shape:
            raise self.broken(f"the tensor {name} has no values: its shape is {shape}")
        return name, shape, self.number("I"), self.number("Q")

    def broken(self, what: str) -> WeightsError:
        return WeightsError(what, where=f"{self.path}, byte {self.at:,}", next_step=_AGAIN)

    def _advance(self, size: int, what: str) -> int:
        self.expect(size, what)
        start = self.at
        self.at += size
        return start

    def expect(self, size: int, what: str) -> None:
        if size > len(self.data) - self.at:
            raise self.broken(f"the file ends inside its header, in {what}")
