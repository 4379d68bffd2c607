"""Pixels become patches as the formulas say, on the backend that runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.layers.attention_pooling import AttentionPooling
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.frontends.images import ImageNormalization
from modelzoo.layers.frontends.patches import PatchBias, PatchEmbedding, PatchPositions
from tests.core import assert_near, dense, gelu, layer_norm, number, randomise, softmax

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 11, 8, 3), np.uint8)


def test_pixels_are_rescaled_shifted_and_divided_a_channel():
    mean, std = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
    wanted = (IMAGES / 255 - np.array(mean)) / np.array(std)
    layer = ImageNormalization(mean, std)
    assert_near(layer(IMAGES), wanted, 1e-6)
    assert_near(layer(IMAGES.astype("float32")), wanted, 1e-6)
    assert not layer.weights


def test_half_precision_still_tells_255_from_254():
    layer = ImageNormalization((0.0,) * 3, (1.0,) * 3, dtype="mixed_bfloat16")
    out = layer(np.array([[[255.0, 254.0, 253.0]]], "float32"))
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"
    one = number(out)[0, 0]
    assert abs(one[1] - 254 / 255) <= 2**-9  # rounded once, at the end


def test_channels_that_do_not_match_are_refused():
    with pytest.raises(RecipeError, match="3 means and 1 deviations"):
        ImageNormalization((0.5,) * 3, (0.5,))
    with pytest.raises(RecipeError, match="image_std must be above 0"):
        ImageNormalization((0.5,) * 3, (0.5, 0.0, 0.5))


@pytest.mark.parametrize("bias", [True, False])
def test_a_patch_is_multiplied_with_the_kernel_and_the_rest_is_left_out(bias):
    layer = PatchEmbedding(4, 5, use_bias=bias)
    images = RNG.normal(size=(2, 11, 8, 3)).astype("float32")
    layer.build()
    randomise(layer)
    kernel = number(layer.kernel)  # (along W, along H, channel, out)
    wanted = np.zeros((2, 4, 5))
    for place in range(4):
        top, left = 4 * (place // 2), 4 * (place % 2)
        patch = images[:, top : top + 4, left : left + 4].astype(float)
        wanted[:, place] = np.einsum("bhwc,whco->bo", patch, kernel)
    assert_near(layer(images), wanted + (number(layer.bias) if bias else 0.0))


def test_a_still_image_is_a_film_of_equal_frames():
    film, still = PatchEmbedding(4, 5, frames=2), PatchEmbedding(4, 5)
    film.build(), still.build()
    randomise(film)
    still.kernel.assign(ops.sum(film.kernel, 0))
    still.bias.assign(film.bias)
    images = RNG.normal(size=(1, 8, 8, 3)).astype("float32")
    assert_near(film(images), number(still(images)))


def test_the_class_token_comes_first_and_each_place_has_its_vector():
    layer = PatchPositions((2, 3), 4)
    layer.build()
    randomise(layer)
    x = RNG.normal(size=(2, 6, 4)).astype("float32")
    token = np.broadcast_to(number(layer.class_token), (2, 1, 4))
    assert_near(layer(x), np.concatenate([token, x], 1) + number(layer.embeddings))
    bare = PatchPositions((2, 3), 4, class_token=False)
    assert bare(x).shape == (2, 6, 4) and bare.length == 6


def test_the_bias_of_two_patches_is_that_of_their_distance():
    layer = PatchBias((2, 3), 4)
    layer.build()
    randomise(layer)
    table, bias = number(layer.table), number(layer(np.zeros((1, 7, 8), "float32")))
    assert bias.shape == (1, 4, 7, 7) and table.shape == (3 * 5 + 3, 4)
    for query in range(6):
        for key in range(6):
            down, right = query // 3 - key // 3, query % 3 - key % 3
            assert_near(bias[0, :, 1 + query, 1 + key], table[(down + 1) * 5 + right + 2])
    assert_near(bias[0, :, 0, 1:], np.repeat(table[15:16].T, 6, 1))
    assert_near(bias[0, :, 1:, 0], np.repeat(table[16:17].T, 6, 1))
    assert_near(bias[0, :, 0, 0], table[17])


def pooling():
    config = TransformerConfig(hidden_dim=8, num_heads=2, ffn_dim=12, norm_epsilon=1e-6)
    layer = AttentionPooling(config)
    layer.build()
    return randomise(layer)


def test_attention_pooling_is_one_query_and_a_block_over_its_answer():
    layer, x = pooling(), RNG.normal(size=(3, 5, 8))
    attention = layer.attention
    query = dense(attention.query, number(layer.probe)).reshape(2, 4)
    keys = dense(attention.key, x).reshape(3, 5, 2, 4)
    values = dense(attention.value, x).reshape(3, 5, 2, 4)
    weights = softmax(np.einsum("hd,bthd->bht", query, keys) / 2)
    found = dense(
        attention.output_projection, np.einsum("bht,bthd->bhd", weights, values).reshape(3, 8)
    )
    normed = layer_norm(found, number(layer.norm.gamma), number(layer.norm.beta), 1e-6)
    wanted = found + dense(layer.ffn.down, gelu(dense(layer.ffn.up, normed)))
    assert_near(layer(x.astype("float32")), wanted)


def test_attention_pooling_does_not_see_padding():
    layer, x = pooling(), RNG.normal(size=(1, 5, 8)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0]])
    assert_near(layer(x, padding_mask=mask), number(layer(x[:, :3])))
