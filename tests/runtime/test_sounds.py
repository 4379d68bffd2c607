"""Sound files and arrays become one channel at one rate and of one length."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest

from modelzoo.errors import DataError
from modelzoo.runtime.media.resampling import resample
from modelzoo.runtime.media.sounds import open_sound, prepare_sound

RATE = 16_000
PROCESSING = {"sample_rate": RATE, "num_samples": 1600, "padding": "zeros"}


def tone(count: int, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(count) / rate)).astype("float32")


def wav(samples: np.ndarray, rate: int, width: int) -> bytes:
    """The bytes of a WAV file of samples (n,) or (n, channels) in [-1, 1)."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            file.writeframes(np.round(samples * 128 + 128).astype("u1").tobytes())
        else:
            whole = np.round(samples.reshape(-1) * 2.0 ** (8 * width - 1)).astype("<i4")
            file.writeframes(whole.view("u1").reshape(-1, 4)[:, :width].tobytes())
    return target.getvalue()


@pytest.mark.parametrize(("width", "step"), [(1, 1 / 128), (2, 2**-15), (3, 2**-23), (4, 2**-23)])
def test_wave_files_of_every_width_read_to_within_a_step(width, step):
    sound = tone(800, RATE)
    got = open_sound(wav(sound, RATE, width), RATE)
    assert got.dtype == np.float32 and got.shape == (800,)
    assert np.abs(got - sound).max() <= step


def test_channels_are_averaged_whichever_axis_they_are_on():
    left, right = tone(400, RATE), tone(400, RATE, 880)
    pair = np.stack([left, right], axis=1)
    for source in (wav(pair, RATE, 2), (pair, RATE), (pair.T, RATE)):
        np.testing.assert_allclose(open_sound(source, RATE), (left + right) / 2, atol=1e-4)


def test_whole_numbers_are_scaled_by_their_range():
    np.testing.assert_allclose(open_sound(np.array([-32768, 16384], "int16"), RATE), [-1, 0.5])
    np.testing.assert_allclose(open_sound(np.array([0, 128, 192], "uint8"), RATE), [-1, 0, 0.5])


