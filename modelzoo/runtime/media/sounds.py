"""From a sound file, or an array, to what a model hears: one channel, one rate, one length.

numpy and the standard library read WAV; other formats take soundfile. Training, evaluation and a
device all go through here.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from modelzoo.errors import DataError, parsing, require
from modelzoo.runtime.media.processing import DEFAULTS
from modelzoo.runtime.media.resampling import resample

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # codings of WAV
_MOST_BLOCKS = 1000  # before the samples
_MOST_CHANNELS = 32  # what is longer than that is time
_LOUDEST = 16  # 24 dB over full scale; what is mixed or decoded stays below
_MOST_SAMPLES = 2 * 10**8  # of a channel, before and after a change of rate: 3.5 hours at 16 kHz
_RATES = range(100, 2**20 + 1)  # samples a second that a file may state
_PART = 2**20  # samples that are decoded at a time
_CUT = "cut it into pieces"
_UNKNOWN = 2**31 - 2**16  # bytes from which on a header means "until the end"


def open_sound(source, sample_rate: int) -> np.ndarray:
    """A sound as (n,) float32 in [-1, 1] at `sample_rate`, its channels averaged.

    Args:
        source: a path, the bytes of a file, samples (n,) or (n, channels) at `sample_rate` already,
            a pair (samples, rate), or a dict with `array` and `sampling_rate`, `bytes` or `path`.
            Samples of 8, 16 and 32 bits are scaled by their type's range; floats are in [-1, 1].

    Raises:
        DataError: not there, empty, damaged, cut off, samples that are not finite numbers, or
            samples whose scale cannot be known: of 64 bits, or 16-bit numbers in a wider type.
        MissingDependencyError: a format other than WAV, and soundfile is not installed.

    Example:
        >>> open_sound((np.zeros((8000, 2), "int16"), 8000), sample_rate=16_000).shape
        (16000,)
    """
    samples, rate, where = _read(source, sample_rate)
    if not samples.size:
        raise DataError("the sound is empty: it has no samples", where=where)
    _check_floats(samples, where)
    if samples.ndim == 2:
        axis = int(np.argmin(samples.shape))
        if samples.shape[axis] > _MOST_CHANNELS:
            raise DataError(
                f"expected at most {_MOST_CHANNELS} channels, got samples of shape {samples.shape}",
                where=where,
            )
        samples = samples.mean(axis=axis, dtype=np.float64)
    if samples.ndim != 1:
        raise DataError(
            f"expected samples of shape (n,) or (n, channels), got {samples.shape}",
            where=where,
            next_step="give (n,) for one channel, or (n, channels)",
        )
    _check_length(len(samples) * sample_rate / rate, where)
    return resample(samples.astype(np.float32, copy=False), rate, sample_rate)


def prepare_sound(source, processing: Mapping, truncate: bool = False) -> tuple[np.ndarray, int]:
    """A sound of exactly the model's length, and how many samples of it are real.

    Args:
        source: as `open_sound`.
        processing: `sample_rate`, `num_samples` N, and `padding`: "zeros" after the sound, or
            "repeat": as often as it fits whole, then zeros.
        truncate: keep the beginning of what is too long.

    Returns: (N,) float32 and an int.

    Raises:
        DataError: longer than N samples; and as `open_sound`.

    Example:
        >>> how = {"sample_rate": 16_000, "num_samples": 5, "padding": "repeat"}
        >>> prepare_sound(np.array([1.0, 0.5]), how)
        (array([1. , 0.5, 1. , 0.5, 0. ], dtype=float32), 4)
    """
    rate, length = processing["sample_rate"], processing["num_samples"]
    sound = open_sound(source, rate)
    if len(sound) > length:
        if not truncate:
            raise DataError(
                f"the sound lasts {len(sound) / rate:.2f} s, {(len(sound) - length) / rate:.2f} s "
                f"more than the {length / rate:.2f} s that the model hears",
                where=_name(source),
                next_step=_CUT,
            )
        sound = sound[:length]
    if {**DEFAULTS["audio"], **processing}["padding"] == "repeat":
        sound = np.tile(sound, length // len(sound))
    return np.pad(sound, (0, length - len(sound))), len(sound)


# === Reading ===


def _read(source, sample_rate: int) -> tuple[np.ndarray, int, str | None]:
    """Samples as floats, of a file (n,), their rate, and what an error calls them."""
    if isinstance(source, Mapping):
        if source.get("array") is not None:
            source = (source["array"], source.get("sampling_rate", sample_rate))
        else:
            source = source.get("bytes") or source.get("path") or source
    if isinstance(source, str | os.PathLike):
        return *_decoded(_bytes(Path(source)), os.fspath(source)), os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return *_decoded(bytes(source), "the bytes given"), None
    rate = sample_rate
    if isinstance(source, tuple):
        if len(source) != 2 or np.ndim(source[1]):
            raise DataError("a sound as a pair is (samples, rate)")
        with parsing(None, DataError, "the rate of a sound is a number"):
            source, rate = source[0], int(source[1])
    try:
        samples = np.asarray(source)
    except ValueError:  # lists of several lengths
        samples = np.asarray(None)
    if samples.dtype.kind not in "iuf":
        raise DataError(
            f"a sound cannot be made of {type(source).__name__}",
            next_step="give a path, bytes, samples, or a pair (samples, rate)",
        )
    if not 1 <= rate <= _RATES[-1]:
        raise DataError(f"a sound has no rate of {rate} samples a second")
    if samples.dtype.itemsize > 2 and samples.dtype.kind in "iu":
        _check_integers(samples)
    return _scaled(samples), rate, None


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"no such sound: {path}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the sound cannot be read: {error}", where=path) from error


def _decoded(data: bytes, where: str) -> tuple[np.ndarray, int]:
    if not data:
        raise DataError("the sound file is empty", where=where)
    if data[:4] == b"RIFF":
        found = _decoded_wave(data, where)
        if found is not None:  # else another coding: soundfile knows more of them
            return found
    soundfile = require("soundfile", "media")
    whole = "check that it is a whole WAV, FLAC, OGG or MP3 file"
    with (
        parsing(where, DataError, "the sound cannot be decoded", next_step=whole),
        soundfile.SoundFile(io.BytesIO(data)) as file,
    ):
        _check_rate(file.samplerate, where)
        if file.channels > _MOST_CHANNELS:
            raise DataError(
                f"expected at most {_MOST_CHANNELS} channels, got {file.channels}", where=where
            )
        _check_length(file.frames, where)
        samples, length = np.empty(file.frames, np.float32), 0  # not in memory until written
        while len(part := file.read(_PART // file.channels, dtype="float32", always_2d=True)):
            part = part[: len(samples) - length]
            samples[length : length + len(part)] = _mixed(part)
            length += len(part)
        return samples[:length], file.samplerate


def _mixed(samples: np.ndarray) -> np.ndarray:
    """The mean over the channels of (n, channels), as float64."""
    return samples.mean(axis=1, dtype=np.float64)


def _check_rate(rate: int, where: str) -> None:
    if rate not in _RATES:
        raise DataError(
            f"the sound states {rate:,} samples a second; {_RATES[0]:,} to {_RATES[-1]:,} are read",
            where=where,
            next_step="check the file: its header may be damaged",
        )


def _check_length(samples: float, where: str | None) -> None:
    if samples > _MOST_SAMPLES:
        raise DataError(
            f"the sound has more than {_MOST_SAMPLES:,} samples", where=where, next_step=_CUT
        )


def _decoded_wave(data: bytes, where: str) -> tuple[np.ndarray, int] | None:
    """Samples (n,) and rate of PCM or floats, the channels averaged.

    Returns: `None` for other codings, or where a block is missing.
    """
    blocks: dict[bytes, tuple[int, int]] = {}
    for name, start, size in islice(_blocks(data), _MOST_BLOCKS):
        blocks.setdefault(name, (start, size))
        if name == b"data":
            break
    start, size = blocks.get(b"fmt ", (0, 0))
    if size < 16 or start + 26 > len(data):
        return None
    coding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, start)
    if coding == _EXTENSIBLE and size >= 26:
        (coding,) = struct.unpack_from("<H", data, start + 24)
    if b"data" not in blocks:  # a block before it states a wrong length
        at = data.find(b"data", start + size)
        if not 0 <= at <= len(data) - 8:
            return None
        blocks[b"data"] = (at + 8, struct.unpack_from("<I", data, at + 4)[0])
    width = (bits + 7) // 8
    kinds = {_PCM: {1: "u1", 2: "<i2", 3: "u1", 4: "<i4"}, _FLOAT: {4: "<f4", 8: "<f8"}}
    kind = kinds.get(coding, {}).get(width)
    if kind is None or not channels or not rate:
        return None
    _check_rate(rate, where)
    start, size = blocks[b"data"]
    raw = data[start : start + _data_size(data, start, size, where)]
    raw = raw[: len(raw) // (channels * width) * channels * width]
    if width == 3:  # no numpy type: the upper three bytes of four
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        samples = padded.view("<i4")[:, 0]
    else:
        samples = np.frombuffer(raw, kind)
    samples = samples.reshape(-1, channels)
    _check_length(len(samples), where)
    rows = max(1, _PART // channels)
    mixed = np.empty(len(samples), np.float32)
    for first in range(0, len(samples), rows):  # as float64 the whole would be 8 times as large
        mixed[first : first + rows] = _mixed(_scaled(samples[first : first + rows]))
    return mixed, rate


def _blocks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, stated size) of each block; the file's own length in its header is not read."""
    start = 12
    while start + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, start)
        yield name, start + 8, size
        start += 8 + size
        start += size % 2 and data[start : start + 1] == b"\0"  # some writers leave the pad out


