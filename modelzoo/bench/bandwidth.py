"""How fast this machine reads memory. A token cannot come faster than what it makes us read.

A decoder reads all its weights for every token, and does two operations a weight with them: on a
CPU the memory is the limit, not the arithmetic.
"""

from __future__ import annotations

import mmap
import time
from contextlib import suppress

from modelzoo.bench.memory import cache_bytes
from modelzoo.runtime.memory import available_bytes

_LEAST = 256 << 20  # bytes
_MOST = 2 << 30


def array_bytes(cache: int, available: int | None) -> int:
    """Bytes to read: eight times the last-level cache, yet a quarter of what is free at most.

    Example:
        >>> array_bytes(cache=64 << 20, available=16 << 30) >> 20
        512
    """
    size = min(max(_LEAST, 8 * cache), _MOST)
    return size if available is None else max(1 << 20, min(size, available // 4))


def read_bandwidth(
    threads: int, seconds: float = 0.25, size: int | None = None, huge: bool = True
) -> float:
    """Bytes a second that a number of threads read together: the best pass of at least five.

    Each thread looks for the largest byte of a part of its own, which costs one vector
    instruction a load; numpy lets go of the interpreter meanwhile. The best pass, because other
    programs can only take bandwidth away.

    Args:
        threads: as many as the model has.
        seconds: passes go on for so long.
        size: bytes of the array; None takes `array_bytes` of this machine.
        huge: whether the array is in huge pages, where the system has any; small ones are read
            more slowly.

    Example:
        >>> read_bandwidth(threads=1, seconds=0.1, size=1 << 24) > 1e8  # 100 MB a second
        True
    """
    from multiprocessing.pool import ThreadPool

    import numpy as np

    array = _ones(size or array_bytes(cache_bytes(), available_bytes()), huge)
    parts = np.array_split(array, threads)
    best, passes = float("inf"), 0
    with ThreadPool(threads) as pool:
        begin = time.perf_counter()
        while passes < 5 or time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            pool.map(np.max, parts, chunksize=1)
            best = min(best, time.perf_counter() - start)
            passes += 1
    return array.nbytes / best


def _ones(size: int, huge: bool):
    """An array of ones: pages of zeros are all the same page, which the cache would hold."""
    import numpy as np

    if not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.ones(size, np.uint8)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        block.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    array = np.frombuffer(block, np.uint8)
    array[:] = 1
    return array
