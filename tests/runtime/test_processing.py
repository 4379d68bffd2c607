"""`processing` is completed and checked in one place, for training, export and devices."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import ModelzooError
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.media.images import prepare_image
from modelzoo.runtime.media.processing import completed

IMAGE = {"size": [4, 6], "resize": "squash", "resize_to": None, "interpolation": "bicubic"}


def test_defaults_are_filled_in_and_the_rest_stays_as_it_is():
    given = {"image": {"size": [4, 6], "fill": 9}, "contrastive": {"loss": "softmax"}}
    assert completed(given) == {
        "image": {**IMAGE, "fill": 9},
        "contrastive": {"loss": "softmax"},
    }
    assert given["image"] == {"size": [4, 6], "fill": 9}
    assert completed(completed(given)) == completed(given)
    assert completed(None) == {}


def test_a_device_fills_in_what_a_manifest_leaves_out(tmp_path):
    assert Bundle(tmp_path, {"processing": {"image": {"size": [4, 6]}}}).processing == {
        "image": IMAGE
    }
    assert Bundle(tmp_path, {}).processing == {}


def test_what_is_completed_prepares_as_what_is_not():
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype("uint8")
    np.testing.assert_array_equal(
        prepare_image(image, {"size": [4, 6]}), prepare_image(image, IMAGE)
    )


@pytest.mark.parametrize(
    ("processing", "says"),
    [
        ({"image": {}}, "image is wrong: it has no 'size'"),
        ({"image": [4, 6]}, "it must be a dict, not"),
        ({"image": {"size": 4}}, r"size must be \[height, width\], each from 1 to 65,536, not 4"),
        ({"image": {"size": [4, 0]}}, "size must be"),
        ({"image": {"size": [4, 6], "resize": "crp"}}, "resize 'crp' is not one of squash, crop"),
        ({"image": {"size": [4, 6], "resize": "crop", "resize_to": 5}}, "leaves less than size"),
        ({"audio": {"num_samples": 5}}, "audio is wrong: it has no 'sample_rate'"),
        ({"audio": {"sample_rate": 8, "num_samples": True}}, "num_samples must be a number from"),
        ({"audio": {"sample_rate": 8, "num_samples": 5, "padding": "zero"}}, "padding 'zero'"),
        ({"video": {"num_frames": 5}}, "it needs an 'image' too"),
    ],
)
def test_what_no_device_could_do_is_refused(processing, says):
    with pytest.raises(ModelzooError, match=says) as caught:
        completed(processing)
    assert "of the backbone; it holds" in caught.value.next_step


def test_a_near_miss_is_named():
    with pytest.raises(ModelzooError) as caught:
        completed({"image": {"size": [4, 6], "interpolation": "bicubc"}})
    assert caught.value.did_you_mean == "bicubic"
