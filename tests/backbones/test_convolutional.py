"""The networks of `keras.applications` as backbones: same numbers, same counts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo.architectures.convolutional import build
from modelzoo.backbones.convolutional import NETWORKS
from modelzoo.errors import DataError, RecipeError
from tests.core import assert_near, number

# With a layer over the 1,000 classes of ImageNet, as published by Keras.
PUBLISHED = {
    "mobilenet-v3-small": 2_554_968,
    "mobilenet-v3-large": 5_507_432,
    "efficientnet-b0": 5_330_571,
    "efficientnet-v2-b0": 7_200_312,
}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)


def lively(model, seed: int = 0):
    """Weights with which something reaches the end of a deep network."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.path or weight.path.endswith("count"):
            continue
        values = rng.normal(0, (2 / max(1, np.prod(weight.shape[:-1]))) ** 0.5, weight.shape)
        if weight.path.endswith(("gamma", "variance")):
            values = rng.uniform(0.5, 1.5, weight.shape)
        weight.assign(values.astype("float32"))
    return model


@pytest.fixture(scope="module")
def small():
    return lively(build(image_size=(32, 48), norm_momentum=0.9))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_published_one_without_its_classifier(name):
    model = build(network=name, image_size=32)
    assert model.count_params() + 1000 * (model.hidden_dim + 1) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["mobilenet-v3-small", "efficientnet-v2-b0"])
def test_pooled_is_what_the_published_classifier_reads(name):
    model = lively(build(network=name, image_size=32))
    whole = getattr(keras.applications, NETWORKS[name][0])(
        weights=None, classes=2, input_shape=(32, 32, 3), classifier_activation=None
    )
    for theirs, ours in zip(whole.weights, model.weights, strict=False):
        theirs.assign(ours)
    kernel, bias = (number(weight) for weight in whole.weights[-2:])
    images = IMAGES[:, :, :32]
    logits = number(model(images)["pooled"]) @ kernel.reshape(-1, 2) + bias
    wanted = number(whole(images.astype("float32")))
    assert np.ptp(wanted) > 0.01
    assert_near(logits, wanted, 1e-4)


def test_the_places_of_the_map_are_the_sequence(small):
    outputs = small(IMAGES)
    assert outputs["sequence"].shape == (2, 2, 1024)  # 32 x 48 is a map of 1 x 2
    assert outputs["pooled"].shape == (2, 1024)
    one = build(image_size=32)
    lively(one)
    same = one(IMAGES[:, :, :32])
    assert_near(same["sequence"][:, 0], number(same["pooled"]), 1e-5)  # a map of one place


def test_integers_floats_and_a_dict_are_one_input(small):
    wanted = number(small(IMAGES)["pooled"])
    assert_near(small(IMAGES.astype("float32"))["pooled"], wanted)
    assert_near(small({"images": IMAGES})["pooled"], wanted)


def test_what_is_saved_is_loaded_whatever_was_built_in_between(small, tmp_path):
    small.save(tmp_path / "net.keras")
    build(image_size=32)  # Keras numbers the layers on
    again = keras.saving.load_model(tmp_path / "net.keras")
    assert_near(again(IMAGES)["pooled"], number(small(IMAGES)["pooled"]), 1e-7)
    assert again.get_config() == small.get_config() and again.processing == small.processing
    layers = [x for x in again.features.layers if hasattr(x, "momentum")]
    assert layers and all(layer.momentum == 0.9 for layer in layers)


def test_another_policy_is_the_models_own_and_not_the_worlds():
    before = keras.config.dtype_policy().name
    half = build(image_size=32).get_config() | {"dtype": "mixed_bfloat16"}
    from modelzoo.backbones.convolutional import Convolutional

    half = Convolutional.from_config(half)
    assert keras.config.dtype_policy().name == before
    assert half.features.get_layer("conv").compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(half(IMAGES[:, :, :32])["pooled"].dtype) == "bfloat16"


def test_a_frozen_network_keeps_its_batch_statistics(small):
    variance = small.features.get_layer("conv_bn").moving_variance
    before = number(variance)
    small.trainable = False
    small(IMAGES, training=True)
    assert_near(variance, before, 0.0)
    small.trainable = True
    small(IMAGES, training=True)
    assert np.abs(number(variance) - before).max() > 1e-4
    variance.assign(before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network": "mobilenet-v3"}, "is not one of mobilenet-v3-small"),
        ({"image_size": 28}, "image_size must be at least 32"),
        ({"network": "efficientnet-b0", "width": 0.5}, "no width 0.5"),
        ({"norm_momentum": 1.0}, "norm_momentum must lie in"),
        ({"resize": "pad", "resize_to": 40}, "resize_to is the shorter side"),
    ],
)
def test_values_that_make_no_network_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        build(**values)


def test_images_of_another_size_are_refused(small):
    with pytest.raises(DataError, match="takes images \\(batch, 32, 48, channels\\)"):
        small(IMAGES[:, :, :32])
