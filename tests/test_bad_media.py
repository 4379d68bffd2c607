"""Broken, odd and hostile pictures and sounds: clear errors, no crash, nothing lost.

Each goes the way of a user: from a file through the data of a task, or through a model.
"""

from __future__ import annotations

import io
import struct
import wave
import zlib

import numpy as np
import pytest

import modelzoo
from modelzoo.data.media import read_media_examples
from modelzoo.data.media_rows import MediaRows, preparer, without_bad_files
from modelzoo.errors import DataError
from modelzoo.registry.of_recipe import task_of
from modelzoo.training.train import train
from tests import media

IMAGE, SOUND = preparer("image", {"image": media.IMAGE}), preparer("audio", {"audio": media.AUDIO})


def encoded(pixels, kind="PNG", **options) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **options)
    return file.getvalue()


def a_bomb(side=100_000) -> bytes:
    """A PNG of a few bytes that says it has ten milliard pixels."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def a_wave(samples, rate=8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return file.getvalue()


PHOTO = encoded(media.picture("red", height=60, width=80))
JPEG = encoded(media.picture("red", height=60, width=80), "JPEG")
BAD_IMAGES = {
    "zero bytes": b"",
    "text": b"this is no picture",
    "cut PNG": PHOTO[: len(PHOTO) // 2],
    "cut JPEG": JPEG[: len(JPEG) // 2],
    "flipped bytes": PHOTO[:100] + bytes(255 - byte for byte in PHOTO[100:200]) + PHOTO[200:],
    "header alone": PHOTO[:33],
    "bomb": a_bomb(),
}
TONE = a_wave(media.tone(440, 0.1))
BAD_SOUNDS = {
    "zero bytes": b"",
    "text": b"this is no sound",
    "header alone": TONE[:44],
    "half a header": TONE[:20],
    "no samples": a_wave([]),
}


def bad_files(folder, suffix, contents):
    paths = {}
    for number, (name, content) in enumerate(contents.items()):
        paths[name] = folder / f"{number}{suffix}"
        paths[name].write_bytes(content)
    return paths


# === Files that cannot be read ===


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_picture_is_named(tmp_path, name):
    path = bad_files(tmp_path, ".png", {name: BAD_IMAGES[name]})[name]
    with pytest.raises(DataError) as error:
        MediaRows([{"image": path}], "image", IMAGE)
    assert str(path) in error.value.where and "on_bad_file=skip" in error.value.next_step
    with pytest.raises(DataError) as error:
        media.classifier().classify(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", BAD_SOUNDS)
def test_a_bad_sound_is_named(tmp_path, name):
    path = bad_files(tmp_path, ".wav", {name: BAD_SOUNDS[name]})[name]
    with pytest.raises(DataError) as error:
        MediaRows([{"audio": path}], "audio", SOUND)
    assert str(path) in error.value.where
    with pytest.raises(DataError) as error:
        media.listener().embed_audio(path)
    assert str(path) in str(error.value)


def test_skipping_leaves_out_every_bad_file_and_keeps_every_good_one(tmp_path):
    paths = [*bad_files(tmp_path, ".png", BAD_IMAGES).values()]
    good = [media.write_picture(tmp_path / f"good{n}.png", media.picture("red", n)) for n in (1, 2)]
    examples = [{"image": path, "label": 1} for path in (good[0], *paths, good[1])]
    with pytest.warns(UserWarning, match=f"{len(paths)} of {len(examples)} examples are left out"):
        kept, errors = without_bad_files(examples)
    assert [one["image"] for one in kept] == good
    assert [error.where for error in errors] == [*map(str, paths)]


def test_an_example_goes_with_any_of_its_media(tmp_path):
    image = media.write_picture(tmp_path / "a.png", media.picture("red"))
    sound = media.write_sound(tmp_path / "a.wav", media.tone(440))
    (tmp_path / "bad.wav").write_bytes(b"")
    examples = [
        {"image": image, "audio": sound, "text": "good"},
        {"image": image, "audio": tmp_path / "bad.wav", "text": "bad"},
        {"image": image, "text": "without a sound"},
    ]
    with pytest.warns(UserWarning, match="1 of 3"):
        kept, _ = without_bad_files(examples)
    assert [one["text"] for one in kept] == ["good", "without a sound"]


def test_a_bad_file_in_memory_is_named_by_its_number():
    examples = [{"image": media.picture("red"), "label": 0}, {"image": b"no", "label": 1}]
    with pytest.warns(UserWarning, match="the image of example 2"):
        assert len(without_bad_files(examples)[0]) == 1


# === Odd ones that can be read ===


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (500, 1, 3)])
def test_a_picture_of_one_pixel_and_a_line_are_pictures(shape):
    pixels = np.full(shape, 200, np.uint8)
    for source in (pixels, encoded(pixels)):
        np.testing.assert_array_equal(IMAGE(source), np.full((8, 8, 3), 200))
    assert media.classifier().classify(pixels)[0][1] > 0


def test_a_sound_of_a_hundredth_of_a_second_is_a_sound(tmp_path):
    path = media.write_sound(tmp_path / "a.wav", media.tone(440, 0.01))
    samples, count = SOUND(path)
    assert count == 80 and not samples[80:].any()
    assert np.isfinite(media.listener().embed_audio(path)).all()


def test_an_hour_of_sound_says_how_much_too_long_it_is_and_can_be_cut(tmp_path):
    path = tmp_path / "hour.wav"
    media.write_sound(path, np.zeros(3600 * 8000) + 0.1)
    with pytest.raises(DataError, match=r"3600\.00 s") as error:
        SOUND(path)
    assert error.value.next_step
    cut = preparer("audio", {"audio": media.AUDIO}, truncate=True)
    samples, count = cut(path)
    assert samples.shape == (800,) and count == 800
    with pytest.raises(DataError, match=r"3599\.90 s more"):
        media.listener().embed_audio(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(value):
    samples = media.tone(440, 0.05)
    samples[7] = value
    with pytest.raises(DataError, match="not finite"):
        media.listener().embed_audio((samples, 8000))
    with pytest.raises(DataError, match="not finite") as error:
        MediaRows([{"audio": (samples, 8000)}], "audio", SOUND)
    assert "the audio of example 1" in error.value.where


def test_pixels_that_are_no_numbers_are_refused():
    pixels = np.full((4, 4, 3), np.nan)
    with pytest.raises(DataError):
        media.classifier().classify(pixels)


def test_sounds_of_mixed_rates_and_channels_become_alike(tmp_path):
    found = []
    for rate in (8000, 11_025, 16_000, 48_000):
        mono = media.tone(440, 0.05, rate)
        for name, samples in ((f"{rate}", mono), (f"{rate}s", np.stack([mono, mono], 1))):
            found.append(media.write_sound(tmp_path / f"{name}.wav", samples, rate))
    samples, counts = MediaRows([{"audio": path} for path in found], "audio", SOUND)[range(8)]
    assert set(counts.tolist()) <= {400, 401}
    middle = samples[:, 50:350]
    for row in middle:
        assert np.corrcoef(row, middle[0])[0, 1] > 0.999


def test_a_video_of_one_frame_is_a_video():
    how = {"image": media.IMAGE, "video": {"num_frames": 3}}
    frames = preparer("video", how)(encoded(media.picture("red"), "GIF"))
    assert frames.shape == (3, 8, 8, 3) and (frames[0] == frames[2]).all()


# === Data ===


def test_a_missing_caption_is_told_with_its_line(tmp_path):
    image = media.write_picture(tmp_path / "a.png", media.picture("red"))
    (tmp_path / "x.csv").write_text(f"image,text\n{image.name},a rose\n{image.name},\n")
    with pytest.raises(DataError, match="has no text") as error:
        read_media_examples(tmp_path / "x.csv", ("image", "text"))
    assert error.value.where == f"{tmp_path / 'x.csv'}:3"


def test_one_class_alone_ends_a_training_before_anything_is_written(tmp_path):
    folder = media.photos(tmp_path / "photos", colours=["red"])
    with pytest.raises(DataError, match="there is nothing to tell apart"):
        train(media.vit_recipe(train={"steps": 1}), folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_class_that_the_model_never_saw_is_told_with_the_nearest(tmp_path):
    model = modelzoo.build(media.vit_recipe(["blue", "green", "red"]))
    folder = media.photos(tmp_path, colours=["red", "blue"])
    (folder / "red").rename(folder / "rde")
    task = task_of(model.recipe)
    with pytest.raises(DataError, match="label 'rde' is none of") as error:
        task.batches(task.examples(folder), processing=model.processing(), batch_size=2)
    assert error.value.did_you_mean == "red"


def test_a_killed_training_goes_on_and_a_bad_file_that_came_since_is_told(tmp_path):
    """What was trained stays: the bad file is met before the run's folder is touched."""
    folder = media.photos(tmp_path / "photos")
    recipe = media.vit_recipe(train={"steps": 4, "checkpoint_steps": 2, "validation_fraction": 0.0})
    train(recipe, folder, tmp_path / "out")
    before = (tmp_path / "out" / "model.keras").read_bytes()
    (folder / "red" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="image"):
        train(recipe, folder, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "model.keras").read_bytes() == before
