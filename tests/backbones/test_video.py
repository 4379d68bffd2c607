"""Videos: each frame by itself, then all of them in their order."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.architectures.video import build
from modelzoo.errors import DataError, RecipeError
from modelzoo.runtime.media.videos import prepare_video
from tests.core import assert_near, number, randomise

IMAGE = {
    "architecture": "vit",
    "model": {"image_size": 8, "patch_size": 4, "num_layers": 1, "hidden_dim": 16, "num_heads": 2},
}
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
KINDS = {
    "mean": {"pooling": "mean"},
    "attention": {"pooling": "attention"},
    "blocks": {"num_layers": 2, "pooling": "mean"},
}


def small(kind: str, **more):
    values = {"image": IMAGE, "num_frames": 3, "num_heads": 2, **KINDS[kind], **more}
    return randomise(build(**values))


def test_the_mean_is_that_of_the_frames_seen_one_by_one():
    model = small("mean")
    each = np.stack([number(model.image(FRAMES[:, i])["pooled"]) for i in range(3)], 1)
    outputs = model({"frames": FRAMES})
    assert_near(outputs["sequence"], each)
    assert_near(outputs["pooled"], each.mean(1))


@pytest.mark.parametrize(
    ("kind", "knows"), [("mean", False), ("attention", True), ("blocks", True)]
)
def test_the_order_of_frames_counts_where_there_is_something_to_tell_it(kind, knows):
    model = small(kind)
    there, back = (number(model(frames)["pooled"]) for frames in (FRAMES, FRAMES[:, ::-1]))
    assert (np.abs(there - back).max() > 1e-3) == knows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2])
def test_one_frame_is_a_video_too(kind, count):
    model = small(kind)
    outputs = model(FRAMES[:, :count])
    assert outputs["sequence"].shape == (2, count, 16)
    assert np.isfinite(number(outputs["pooled"])).all()
    if kind == "mean" and count == 1:
        assert_near(outputs["pooled"], number(model.image(FRAMES[:, 0])["pooled"]))


def test_a_film_of_one_picture_fills_all_frames():
    model = small("attention")
    frames = prepare_video(FRAMES[0, :1], model.processing)
    assert frames.shape == (3, 8, 8, 3) and (frames == FRAMES[0, 0]).all()
    assert np.isfinite(number(model(frames[None])["pooled"])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_loaded_with_its_image_part(kind, tmp_path):
    model = small(kind, image={**IMAGE, "frozen": True}) if kind == "blocks" else small(kind)
    model.save(tmp_path / "video.keras")
    again = keras.saving.load_model(tmp_path / "video.keras")
    assert_near(again(FRAMES)["pooled"], number(model(FRAMES)["pooled"]), 1e-7)
    assert again.image.trainable == model.image.trainable == (kind != "blocks")
    assert again.processing == model.processing


def test_a_frozen_image_part_has_no_weights_to_train():
    model = randomise(build(image={**IMAGE, "frozen": True}, num_frames=3, num_heads=2))
    names = {weight.path for weight in model.trainable_weights}
    assert names and not any("patches" in name for name in names)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 8, 8, 3), "takes frames"),
        ((1, 4, 8, 8, 3), "sees 3 frames, and these are 4"),
        ((1, 2, 8, 9, 3), "takes images \\(batch, 8, 8"),
    ],
)
def test_frames_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(DataError, match=message):
        small("attention")(np.zeros(shape, "uint8"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": {"architecture": "bert", "model": {"num_layers": 1}}}, "reads no images"),
        ({"num_frames": 0}, "no 0 frames"),
        ({"pooling": "max"}, "pooling 'max' is not one of"),
        ({"num_heads": 3}, "not a multiple of num_heads 3"),
        ({"image": {**IMAGE, "pooled": "mean"}}, "model.image takes no 'pooled'"),
    ],
)
def test_values_that_make_no_model_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        build(**{"image": IMAGE, "num_heads": 2, **values})


def test_a_video_classifier_learns_what_only_the_order_tells():
    rng = np.random.default_rng(0)
    films = []
    for i in range(32):  # the same pictures, becoming lighter or darker
        film = np.linspace(0, 255, 3)[:, None, None, None] * rng.uniform(0.8, 1, (3, 8, 8, 3))
        up = bool(i % 2)
        films.append({"video": (film if up else film[::-1]).astype(np.uint8), "label": str(up)})
    keras.utils.set_random_seed(0)
    small = {f"image.model.{key}": value for key, value in IMAGE["model"].items()}
    options = {
        "task_options.labels": ["False", "True"],
        "train.learning_rate": 1e-2,
        "train.warmup_steps": 0,
        "train.schedule": "constant",
        "image.model.initializer_range": 0.2,
        "initializer_range": 0.2,
    }
    model = modelzoo.build(
        "video-tiny", num_frames=3, num_heads=2, num_layers=1, **small, **options
    )
    model.fit(modelzoo.dataset(model, films, batch_size=16), epochs=20, verbose=0)
    right = [model.classify(film["video"])[0][0] == film["label"] for film in films]
    assert sum(right) == len(films)
