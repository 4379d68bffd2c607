from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from modelzoo.errors import DataError
from modelzoo.runtime.media.images import open_image
from modelzoo.runtime.media.videos import choose_frames, open_video, prepare_video
from tests import media

PROCESSING = {"video": {"num_frames": 4}, "image": media.IMAGE}
COLOURS = [np.full((6, 6, 3), value, np.uint8) for value in (0, 80, 160, 240)]


def animation(path, kind, frames=COLOURS):
    first, *others = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if kind == "WEBP" else {}
    first.save(path, format=kind, save_all=True, append_images=others, duration=50, **options)
    return path


def levels(video):
    return [round(float(frame.mean())) for frame in video]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_frames_in_order(tmp_path, kind):
    path = animation(tmp_path / f"a.{kind.lower()}", kind)
    video = prepare_video(path, PROCESSING)
    assert video.shape == (4, 8, 8, 3) and video.dtype == np.uint8
    assert levels(video) == pytest.approx([0, 80, 160, 240], abs=2)
    np.testing.assert_array_equal(prepare_video(path.read_bytes(), PROCESSING), video)


def test_a_folder_an_array_a_file_of_numbers_and_a_list_are_videos_too(tmp_path):
    for number, frame in enumerate(COLOURS):
        media.write_picture(tmp_path / "clip" / f"{number:02}.png", frame)
    np.save(tmp_path / "clip.npy", np.stack(COLOURS))
    for source in (
        tmp_path / "clip",
        tmp_path / "clip.npy",
        np.stack(COLOURS),
        [*COLOURS],
        sorted((tmp_path / "clip").iterdir()),
    ):
        assert levels(prepare_video(source, PROCESSING)) == [0, 80, 160, 240]


def test_frames_are_taken_at_even_distances_and_a_short_video_repeats_its_own():
    assert choose_frames(8, 4) == [1, 3, 5, 7]
    assert choose_frames(2, 4) == [0, 0, 1, 1]
    assert levels(prepare_video(COLOURS[1][None], PROCESSING)) == [80] * 4
    assert levels(prepare_video(COLOURS[1], PROCESSING)) == [80] * 4  # a still picture


def test_a_film_says_how_to_make_frames_of_it(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no reader for \.mp4") as error:
        open_video(tmp_path / "a.mp4")
    assert "ffmpeg -i a.mp4" in error.value.next_step


def test_no_frames_broken_files_and_wrong_shapes_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "bad.gif").write_bytes(b"GIF89a")
    for source, what in (
        (tmp_path / "empty", "no frame"),
        ([], "no frame"),
        (tmp_path / "bad.npy", "not a readable"),
        (tmp_path / "bad.gif", "image"),
        (b"", "image|empty"),
        (np.zeros(5), "must be"),
    ):
        with pytest.raises(DataError, match=what):
            open_video(source)


def test_a_truncated_animation_is_refused_and_not_cut_short(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (40, 40, 3), np.uint8) for _ in range(5)]
    file = io.BytesIO()
    animation(file, "GIF", frames)
    with pytest.raises(DataError):
        open_video(file.getvalue()[: len(file.getvalue()) // 2])


def test_an_animation_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("modelzoo.runtime.media.videos.MAX_BYTES", 4 * 36 * 4 - 1)
    with pytest.raises(DataError, match="GiB of memory"):
        open_video(animation(tmp_path / "a.gif", "GIF"))
    monkeypatch.setattr("modelzoo.runtime.media.videos.MAX_FRAMES", 3)
    with pytest.raises(DataError, match="4 frames; 3 are the most"):
        open_video(np.stack(COLOURS))


def test_a_dark_frame_is_scaled_as_the_whole_video_is():
    for film in (
        np.stack([np.ones((2, 2, 3)), np.full((2, 2, 3), 200.0)]),
        np.stack([np.full((2, 2, 3), 257, "uint16"), np.full((2, 2, 3), 200 * 257, "uint16")]),
    ):
        dark, light = open_video(film)
        assert (open_image(dark) == 1).all() and (open_image(light) == 200).all()
    with pytest.raises(DataError, match="nothing above 1"):
        open_video(np.stack([np.zeros((2, 2, 3)), np.ones((2, 2, 3))]))
    with pytest.raises(DataError, match="nothing above 200"):
        open_video(np.full((3, 2, 2, 3), 200, "uint16"))


def test_a_damaged_note_in_an_animation_is_a_clear_error():
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    data = file.getvalue()
    note = b"\0\0\0\3tEXta\0b\0\0\0\0"  # its checksum is wrong
    with pytest.raises(DataError, match="not an image, or its format is unknown"):
        open_video(data[:33] + note + data[33:])
