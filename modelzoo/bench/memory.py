"""What this process holds in memory, and how large the processor's cache is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelzoo.runtime.memory import proc_bytes

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def resident_bytes() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not tell."""
    return proc_bytes("self/status", "VmRSS")


def peak_bytes() -> int | None:
    """The most bytes that this process has had in memory; None where the system does not tell."""
    # Not ru_maxrss first: on Linux it counts what the parent had before this process began.
    peak = proc_bytes("self/status", "VmHWM")
    if peak is not None or os.name == "nt":
        return peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


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
