"""How a log-mel spectrogram is computed, as data, and the constant matrices that it takes.

numpy only, in float64: what a device gets is rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelzoo.errors import RecipeError, nearest

SCALES = ("slaney", "htk", "kaldi")
LOGS = ("log", "log10", "decibel")


@dataclass(frozen=True)
class MelConfig:
    """A short-time power spectrum, summed in mel bands, as logarithms, normalised.

    Args:
        sample_rate: samples a second.
        num_mels: bands.
        frame_length: samples that one column is made of; even.
        hop: samples from a column to the next.
        fft_length: samples of the transform, the frame followed by zeros.
        window: `"periodic"` or `"symmetric"`, a Hann window.
        centred: column t is centred on sample `t * hop`, the sound mirrored at its ends; otherwise
            it begins there, and only whole frames count.
        last_column: of a centred spectrogram, whether the one beyond the last hop is kept.
        remove_mean: subtract a frame's mean first (Kaldi).
        preemphasis: subtract so much of the sample before (Kaldi: 0.97).
        scale: `"slaney"`, `"htk"` or `"kaldi"`; the last has triangles in mels, not in Hz.
        area_norm: bands have equal area (Slaney) instead of equal height.
        low_hz, high_hz: where the bands begin and end.
        log: `"log"` (natural), `"log10"` or `"decibel"`.
        floor: the least power that a logarithm is taken of.
        range_below_max: what lies so far below a sound's maximum is lifted to it (Whisper: 8).
        mean, deviation: the result is `(x - mean) / deviation`.

    Raises:
        RecipeError: an unknown scale, logarithm or window, or an odd frame.

    Example:
        >>> MelConfig(num_mels=64).num_columns(16_000)
        98
    """

    sample_rate: int = 16_000
    num_mels: int = 80
    frame_length: int = 400
    hop: int = 160
    fft_length: int = 400
    window: str = "periodic"
    centred: bool = False
    last_column: bool = True
    remove_mean: bool = False
    preemphasis: float = 0.0
    scale: str = "slaney"
    area_norm: bool = False
    low_hz: float = 0.0
    high_hz: float = 8000.0
    log: str = "log"
    floor: float = 1e-10
    range_below_max: float | None = None
    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self):
        for key, value, choices in (
            ("scale", self.scale, SCALES),
            ("log", self.log, LOGS),
            ("window", self.window, ("periodic", "symmetric")),
        ):
            if value not in choices:
                raise RecipeError(
                    f"{key} {value!r} is not one of {', '.join(choices)}",
                    did_you_mean=nearest(str(value), choices),
                )
        if self.frame_length % 2 or not 0 < self.frame_length <= self.fft_length:
            raise RecipeError(
                f"frame_length {self.frame_length} must be even, and fft_length "
                f"{self.fft_length} or less"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise RecipeError(
                f"bands from {self.low_hz} to {self.high_hz} Hz do not lie below half of "
                f"{self.sample_rate} Hz"
            )

    def num_columns(self, num_samples: int) -> int:
        """Columns of the spectrogram of a sound."""
        if self.centred:
            return num_samples // self.hop + self.last_column
        return max(0, (num_samples - self.frame_length) // self.hop + 1)


# Radford et al. 2022; the column beyond the end is left out, and (x + 4) / 4.
WHISPER = MelConfig(
    centred=True,
    last_column=False,
    area_norm=True,
    log="log10",
    range_below_max=8.0,
    mean=-4.0,
    deviation=4.0,
)
# Gong et al. 2021: Kaldi's filter bank of sounds in [-1, 1], normalised by AudioSet's statistics.
KALDI = MelConfig(
    num_mels=128,
    fft_length=512,
    window="symmetric",
    remove_mean=True,
    preemphasis=0.97,
    scale="kaldi",
    low_hz=20.0,
    floor=1.192092955078125e-07,
    mean=-4.2677393,
    deviation=2 * 4.5689974,
)
# Wu et al. 2023; sounds of ten seconds.
CLAP = MelConfig(
    sample_rate=48_000,
    num_mels=64,
    frame_length=1024,
    hop=480,
    fft_length=1024,
    centred=True,
    scale="htk",
    high_hz=14_000.0,
    log="decibel",
)


def window(config: MelConfig) -> np.ndarray:
    """The Hann window, (frame_length,) float64."""
    length = config.frame_length
    period = length if config.window == "periodic" else length - 1
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / period)


def transform(config: MelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the windowed, folded transform, each (frame_length / 2, F) float64.

    F is `fft_length / 2 + 1`. Phases count from the middle of the window, which leaves the power
    as it is: then window and cosines are symmetric and sines antisymmetric about it, and one half
    of each is enough. Row i is for samples i and L - 1 - i of a symmetric window; of a periodic
    one, whose first sample counts nothing, for i + 1 and L - 1 - i, the last of which is one sample
    twice.
    """
    half, periodic = config.frame_length // 2, config.window == "periodic"
    times = np.arange(half) + periodic
    middle = half if periodic else (config.frame_length - 1) / 2
    frequencies = np.arange(config.fft_length // 2 + 1)
    angles = 2 * np.pi * np.outer(times - middle, frequencies) / config.fft_length
    weights = window(config)[times, None]
    if periodic:
        weights[-1] /= 2
    return weights * np.cos(angles), weights * np.sin(angles)


def mel_filters(config: MelConfig) -> np.ndarray:
    """What each frequency gives to each band, (fft_length / 2 + 1, num_mels) float64.

    Example:
        >>> mel_filters(WHISPER).shape
        (201, 80)
    """
    to_mels, to_hertz = _SCALES[config.scale]
    ends = to_mels(np.array([config.low_hz, config.high_hz]))
    mels = np.linspace(ends[0], ends[1], config.num_mels + 2)
    hertz = np.arange(config.fft_length // 2 + 1) * (config.sample_rate / config.fft_length)
    corners = to_hertz(mels)
    if config.scale == "kaldi":  # triangles in mels
        filters = _triangles(to_mels(hertz), mels)
    else:
        filters = _triangles(hertz, corners)
    if config.area_norm:
        filters = filters * (2.0 / (corners[2:] - corners[:-2]))
    return filters


def _triangles(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Heights at `points` of triangles that rise from corner to corner and fall to the third."""
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (points[:, None] - low) / (middle - low)
    falling = (high - points[:, None]) / (high - middle)
    return np.maximum(0.0, np.minimum(rising, falling))


# === Scales ===

_LINEAR_HZ, _HZ_A_MEL, _LOG_STEP = 1000.0, 200.0 / 3, np.log(6.4) / 27  # Slaney's


def _slaney_mels(hertz):
    above = _LINEAR_HZ / _HZ_A_MEL + np.log(np.maximum(hertz, 1e-9) / _LINEAR_HZ) / _LOG_STEP
    return np.where(hertz < _LINEAR_HZ, hertz / _HZ_A_MEL, above)


def _slaney_hertz(mels):
    knee = _LINEAR_HZ / _HZ_A_MEL
    return np.where(mels < knee, mels * _HZ_A_MEL, _LINEAR_HZ * np.exp(_LOG_STEP * (mels - knee)))


_SCALES = {
    "slaney": (_slaney_mels, _slaney_hertz),
    "htk": (
        lambda hertz: 2595.0 * np.log10(1.0 + hertz / 700.0),
        lambda mels: 700.0 * (10.0 ** (mels / 2595.0) - 1.0),
    ),
    "kaldi": (
        lambda hertz: 1127.0 * np.log(1.0 + hertz / 700.0),
        lambda mels: 700.0 * (np.exp(mels / 1127.0) - 1.0),
    ),
}
