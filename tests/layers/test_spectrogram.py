"""Spectrograms in the graph, held against librosa and against float64 from the definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelzoo.errors import DataError, RecipeError
from modelzoo.layers.frontends.mel import CLAP, KALDI, WHISPER, MelConfig, mel_filters, window
from modelzoo.layers.frontends.spectrogram import LogMelSpectrogram
from tests.core import number

librosa = pytest.importorskip("librosa")


def speech(count: int, rate: int = 16_000) -> np.ndarray:
    """A voice of thirty overtones whose pitch and loudness change, and a little noise."""
    t = np.arange(count) / rate
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 3 * t)) / rate
    voice = sum(np.sin(k * phase) / k**1.2 for k in range(1, 30))
    loud = 0.2 * (0.5 + 0.5 * np.sin(2 * np.pi * 2.3 * t)) ** 4
    noise = np.random.default_rng(0).normal(0, 1e-4, count)
    return (voice * loud + noise).astype("float32")


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, count).astype("float32")


# What a spectrogram may differ by; Kaldi's floor lies 120 dB below a tone of full height, where
# float32 has four digits left.
TOLERANCE = {"tone": 3e-4}

SOUNDS = {
    "speech": speech,
    "noise": noise,
    "quiet": lambda count: 1e-3 * speech(count),
    "offset": lambda count: speech(count) + np.float32(0.3),
    "tone": lambda count: np.sin(0.2 * np.arange(count)).astype("float32"),
    "silence": lambda count: np.zeros(count, "float32"),
}


def whisper_by_librosa(sound: np.ndarray) -> np.ndarray:
    """(T, 80) float64, as the authors' code does it."""
    power = np.abs(
        librosa.stft(sound.astype("float64"), n_fft=400, hop_length=160, pad_mode="reflect")
    )
    mel = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80, dtype="float64")
    log = np.log10(np.maximum(mel @ power[:, :-1] ** 2, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4).T / 4


def kaldi_by_definition(sound: np.ndarray, config: MelConfig) -> np.ndarray:
    """(T, M) float64: mean, pre-emphasis, window, transform, one frame after another."""
    rows = []
    for start in range(0, len(sound) - config.frame_length + 1, config.hop):
        frame = sound[start : start + config.frame_length].astype("float64")
        frame = frame - frame.mean()
        frame = np.append(frame[0] * (1 - 0.97), frame[1:] - 0.97 * frame[:-1])
        spectrum = np.fft.rfft(frame * np.hanning(config.frame_length), config.fft_length)
        rows.append(np.abs(spectrum) ** 2)
    mel = np.maximum(np.array(rows) @ mel_filters(config), config.floor)
    return (np.log(mel) - config.mean) / config.deviation


@pytest.mark.parametrize("kind", SOUNDS)
def test_whispers_spectrogram_is_librosas(kind):
    sound = SOUNDS[kind](16_000)
    got = number(LogMelSpectrogram(WHISPER)(sound[None]))[0]
    np.testing.assert_allclose(got, whisper_by_librosa(sound), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", SOUNDS)
def test_kaldis_filter_bank_is_what_its_definition_says(kind):
    sound = SOUNDS[kind](8000)
    got = number(LogMelSpectrogram(KALDI)(sound[None]))[0]
    wanted, allowed = kaldi_by_definition(sound, KALDI), TOLERANCE.get(kind, 1e-4)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=allowed)


def test_claps_spectrogram_is_librosas_in_decibels():
    sound = noise(24_000)
    got = number(LogMelSpectrogram(CLAP)(sound[None]))[0]
    mel = librosa.feature.melspectrogram(
        y=sound.astype("float64"),
        sr=48_000,
        n_fft=1024,
        hop_length=480,
        n_mels=64,
        fmax=14_000,
        htk=True,
        norm=None,
        pad_mode="reflect",
    )
    wanted = 10 * np.log10(np.maximum(mel, 1e-10)).T
    assert got.shape == (51, 64)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3)  # decibels, of -30 to 20


@pytest.mark.parametrize(
    ("config", "htk", "norm"), [(WHISPER, False, "slaney"), (CLAP, True, None)]
)
def test_filters_are_librosas(config, htk, norm):
    wanted = librosa.filters.mel(
        sr=config.sample_rate,
        n_fft=config.fft_length,
        n_mels=config.num_mels,
        fmin=config.low_hz,
        fmax=config.high_hz,
        htk=htk,
        norm=norm,
        dtype="float64",
    )
    np.testing.assert_allclose(mel_filters(config), wanted.T, rtol=1e-9, atol=1e-12)


def test_kaldis_triangles_overlap_to_one_in_mels():
    filters = mel_filters(KALDI)
    inside = slice(3, -3)  # beside the ends one triangle stands alone
    covered = filters.sum(axis=1)[inside]
    assert filters.min() >= 0 and np.abs(covered[10:-10] - 1).max() < 1e-9


def test_a_window_begins_at_zero_and_a_symmetric_one_ends_there_too():
    assert window(WHISPER)[0] == 0 and window(WHISPER)[200] == 1 and window(WHISPER)[-1] > 0
    np.testing.assert_allclose(window(KALDI), np.hanning(400), atol=1e-12)


def test_columns_that_are_not_wholly_real_are_zero_before_they_are_normalised():
    sound = speech(3200)
    layer = LogMelSpectrogram(KALDI)
    alone = number(layer(sound[None, :1200]))[0]
    got = number(layer(sound[None], np.array([1200], "int32")))[0]
    assert len(alone) == 6 and len(got) == 18
    np.testing.assert_allclose(got[:6], alone, atol=1e-6)
    np.testing.assert_allclose(got[6:], -KALDI.mean / KALDI.deviation, atol=1e-6)


def test_rows_of_a_batch_get_what_they_get_alone():
    sounds = np.stack([speech(8000), 0.01 * noise(8000)])
    layer = LogMelSpectrogram(WHISPER)
    together = number(layer(sounds))
    for row, sound in enumerate(sounds):
        np.testing.assert_allclose(together[row], number(layer(sound[None]))[0], atol=1e-6)


def test_half_precision_outside_leaves_the_spectrogram_in_float32():
    sound = speech(8000)[None]
    layer = LogMelSpectrogram(WHISPER, dtype="mixed_float16")
    assert layer(sound).dtype == "float32"
    np.testing.assert_array_equal(number(layer(sound)), number(LogMelSpectrogram(WHISPER)(sound)))


def test_columns_are_counted_as_they_are_made():
    for config, count in ((WHISPER, 8000), (KALDI, 8000), (KALDI, 400), (CLAP, 4800)):
        made = LogMelSpectrogram(config)(np.zeros((1, count), "float32"))
        assert made.shape == (1, config.num_columns(count), config.num_mels)


def test_too_short_a_sound_and_impossible_values_are_refused():
    with pytest.raises(DataError, match="399 samples are too few"):
        LogMelSpectrogram(KALDI)(np.zeros((1, 399), "float32"))
    with pytest.raises(RecipeError, match="'mels' is not one of") as caught:
        replace(KALDI, scale="mels")
    assert caught.value.did_you_mean is None
    with pytest.raises(RecipeError, match="must be even"):
        replace(KALDI, frame_length=399)
    with pytest.raises(RecipeError, match="do not lie below half"):
        replace(WHISPER, sample_rate=8000)
