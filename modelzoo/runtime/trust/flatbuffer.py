"""Check a flatbuffer before anything follows its offsets. numpy only.

All tables of one type are checked at once, one field after another, so the time depends on the
schema and not on the weights: their bytes are never touched. The format: FlatBuffers, "Internals".

N tables, M elements.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["Damaged", "Flatbuffer"]

_WIDTHS = {"1": 1, "2": 2, "4": 4, "8": 8, "x": 4}
_TYPES = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}


class Damaged(Exception):
    """What is wrong with the file, without a path."""


class Flatbuffer:
    """A buffer whose every offset leads to a whole table, vector or text inside it.

    Args:
        data: the bytes, (size,) uint8; may be a memory map.
        root: the type of the outermost table.
        tables, unions: the schema, see `tflite_schema`.

    Attributes:
        root: the position of the outermost table, (1,).

    Raises:
        Damaged: the first table that is wrong, by its type and field.
    """

    def __init__(
        self,
        data: np.ndarray,
        root: str,
        tables: Mapping[str, list[str]],
        unions: Mapping[str, list[str]],
    ):
        self.size, self._tables, self._unions = len(data), tables, unions
        self._views = {
            width: data[: len(data) // width * width].view(name) for width, name in _TYPES.items()
        }
        if self.size < 8:
            raise Damaged("it is too short")
        self.root = self._read(np.zeros(1, np.int64), 4)
        self._check_tables(root, self.root)

    # === Reading what was checked ===

    def numbers(self, at: np.ndarray, field: int, dtype: str = "<u4") -> np.ndarray:
        """A number of each table, (N,); 0 where it is left out."""
        where = self._fields(at, field)
        width = np.dtype(dtype).itemsize
        found = self._views[width].view(dtype)[np.maximum(where, 0) // width]
        return np.where(where < 0, np.array(0, dtype), found)

    def vectors(
        self, at: np.ndarray, field: int, dtype: str = "<i4"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of a vector of each table, end to end (M,), and how many each has (N,)."""
        starts, counts = self.places(at, field)
        width = np.dtype(dtype).itemsize
        where = _spread(starts, counts, width)
        return self._views[width].view(dtype)[where // width], counts

    def places(self, at: np.ndarray, field: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the elements of a vector of each table begin (N,), and how many there are (N,)."""
        there, target = self.targets(at, field)
        starts, counts = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
        starts[there] = target + 4
        counts[there] = self._read(target, 4)
        return starts, counts

    def children(self, at: np.ndarray, field: int) -> tuple[np.ndarray, np.ndarray]:
        """The tables of a vector of each table, end to end (M,), and how many each has (N,)."""
        starts, counts = self.places(at, field)
        where = _spread(starts, counts, 4)
        return where + self._read(where, 4), counts

    def targets(self, at: np.ndarray, field: int) -> tuple[np.ndarray, np.ndarray]:
        """Which tables have the field (N,) bool, and where it leads in those that do."""
        where = self._fields(at, field)
        there = where >= 0
        return there, where[there] + self._read(where[there], 4)

    def _fields(self, at: np.ndarray, field: int) -> np.ndarray:
        """Where a field of each table lies, (N,); -1 where it is left out."""
        table = at - self._read(at, 4, signed=True)
        inside = 4 + 2 * field + 2 <= self._read(table, 2)
        offset = self._read(np.where(inside, table + 4 + 2 * field, 0), 2)
        return np.where(inside & (offset > 0), at + offset, -1)

    def _read(self, where: np.ndarray, width: int, signed: bool = False) -> np.ndarray:
        view = self._views[width]
        return (view.view("<i4") if signed else view)[where // width].astype(np.int64)

    # === Checking ===

    def _check_tables(self, name: str, at: np.ndarray) -> None:
        at = np.unique(at)  # tables may be shared, and then count once
        self._need(name, "", at, 4, 4)
        table = at - self._read(at, 4, signed=True)
        self._need(name, "", table, 4, 2)
        length, size = self._read(table, 2), self._read(table + 2, 2)
        _all((length >= 4) & (length % 2 == 0) & (size >= 4), name, "has no size")
        self._need(name, "", table, length, 2)
        self._need(name, "", at, size, 4)
        for field, kind in enumerate(self._tables[name]):
            where = self._fields(at, field)
            width, there = _WIDTHS.get(kind, 4), where >= 0
            inside = where - at >= 4
            inside &= where - at + width <= size
            _all((inside & (where % width == 0))[there], name, f"field {field} is outside")
            if kind in _WIDTHS:
                continue
            target = where[there] + self._read(where[there], 4)
            what = f"field {field}"
            if kind[0] == "?":
                kinds = self.numbers(at, field - 1, "<u1")[there]
                self._check_union(kind[1:], f"{name}, {what}", kinds, target)
            elif kind[0] == "[":
                self._check_vectors(kind[1:], name, what, np.unique(target))
            elif kind == "s":
                self._check_vectors("1", name, what, np.unique(target), ends=True)
            else:
                self._check_some(kind, target)

    def _check_union(self, union: str, what: str, kinds, target) -> None:
        members = self._unions[union]
        for kind in np.unique(kinds).tolist():
            if kind > len(members):
                raise Damaged(f"{what}: {union} {kind} is not known")
            if kind:
                self._check_some(members[kind - 1], target[kinds == kind])

    def _check_vectors(self, kind: str, name: str, what: str, target, ends: bool = False) -> None:
        width = _WIDTHS.get(kind, 4)
        self._need(name, what, target, 4, 4)
        counts = self._read(target, 4)
        self._need(name, what, target + 4, counts * width + ends, width)
        if ends:
            _all(self._read(target + 4 + counts, 1) == 0, name, f"{what}: a text has no end")
        if kind in _WIDTHS:
            return
        # Vectors of offsets that overlap could make a small file a huge one.
        _all(np.sum(counts) <= self.size // 4, name, f"{what}: vectors overlap")
        where = _spread(target + 4, counts, 4)
        self._check_some(kind, where + self._read(where, 4))

    def _check_some(self, name: str, at: np.ndarray) -> None:
        if len(at):
            self._check_tables(name, at)

    def _need(self, name: str, what: str, at, length, step: int) -> None:
        inside = (at >= 0) & (at % step == 0) & (at + length <= self.size)
        _all(inside, name, f"{what or 'a table'} is outside of the file")


def _all(good, name: str, what: str) -> None:
    if not np.all(good):
        raise Damaged(f"{name}: {what}")


def _spread(starts: np.ndarray, counts: np.ndarray, width: int) -> np.ndarray:
    """The position of each element of several vectors, end to end."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before * width, counts) + width * np.arange(counts.sum())
