"""Weights moved into huge pages, where the system has them (Linux). stdlib.

A decoder reads all its weights for each token. Over pages of 4 KiB, up to a quarter of that time
was seen to go into translating addresses, on other machines next to nothing. A file's own pages
stay small on most file systems, so the mapping is replaced by a copy in anonymous memory of the
same content, at the same addresses.

Only what the caller names is moved: read-only mappings of a finished file, made by the caller's own
load, before anything computes. A later `munmap` of the same addresses unmaps the copy.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from modelzoo.runtime.memory import available_bytes

__all__ = ["Mapping", "huge_bytes", "huge_page_size", "into_huge_pages", "mappings_of"]

_SYSTEM = Path("/sys/kernel/mm/transparent_hugepage")
_READ, _READ_WRITE = 1, 3
_SHARED, _FIXED, _PRIVATE_ANONYMOUS = 0x01, 0x10, 0x22
_HUGE = 14  # of madvise
_MOVE_TO = 3  # of mremap: MAYMOVE | FIXED
_FAILED = ctypes.c_void_p(-1).value


class Mapping(NamedTuple):
    """Addresses of this process that show a file from an offset on."""

    start: int
    end: int
    offset: int

    @property
    def size(self) -> int:
        return self.end - self.start


def huge_page_size() -> int:
    """Bytes of a huge page; 0 where the system has none for the memory of a program.

    Example:
        >>> huge_page_size() in (0, 2 << 20)  # on x86-64
        True
    """
    if sys.platform != "linux":
        return 0
    try:
        if "[never]" in (_SYSTEM / "enabled").read_text():
            return 0
        return int((_SYSTEM / "hpage_pmd_size").read_text())
    except (OSError, ValueError):
        return 0


def mappings_of(descriptor: int) -> list[Mapping]:
    """Where this process has mapped an open file read-only.

    Empty where the system does not tell.
    """
    try:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        inode = str(os.fstat(descriptor).st_ino)
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    found: list[Mapping] = []
    for line in lines:
        span, access, offset, _, its_inode, *its_name = line.split(None, 5)
        if its_inode != inode or its_name != [name] or access[:3] != "r--":
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        found.append(Mapping(start, end, int(offset, 16)))
    return found


def into_huge_pages(
    descriptor: int, known: Collection[Mapping] = (), page: int | None = None
) -> list[Mapping]:
    """Move what a load has mapped of a finished file into huge pages; the mappings moved.

    Nothing may write to the file or grow its mappings afterwards, and nothing may compute yet.

    Args:
        descriptor: of the file, which is open.
        known: its mappings before the load, which stay.
        page: bytes of a huge page; None asks the system. Smaller mappings stay.

    Example:
        >>> with open("gpt.bundle/model.tflite", "rb") as file:
        ...     into_huge_pages(file.fileno())  # it is not mapped
        []
    """
    page = huge_page_size() if page is None else page
    if not page:
        return []
    wanted = [m for m in mappings_of(descriptor) if m not in known and m.size >= page]
    free = available_bytes()
    # The file's own pages go when memory runs short; a copy does not.
    if free is not None and free < 2 * sum(m.size for m in wanted):
        return []
    return [mapping for mapping in wanted if _move(descriptor, mapping, page)]


def huge_bytes(mappings: Collection[Mapping]) -> int:
    """Bytes of mappings that are in huge pages now."""
    total, inside = 0, False
    with suppress(OSError), open("/proc/self/smaps") as lines:
        for line in lines:
            if span := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
                start, end = (int(part, 16) for part in span.groups())
                inside = any(m.start < end and start < m.end for m in mappings)
            elif inside and line.startswith("AnonHugePages:"):
                total += int(line.split()[1]) * 1024
    return total


def _move(descriptor: int, mapping: Mapping, page: int) -> bool:
    """Whether the copy took the mapping's place; if not, all is as it was."""
    libc, start, size = _libc(), mapping.start, mapping.size
    raw = libc.mmap(None, size + page, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if raw == _FAILED:
        return False
    # A huge page that moves whole stays one: both addresses are as far into a page.
    copy = raw + (start - raw) % page
    for low, high in ((raw, copy), (copy + size, raw + size + page)):
        if high > low:
            libc.munmap(low, high - low)
    if not libc.madvise(copy, size, _HUGE) and _filled(copy, mapping, descriptor):
        if not libc.mprotect(copy, size, _READ):
            if libc.mremap(copy, size, size, _MOVE_TO, start) == start:
                return True
            # A move that fails late has unmapped the target.
            libc.mmap(start, size, _READ, _SHARED | _FIXED, descriptor, mapping.offset)
    libc.munmap(copy, size)
    return False


def _filled(address: int, mapping: Mapping, descriptor: int) -> bool:
    """Read what a mapping shows; through the mapping, all of it would be resident twice."""
    view = memoryview((ctypes.c_ubyte * mapping.size).from_address(address))
    try:
        wanted, read = min(mapping.size, os.fstat(descriptor).st_size - mapping.offset), 0
        while read < wanted:
            count = os.preadv(descriptor, [view[read:wanted]], mapping.offset + read)
            if not count:
                return False
            read += count
    except OSError:
        return False
    return True


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.argtypes = [address, size, number, number, number, ctypes.c_long]
    libc.mremap.argtypes = [address, size, size, number, address]
    libc.mmap.restype = libc.mremap.restype = address
    libc.munmap.argtypes = [address, size]
    libc.madvise.argtypes = libc.mprotect.argtypes = [address, size, number]
    return libc
