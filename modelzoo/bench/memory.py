"""What this process holds in memory, and what the machine has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def resident_bytes() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not tell."""
    return _proc("self/status", "VmRSS")


def peak_bytes() -> int | None:
    """The most bytes that this process has had in memory; None where the system does not tell."""
    # Not ru_maxrss first: on Linux it counts what the parent had before this process began.
    peak = _proc("self/status", "VmHWM")
    if peak is not None or os.name == "nt":
        return peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available_bytes() -> int | None:
    """Bytes of memory that a program may still take; None where the system does not tell."""
    return _proc("meminfo", "MemAvailable")


def cache_bytes() -> int:
    """The size of the last-level cache; 32 MiB where the system does not tell.

    Example:
        >>> cache_bytes()
        33554432
    """
    sizes = []
    for path in _CACHES.glob("index*/size"):
        try:
            text = path.read_text().strip()
            sizes.append(int(text.rstrip("KMG")) * _UNITS.get(text[-1:], 1))
        except (OSError, ValueError):
            continue
    return max(sizes, default=32 << 20)


def _proc(file: str, key: str) -> int | None:
    """A line such as `VmRSS:  1234 kB` of a file of Linux's /proc, in bytes."""
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(f"{key}:")]
    return int(found[0][1]) * 1024 if found else None
