"""A sound at another rate: a windowed sinc, one set of taps a phase. numpy only."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

_ZEROS = 32  # of the sinc, on either side
_BETA = 10.0  # of the Kaiser window: what would alias is 100 dB down
_TAPS = 2**20  # weights that are computed at a time
_ROLLOFF = 0.94  # of the lower rate's half: where the passband ends, so that the fall fits in


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """(n,) float32 at `rate` as (ceil(n * wanted / rate),) float32 at `wanted`.

    Example:
        >>> resample(np.ones(441, "float32"), 44_100, 16_000).shape
        (160,)
    """
    if rate == wanted:
        return samples
    divisor = math.gcd(rate, wanted)
    up, down = wanted // divisor, rate // divisor
    length = -(-len(samples) * up // down)
    result = np.empty(length, np.float32)
    # Output t stands at t * down / up of the input: those of one phase are `down` samples apart.
    # Of two odd rates there are as many phases as the rate has samples: some at a time.
    reach = _reach(up, down)
    padded = np.pad(samples, (reach, reach + down))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    phases = min(up, length)
    step = max(1, _TAPS // (2 * reach + 1))
    for first in range(0, phases, step):
        taps = _taps(up, down, first, min(first + step, phases))
        for phase in range(first, min(first + step, phases)):
            count = len(range(phase, length, up))
            start = phase * down // up
            result[phase::up] = (
                windows[start : start + count * down : down][:count] @ taps[phase - first]
            )
    return result


def _reach(up: int, down: int) -> int:
    """Input samples to either side that an output one depends on."""
    return math.ceil(_ZEROS / min(1.0, up / down)) + 1


@lru_cache(maxsize=8)
def _taps(up: int, down: int, first: int, last: int) -> np.ndarray:
    """(last - first, 2 * reach + 1) float32: the phases' weights of the samples around."""
    cutoff = _ROLLOFF * min(1.0, up / down)
    width = _ZEROS / min(1.0, up / down)  # input samples to either side
    reach = _reach(up, down)
    offsets = np.arange(-reach, reach + 1) - (np.arange(first, last) * down % up / up)[:, None]
    inside = np.clip(1 - (offsets / width) ** 2, 0, None)
    taps = np.sinc(cutoff * offsets) * np.i0(_BETA * np.sqrt(inside)) * (inside > 0)
    taps /= taps.sum(axis=1, keepdims=True)  # a constant stays what it is
    return taps.astype(np.float32)
