"""Resizing is Pillow's, bit by bit, without Pillow."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import DataError
from modelzoo.runtime.media.resizing import INTERPOLATIONS, resize

pillow = pytest.importorskip("PIL.Image")
KINDS = tuple(INTERPOLATIONS)
SHAPES = [
    ((37, 53), (224, 224)),  # up
    ((224, 224), (37, 53)),  # down, by other factors a side
    ((480, 641), (28, 28)),
    ((64, 64), (64, 31)),  # one axis alone
    ((31, 64), (64, 64)),
    ((1, 1), (5, 3)),
    ((1, 90), (40, 40)),
    ((90, 1), (7, 2)),
    ((5, 7), (1, 1)),
    ((40, 40), (40, 40)),
]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def picture(height: int, width: int) -> np.ndarray:
    """Something smooth with an edge, as photographs are."""
    y, x = np.mgrid[:height, :width].astype(float)
    grey = 128 + 90 * np.sin(x / 9) * np.cos(y / 7) + 30 * (x > y)
    return np.stack([grey, grey[::-1], 255 - grey], -1).clip(0, 255).astype(np.uint8)


def pillows(image: np.ndarray, size, kind: str) -> np.ndarray:
    method = getattr(pillow.Resampling, kind.upper())
    return np.asarray(pillow.fromarray(image).resize((size[1], size[0]), method))


def one_axis_at_a_time(image: np.ndarray, size, kind: str) -> np.ndarray:
    """Pillow's result in the order of the axes that ours takes, whichever Pillow's own is."""
    down, aside = image.shape[0] - size[0], image.shape[1] - size[1]
    first = (size[0], image.shape[1]) if down > max(0, 2 * aside) else (image.shape[0], size[1])
    return pillows(pillows(image, first, kind), size, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_every_pixel_of_noise_is_pillows(old, new, kind):
    image = noise(*old)
    np.testing.assert_array_equal(resize(image, new, kind), one_axis_at_a_time(image, new, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_a_picture_is_within_one_level_of_pillows_in_one_call(old, new, kind):
    image = picture(*old)
    away = resize(image, new, kind).astype(int) - pillows(image, new, kind)
    assert np.abs(away).max() <= 1


def test_random_shapes_are_pillows_too():
    rng = np.random.default_rng(1)
    for seed in range(40):
        old, new = rng.integers(1, 70, (2, 2)).tolist()
        image = noise(*old, seed)
        for kind in KINDS:
            wanted = one_axis_at_a_time(image, new, kind)
            np.testing.assert_array_equal(resize(image, new, kind), wanted, f"{old} {new} {kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_that_part_of_the_whole(kind):
    image = noise(41, 60)
    whole = resize(image, (90, 70), kind)
    window = resize(image, (90, 70), kind, window=(13, 5, 40, 51))
    np.testing.assert_array_equal(window, whole[13:53, 5:56])


def test_a_window_of_a_long_strip_costs_no_more_than_itself():
    strip = noise(1, 20_000)  # all of it would take 60 GB
    assert resize(strip, (1_000, 20_000_000), window=(0, 9_000_000, 10, 10)).shape == (10, 10, 3)


@pytest.mark.parametrize(
    ("image", "size", "kind", "message"),
    [
        (noise(2, 2), (2, 0), "bicubic", "cannot be resized to 2 x 0"),
        (noise(2, 2), (2, 2), "bicubical", "not one of bicubic, bilinear, nearest"),
        (noise(2, 2) / 255, (2, 2), "nearest", "uint8, not"),
        (noise(0, 2), (2, 2), "nearest", "uint8, not"),
    ],
)
def test_what_cannot_be_resized_says_so(image, size, kind, message):
    with pytest.raises(DataError, match=message):
        resize(image, size, kind)
