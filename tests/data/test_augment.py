import numpy as np
import pytest

from modelzoo.data.augment import augmenter
from modelzoo.errors import RecipeError
from tests import media

PICTURES = np.stack([media.picture(name, height=16, width=20) for name in media.COLOURS])
FILMS = np.stack([PICTURES, PICTURES])  # (2, 3, 16, 20, 3)
SOUNDS = np.stack([media.tone(hertz).astype(np.float32) for hertz in (200, 400, 600)])
ALL = {
    "image": (PICTURES, {"crop": 0.3, "flip": 0.5, "color": 0.3, "shift": 0.2}),
    "video": (FILMS, {"crop": 0.3, "flip": 0.5, "color": 0.3, "shift": 0.2}),
    "audio": (SOUNDS, {"shift": 0.3, "gain": 6.0, "noise": 0.2, "mask": 0.3}),
}


@pytest.mark.parametrize("kind", ALL)
def test_a_seed_decides_everything_whatever_the_number_of_threads(kind):
    rows, table = ALL[kind]
    one, two = augmenter(kind, table, workers=1), augmenter(kind, table, workers=3)
    first = one(rows, np.random.default_rng(5))
    np.testing.assert_array_equal(first, two(rows, np.random.default_rng(5)))
    assert first.shape == rows.shape and first.dtype == rows.dtype
    assert (first != one(rows, np.random.default_rng(6))).any()


@pytest.mark.parametrize("kind", ALL)
def test_rows_are_altered_each_in_its_own_way_and_the_originals_stay(kind):
    rows, table = ALL[kind]
    before = rows.copy()
    same = np.stack([rows[0]] * 4)
    altered = augmenter(kind, table)(same, np.random.default_rng(0))
    assert len({row.tobytes() for row in altered}) == 4
    np.testing.assert_array_equal(rows, before)


def test_a_flip_is_the_mirror_image():
    flip = augmenter("image", {"flip": 1.0})
    np.testing.assert_array_equal(flip(PICTURES, np.random.default_rng(0)), PICTURES[:, :, ::-1])


def test_frames_of_a_film_are_altered_alike():
    film = np.stack([PICTURES[:1].repeat(5, axis=0)])
    (altered,) = augmenter("video", {"crop": 0.5, "color": 0.5})(film, np.random.default_rng(1))
    assert (altered == altered[0]).all() and (altered[0] != PICTURES[0]).any()


def test_a_crop_shows_a_part_of_the_picture_at_the_old_size():
    ramp = np.arange(40, dtype=np.uint8)[None, None, :, None].repeat(30, 1).repeat(3, 3) * 5
    crop = augmenter("image", {"crop": 0.5})
    spreads = [
        np.ptp(crop(ramp, np.random.default_rng(seed))[0].astype(int)) / np.ptp(ramp.astype(int))
        for seed in range(20)
    ]
    # At least half of each side is left, so at least about half of the ramp.
    assert 0.4 < min(spreads) < 0.7 and max(spreads) > 0.85


def test_a_shift_of_a_picture_repeats_its_edge():
    picture = np.zeros((1, 4, 4, 3), np.uint8)
    picture[0, :, 0] = 200
    altered = [
        augmenter("image", {"shift": 0.5})(picture, np.random.default_rng(seed))[0]
        for seed in range(12)
    ]
    widths = {int((one[0, :, 0] == 200).sum()) for one in altered}
    assert widths == {0, 1, 2, 3}  # moved by up to two columns either way


def test_color_keeps_a_grey_picture_grey_and_moves_its_mean_as_far_as_asked():
    grey = np.full((64, 2, 2, 3), 100, np.uint8)
    altered = augmenter("image", {"color": 0.2})(grey, np.random.default_rng(0)).astype(int)
    assert (altered == altered[..., :1]).all()
    assert 80 <= altered.min() < 90 and 110 < altered.max() <= 120


def test_a_shifted_sound_has_silence_at_the_other_end():
    sound = np.ones((8, 10), np.float32)
    altered = augmenter("audio", {"shift": 0.5})(sound, np.random.default_rng(0))
    for row in altered:
        assert row.sum() >= 5
        assert (np.diff(row) != 0).sum() <= 1
    assert len({row.tobytes() for row in altered}) > 3


def test_a_mask_silences_one_stretch():
    altered = augmenter("audio", {"mask": 0.5})(
        np.ones((50, 20), np.float32), np.random.default_rng(0)
    )
    assert altered.sum(axis=1).min() >= 10 and altered.sum(axis=1).min() < 14
    assert all((np.diff(np.pad(row, 1, constant_values=1)) < 0).sum() <= 1 for row in altered)


def test_gain_and_noise_have_the_size_that_is_asked_for():
    sound = np.full((200, 500), 0.1, np.float32)
    louder = augmenter("audio", {"gain": 6.0})(sound, np.random.default_rng(0))
    assert 0.050 < louder.min() < 0.055 and 0.18 < louder.max() < 0.1996
    noisy = augmenter("audio", {"noise": 0.5})(sound, np.random.default_rng(0)) - sound
    spread = noisy.std(axis=1) / 0.1
    assert spread.min() < 0.05 and 0.45 < spread.max() < 0.55


@pytest.mark.parametrize("table", [None, {}, {"flip": 0}])
def test_nothing_asked_for_is_nothing_to_do(table):
    assert augmenter("image", table) is None


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(RecipeError, match="no 'colour' for image") as error:
        augmenter("image", {"colour": 0.1})
    assert error.value.did_you_mean == "color"
    with pytest.raises(RecipeError, match=r"augment\.flip must be from 0 to 1, not 2"):
        augmenter("image", {"flip": 2})
    with pytest.raises(RecipeError, match="no 'flip' for audio"):
        augmenter("audio", {"flip": 1})


def test_no_rows_are_no_rows():
    assert augmenter("image", {"flip": 1.0})(PICTURES[:0], np.random.default_rng(0)).shape[0] == 0