def _data_size(data: bytes, start: int, stated: int, where: str) -> int:
    """Bytes of the samples, which a header may state wrongly or not at all.

    Raises:
        DataError: there are fewer than both lengths in the header say.
    """
    there, riff = len(data) - start, struct.unpack_from("<I", data, 4)[0] + 8
    if stated > there:
        if stated < _UNKNOWN and riff > len(data):
            raise DataError(
                f"the sound is cut off: {there:,} bytes of {stated:,} are there", where=where
            )
        return there
    # A recorder that was switched off leaves 0. Samples follow then, and no other block.
    wrong = stated == 0 or riff == len(data)
    end = start + stated + stated % 2
    return there if wrong and end < len(data) and not _is_block(data, end) else stated


def _is_block(data: bytes, start: int) -> bool:
    """Whether a block that fits begins here."""
    name, size = struct.unpack_from("<4sI", data.ljust(start + 8, b"\0"), start)
    return name.isascii() and name.decode().isprintable() and start + 8 + size <= len(data)


def _check_integers(samples: np.ndarray) -> None:
    """Reject wide integers that hold narrower samples: their type does not say their range."""
    peak = max(abs(int(samples.min())), abs(int(samples.max()))) if samples.size else 0
    if not peak:
        return
    # Samples of 24 bits in 32 are multiples of 256, however quiet.
    narrow = samples.dtype.itemsize == 4 and peak <= 2**15 and bool((samples % 256).any())
    if samples.dtype.itemsize == 8 or narrow:
        raise DataError(
            f"samples of type {samples.dtype} up to {peak:,} do not say which number is full scale",
            next_step="give them in the type that they were recorded in: "
            'np.asarray(samples, "int16")',
        )


def _check_floats(samples: np.ndarray, where: str | None) -> None:
    """Reject floats that are not finite, or that are integers never scaled to [-1, 1]."""
    low, high = samples.min(), samples.max()
    peak = max(-low, high)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError("the sound holds samples that are not finite numbers", where=where)
    whole = peak >= 2 and bool((samples == np.rint(samples)).all())
    if whole or peak > _LOUDEST:
        raise DataError(
            f"expected samples from -1 to 1, got samples up to {peak:,.6g}",
            where=where,
            next_step="divide them by the full scale of their integers: samples / 32768",
        )


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Integers as numbers in [-1, 1)."""
    if samples.dtype.kind == "f":
        return samples
    size = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return samples / size - (1.0 if samples.dtype.kind == "u" else 0.0)


def _name(source) -> str | None:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else None