def test_paths_bytes_pairs_and_dicts_of_data_sets_are_the_same_sound(tmp_path):
    sound = tone(500, 8000)
    path = tmp_path / "a.wav"
    path.write_bytes(wav(sound, 8000, 2))
    wanted = open_sound(path, RATE)
    assert wanted.shape == (1000,)
    for source in (str(path), path.read_bytes(), {"path": path}, {"bytes": path.read_bytes()}):
        np.testing.assert_array_equal(open_sound(source, RATE), wanted)
    for source in ((sound, 8000), {"array": sound, "sampling_rate": 8000}):
        np.testing.assert_allclose(open_sound(source, RATE), wanted, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
def test_a_tone_at_another_rate_is_the_same_tone(rate):
    got = resample(tone(rate // 2, rate), rate, RATE)
    wanted = tone(RATE // 2, RATE)
    assert got.shape == wanted.shape
    inside = slice(400, -400)  # at its ends there is silence on one side
    assert np.abs(got - wanted)[inside].max() < 2e-4


def test_what_the_lower_rate_cannot_hold_is_gone():
    aliased = resample(tone(24_000, 48_000, 12_000), 48_000, RATE)
    assert np.abs(aliased[400:-400]).max() < 1e-4


def test_resampling_is_near_to_librosas():
    librosa = pytest.importorskip("librosa")
    pytest.importorskip("soxr")
    rng = np.random.default_rng(0)
    smooth = np.convolve(rng.normal(0, 0.1, 22_050), np.hanning(31) / 15, "same").astype("float32")
    wanted = librosa.resample(smooth, orig_sr=22_050, target_sr=RATE, res_type="soxr_hq")
    got = resample(smooth, 22_050, RATE)
    error = (got - wanted)[400:-400]
    assert np.sqrt((error**2).mean() / (wanted**2).mean()) < 1e-3


def test_a_sound_is_filled_up_with_silence_or_with_itself():
    sound = tone(600, RATE)
    padded, count = prepare_sound(sound, PROCESSING)
    assert count == 600 and padded.shape == (1600,)
    np.testing.assert_array_equal(padded[:600], sound)
    assert not padded[600:].any()
    repeated, count = prepare_sound(sound, {**PROCESSING, "padding": "repeat"})
    assert count == 1200  # twice as a whole, and not a part of it
    np.testing.assert_array_equal(repeated[:1200], np.tile(sound, 2))
    assert not repeated[1200:].any()


def test_too_long_a_sound_says_by_how_much_and_is_cut_when_asked():
    sound = tone(3200, RATE)
    with pytest.raises(DataError, match=r"lasts 0\.20 s, 0\.10 s more than the 0\.10 s"):
        prepare_sound(sound, PROCESSING)
    cut, count = prepare_sound(sound, PROCESSING, truncate=True)
    assert count == 1600
    np.testing.assert_array_equal(cut, sound[:1600])


def test_formats_of_soundfile_are_read_through_it(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    sound = tone(800, RATE)
    for name in ("a.flac", "float.wav"):
        kind = {"subtype": "FLOAT"} if name == "float.wav" else {}
        soundfile.write(tmp_path / name, sound, RATE, **kind)
        assert np.abs(open_sound(tmp_path / name, RATE) - sound).max() < 1e-4


def patched(data: bytes, at: int, number: int) -> bytes:
    return data[:at] + struct.pack("<I", number) + data[at + 4 :]


def test_a_length_in_the_header_that_is_wrong_does_not_cut_the_sound():
    """By the layout of a plain file: its own length at 4, the samples' length at 40."""
    data = wav(tone(800, RATE), RATE, 2)
    notes = b"LIST" + struct.pack("<I", 7) + b"INFOabc"
    wanted = open_sound(data, RATE)
    for changed in (
        patched(data, 4, 0),
        patched(data, 4, 2**32 - 1),
        patched(data, 40, 0),
        patched(patched(data, 4, 36), 40, 0),  # a recorder that was switched off
        patched(data, 40, 2**32 - 1),
        patched(data, 40, 1700),  # the file's length is that of the file: it is whole
        patched(data, 40, 100),
        data + notes,
        data + b"junk" * 3,
        data[:36] + notes + data[36:],  # an odd block without its pad
        data[:36] + patched(notes, 4, 900) + data[36:],
    ):
        np.testing.assert_array_equal(open_sound(changed, RATE), wanted)
    assert soundfile_reads(patched(data, 4, 0), wanted)


def soundfile_reads(data: bytes, wanted: np.ndarray) -> bool:
    soundfile = pytest.importorskip("soundfile")
    return bool(np.allclose(soundfile.read(io.BytesIO(data), dtype="float32")[0], wanted))


def test_floats_in_a_file_are_read_as_soundfile_reads_them():
    soundfile = pytest.importorskip("soundfile")
    pair = np.stack([tone(400, RATE), tone(400, RATE, 880)], axis=1)
    for kind in ("FLOAT", "DOUBLE"):
        file = io.BytesIO()
        soundfile.write(file, pair, RATE, format="WAV", subtype=kind)
        np.testing.assert_allclose(open_sound(file.getvalue(), RATE), pair.mean(1), atol=1e-7)
    file = io.BytesIO()
    soundfile.write(file, pair * 20_000, RATE, format="WAV", subtype="FLOAT")
    with pytest.raises(DataError, match="expected samples from -1 to 1"):
        open_sound(file.getvalue(), RATE)


def test_extensible_headers_are_plain_ones():
    data = wav(tone(800, RATE), RATE, 2)
    body = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, 2 * RATE, 2, 16) + struct.pack("<HHI", 22, 16, 4)
    body += b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    changed = data[:16] + struct.pack("<I", len(body)) + body + data[36:]
    np.testing.assert_array_equal(open_sound(changed, RATE), open_sound(data, RATE))


WHOLE = np.round(tone(400, RATE) * 32_767).astype("int16")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (WHOLE.tolist(), "type int64 up to 16,38.* full scale"),
        (WHOLE.astype("int64"), "type int64"),
        (WHOLE.astype("uint64"), "type uint64"),
        (WHOLE.astype("int32"), "type int32 up to 16,38"),
        (WHOLE.astype("float32"), "from -1 to 1, got samples up to 16,38"),
        (WHOLE.astype("float64") + 0.25, "got samples up to 16,38"),
        ((WHOLE // 4096).astype("float32"), "got samples up to 4"),
    ],
)
def test_samples_whose_scale_is_not_known_are_refused(samples, message):
    with pytest.raises(DataError, match=message):
        open_sound(samples, RATE)


def test_samples_whose_type_says_their_scale_are_scaled():
    wanted = WHOLE / 32_768
    for samples, factor in (
        (WHOLE, 1),
        (WHOLE.astype("int32") * 2**16, 1),
        (WHOLE.astype("int32") // 64 * 256, 2.0**-14),  # quiet, of 24 bits
        (wanted, 1),
        (wanted.astype("float16"), 1),
        ((wanted * 1.4).astype("float32"), 1.4),  # over full scale, as decoders give it
        (np.zeros(400, "int64"), 0),  # silence has no scale
        ((WHOLE.astype("int32") + 32_768).astype("uint16"), 1),
    ):
        np.testing.assert_allclose(open_sound(samples, RATE), wanted * factor, atol=4e-3 * factor)


BAD = {
    "nothing at all": (b"", "file is empty"),
    "no sound": (b"GIF89a" + bytes(40), "cannot be decoded"),
    "half a header": (wav(tone(80, RATE), RATE, 2)[:20], "cannot be decoded"),
    "half of it": (wav(tone(800, RATE), RATE, 2)[:844], "cut off: 800 bytes of 1,600"),
    "no samples": (wav(tone(0, RATE), RATE, 2), "no samples"),
    "an empty array": (np.zeros(0, "float32"), "no samples"),
    "no number": (np.array([0.0, np.nan]), "not finite"),
    "text": (["a", "b"], "cannot be made of list"),
    "a picture": (np.zeros((64, 64, 3), "uint8"), "expected samples of shape"),
    "a batch": (np.zeros((64, 64), "float32"), "at most .* channels, got samples of shape"),
    "no rate": ((np.zeros(4), 0), "no rate of 0"),
    "a path to nothing": ("no/such.wav", "no such sound: no/such.wav"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_is_refused_with_the_reason(name):
    source, message = BAD[name]
    with pytest.raises(DataError, match=message):
        open_sound(source, RATE)


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "broken.wav"
    path.write_bytes(b"RIFF" + bytes(30))
    with pytest.raises(DataError) as caught:
        open_sound(path, RATE)
    assert caught.value.where == str(path)
