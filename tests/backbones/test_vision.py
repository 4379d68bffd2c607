"""Vision transformers: the published towers, their numbers, and what they refuse."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo import registry
from modelzoo.architectures.vit import build
from modelzoo.errors import DataError, RecipeError
from modelzoo.layers.dense import blank_weights
from modelzoo.runtime.media.images import prepare_image
from tests.core import assert_near, dense, gelu, layer_norm, number, randomise, softmax

SMALL = {"image_size": 12, "patch_size": 4, "num_layers": 2, "hidden_dim": 16, "num_heads": 2}
CLIP = {"patch_bias": False, "embedding_norm": True, "norm": "pooled", "activation": "quick_gelu"}
DEIT = {"distillation_token": True, "pooling": "cls_distillation"}
DINOV2 = {"layer_scale": 1.0, "gated": True, "activation": "silu", "pooling": "cls_mean"}
BEIT = {"positions": "none", "relative_positions": "each", "layer_scale": 0.1}
BEIT = {**BEIT, "attention_key_bias": False, "pooling": "mean", "norm": "pooled"}
SIGLIP = {"cls_token": False, "pooling": "attention", "activation": "gelu_tanh"}
KINDS = {
    "vit": {},
    "clip": CLIP,
    "siglip": SIGLIP,
    "deit": DEIT,
    "dinov2": DINOV2,
    "beit": BEIT,
    "beit, one table for all": {**BEIT, "relative_positions": "shared", "image_size": (8, 12)},
    "mean": {"cls_token": False, "pooling": "mean"},
    "mean of patches beside a class token": {"pooling": "mean", "norm": "pooled"},
    "oblong": {"image_size": (8, 12), "norm": "none"},
}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)


def small(kind: str, **more):
    return randomise(build(**{**SMALL, **KINDS[kind], **more}))


def images_for(model) -> np.ndarray:
    return IMAGES[:, : model.image_size[0], : model.image_size[1]]


def test_the_published_towers_have_their_published_counts():
    small_dinov2 = {"hidden_dim": 384, "num_heads": 6, "layer_scale": 1.0, "pooling": "cls_mean"}
    with blank_weights():
        clip = build(patch_size=32, **CLIP)
        assert clip.count_params() + 768 * 512 == 87_849_216  # with the projection
        assert build(**SIGLIP).count_params() == 92_884_224
        assert build(**DEIT).count_params() + 2 * 769_000 == 87_338_192  # with both heads
        assert build(image_size=518, patch_size=14, **small_dinov2).count_params() == 22_056_192
        assert build().count_params() == 85_798_656


def test_an_imagebind_tower_has_two_frames_in_its_kernel():
    # 632,829,440 in all: 32 blocks of width 1280, counted by the closed form; then two are built.
    width, block = 1280, 12 * 1280**2 + 13 * 1280
    with blank_weights():
        two = build(
            patch_size=14, num_layers=2, hidden_dim=width, num_heads=16, patch_frames=2,
            patch_bias=False, embedding_norm=True, norm="pooled",
        )  # fmt: skip
    assert two.count_params() + 30 * block + width * 1024 == 632_829_440


def in_numpy(model, images):
    """ViT as its paper has it, in float64."""
    stack, x = model.stack, (images / 255 - 0.5) / 0.5
    rows, columns = (side // 4 for side in model.image_size)
    kernel = number(model.patches.kernel)
    x = x.reshape(len(x), rows, 4, columns, 4, 3)
    x = np.einsum("brhcwk,whko->brco", x, kernel).reshape(len(x), rows * columns, 16)
    x = x + number(model.patches.bias)
    token = np.broadcast_to(number(model.positions.class_token), (len(x), 1, 16))
    x = np.concatenate([token, x], 1) + number(model.positions.embeddings)

    def norm(layer, x):
        return layer_norm(x, number(layer.gamma), number(layer.beta), 1e-6)

    for block in stack.blocks:
        attention, inside = block.attention, norm(block.attention_norm, x)
        query, key, value = (
            dense(layer, inside).reshape(*x.shape[:2], 2, 8)
            for layer in (attention.query, attention.key, attention.value)
        )
        weights = softmax(np.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(8))
        mixed = np.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape)
        x = x + dense(attention.output_projection, mixed)
        x = x + dense(block.ffn.down, gelu(dense(block.ffn.up, norm(block.ffn_norm, x))))
    return norm(stack.final_norm, x)


def test_a_vit_is_its_formula():
    model = small("vit")
    outputs, wanted = model(IMAGES), in_numpy(model, IMAGES)
    assert_near(outputs["sequence"], wanted)
    assert_near(outputs["pooled"], wanted[:, 0])


def test_pooling_and_norm_are_where_they_are_asked_for():
    mean = small("mean")(IMAGES)
    assert_near(mean["pooled"], number(mean["sequence"]).mean(1))

    model = small("mean of patches beside a class token")
    outputs = model(IMAGES)
    gamma, beta = number(model.pooled_norm.gamma), number(model.pooled_norm.beta)
    wanted = layer_norm(number(outputs["sequence"])[:, 1:].mean(1), gamma, beta, 1e-6)
    assert_near(outputs["pooled"], wanted)
    assert model.stack.final_norm is None

    for kind, second in (("deit", np.s_[:, 1]), ("dinov2", np.s_[:, 1:])):
        outputs = small(kind)(IMAGES)
        x = number(outputs["sequence"])
        wanted = x[second] if kind == "deit" else x[second].mean(1)
        assert_near(outputs["pooled"], np.concatenate([x[:, 0], wanted], axis=-1))

    clip = small("clip")
    outputs, norm = clip(IMAGES), clip.pooled_norm
    first = number(outputs["sequence"])[:, 0]
    assert_near(outputs["pooled"], layer_norm(first, number(norm.gamma), number(norm.beta), 1e-6))

    siglip = small("siglip")
    outputs = siglip(IMAGES)
    assert_near(outputs["pooled"], number(siglip.attention_pooling(outputs["sequence"])))
    assert outputs["sequence"].shape == (2, 9, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dict_floats_and_one_image_alone_give_the_same(kind):
    model = small(kind)
    images = images_for(model)
    wanted = number(model(images)["pooled"])
    assert_near(model({"images": images})["pooled"], wanted)
    assert_near(model(images.astype("float32"))["pooled"], wanted)
    assert_near(model(images[1:])["pooled"], wanted[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tower_is_the_same_tower(kind, tmp_path):
    model = small(kind)
    model.save(tmp_path / "vit.keras")
    again = keras.saving.load_model(tmp_path / "vit.keras")
    images = images_for(model)
    assert_near(again(images)["pooled"], number(model(images)["pooled"]), 1e-7)
    assert again.processing == model.processing and again.get_config() == model.get_config()


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_a_tower_learns(kind):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with TensorFlow here")
    import tensorflow as tf

    model = small(kind)
    with tf.GradientTape() as tape:
        outputs = model(images_for(model), training=True)
        loss = ops.sum(outputs["pooled"] * np.linspace(-1, 1, model.pooled_dim, dtype="float32"))
    slopes = tape.gradient(loss, model.trainable_variables)
    still = [v.path for v, g in zip(model.trainable_variables, slopes, strict=True) if g is None]
    assert not still


def test_half_precision_is_near_full_precision():
    full = small("siglip")
    half = build(**{**SMALL, **SIGLIP, "num_layers": 2})
    config = {**half.get_config(), "dtype": "mixed_bfloat16"}
    half = type(half).from_config(config)
    for mine, theirs in zip(half.weights, full.weights, strict=True):
        mine.assign(theirs)
    away = number(half(IMAGES)["pooled"]) - number(full(IMAGES)["pooled"])
    assert 0 < np.abs(away).max() < 0.2


def test_processing_says_how_a_file_becomes_the_input():
    model = build(**{**SMALL, "resize": "crop", "resize_to": 14, "interpolation": "bilinear"})
    how = model.processing["image"]
    assert how == {
        "size": [12, 12], "resize": "crop", "resize_to": 14, "interpolation": "bilinear",
    }  # fmt: skip
    image = prepare_image(np.zeros((40, 30, 3), np.uint8), how)
    assert number(model(image[None])["pooled"]).shape == (1, 16)


def test_the_last_pixels_that_fill_no_patch_are_not_looked_at():
    model = small("vit", image_size=14)
    images = np.zeros((1, 14, 14, 3), np.uint8)
    images[:, :12, :12] = IMAGES[:1]
    wanted = number(model(images)["pooled"])
    images[:, 12:], images[:, :, 12:] = 255, 255
    assert_near(model(images)["pooled"], wanted, 0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cls_token": False}, "needs a class token"),
        ({"pooling": "cls_distillation"}, "needs a distillation token"),
        ({**DEIT, "pooling": "mean", "cls_token": False}, "distillation token needs a class token"),
        ({**DEIT, **BEIT}, "no place for a distillation token"),
        ({"positions": "rotary"}, "positions 'rotary' is not one of"),
        ({"relative_positions": "all"}, "relative_positions 'all' is not one of"),
        ({"patch_size": 13}, "holds no patch of 13 x 13"),
        ({"patch_size": 0}, "holds no patch of 0 x 0"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"resize": "pad", "resize_to": 20}, "resize_to is the shorter side"),
        ({"resize": "crop", "resize_to": 8}, "resize_to 8 is smaller than image_size 12"),
        ({"resize": "corp"}, "resize 'corp' is not one of"),
        ({"interpolation": "cubic"}, "interpolation 'cubic' is not one of"),
        ({"pooling": "max"}, "pooling 'max' is not one of"),
        ({"norm": "pool"}, "norm 'pool' is not one of"),
        ({"num_heads": 3}, "not a multiple of num_heads 3"),
        ({"image_std": (0.5, 0.5, 0.0)}, "image_std must be above 0"),
    ],
)
def test_values_that_make_no_model_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        build(**{**SMALL, **values})


@pytest.mark.parametrize("shape", [(1, 12, 11, 3), (12, 12, 3), (1, 3, 12, 12)])
def test_images_of_another_size_are_refused_by_name(shape):
    with pytest.raises(DataError, match="takes images \\(batch, 12, 12, channels\\)"):
        small("vit")(np.zeros(shape, "uint8"))


def test_the_recipes_differ_only_in_what_they_say():
    sizes = {
        name: registry.recipe(name).table("model") for name in ("vit-ti16", "vit-s16", "vit-b16")
    }
    assert [table["hidden_dim"] for table in sizes.values()] == [192, 384, 768]
    assert {table["num_layers"] for table in sizes.values()} == {12}
