"""Attention against loops of numpy, one head and one query at a time."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo.layers.attention import Attention
from modelzoo.layers.cache import (
    KEY_AXIS,
    LARGEST,
    VALUE_AXIS,
    cache_names,
    quantize_slots,
    quantized_cache,
    write_cache,
)
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.masks import add_biases, bias_from_visible, causal_bias, padding_bias
from modelzoo.layers.stack import TransformerStack
from tests.core import assert_near, dense, layer_norm, number, randomise, softmax

SHAPES = {
    "multi-head": {"num_heads": 4},
    "grouped": {"num_heads": 4, "num_kv_heads": 2},
    "multi-query": {"num_heads": 4, "num_kv_heads": 1},
    "wide heads": {"num_heads": 2, "head_dim": 8},
    "unscaled, no bias": {"num_heads": 2, "attention_scale": 1.0, "attention_bias": False},
}


def make(**options) -> Attention:
    layer = Attention(TransformerConfig(hidden_dim=12, ffn_dim=16, **options))
    layer.build()
    return randomise(layer)


def by_hand(layer: Attention, x: np.ndarray, memory: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """x (B, T, W), memory (B, S, W), visible (B, T, S) -> (B, T, W)."""
    config = layer.config
    width, share = config.size_per_head, config.num_heads // config.kv_heads
    query, key, value = dense(layer.query, x), dense(layer.key, memory), dense(layer.value, memory)
    scale = width**-0.5 if config.attention_scale is None else config.attention_scale
    heads = []
    for head in range(config.num_heads):
        own = slice(head * width, (head + 1) * width)
        shared = slice(head // share * width, (head // share + 1) * width)
        scores = np.einsum("btd,bsd->bts", query[..., own], key[..., shared]) * scale
        weights = softmax(np.where(visible, scores, -np.inf))
        heads.append(np.einsum("bts,bsd->btd", weights, value[..., shared]))
    return dense(layer.output_projection, np.concatenate(heads, axis=-1))


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_attention_is_the_formula(options):
    layer, x = make(**options), np.random.default_rng(1).normal(size=(2, 5, 12))
    everything = np.ones((2, 5, 5), bool)
    assert_near(layer(ops.cast(x, "float32")), by_hand(layer, x, x, everything))

    causal = np.tril(everything)
    positions = ops.expand_dims(ops.arange(5, dtype="int32"), 0)
    assert_near(
        layer(ops.cast(x, "float32"), bias=causal_bias(positions, 5)), by_hand(layer, x, x, causal)
    )


@pytest.mark.parametrize("heads", ["shared", "separate", "joint"])
def test_queries_and_keys_are_normalised_head_by_head_or_together(heads):
    options = {"num_heads": 4, "num_kv_heads": 2, "norm_bias": False, "qk_norm": True}
    layer = make(**options, qk_norm_heads=heads)
    plain = make(**{**options, "qk_norm": False})
    for name in ("query", "key", "value", "output_projection"):
        getattr(plain, name).set_weights(getattr(layer, name).get_weights())
    gains = {"query": layer.query_norm.weights, "key": layer.key_norm.weights}
    sizes = {"shared": (3,), "separate": (4, 3), "joint": (12,)}
    assert gains["query"][0].shape == sizes[heads] and len(gains["query"]) == 1

    def normalised(name, count):
        def call(x):
            x = dense(getattr(layer, name), number(x))
            x = x if heads == "joint" else x.reshape(*x.shape[:2], count, 3)
            x = layer_norm(x, number(gains[name][0]), 0.0, 1e-5)
            return ops.cast(x.reshape(*x.shape[:2], -1), "float32")

        return call

    x = ops.cast(np.random.default_rng(1).normal(size=(2, 5, 12)), "float32")
    for name, count in (("query", 4), ("key", 2)):
        object.__setattr__(plain, name, normalised(name, count))
    assert_near(layer(x), number(plain(x)))


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_cross_attention_reads_the_memory_and_skips_its_padding(options):
    rng = np.random.default_rng(2)
    layer, x, memory = make(**options), rng.normal(size=(2, 3, 12)), rng.normal(size=(2, 6, 12))
    mask = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    got = layer(
        ops.cast(x, "float32"),
        memory=layer.project_memory(ops.cast(memory, "float32")),
        bias=padding_bias(ops.convert_to_tensor(mask)),
    )
    assert_near(got, by_hand(layer, x, memory, np.tile(mask[:, None] > 0, (1, 3, 1))))


def test_a_hidden_key_has_a_weight_of_exactly_zero_and_a_row_of_them_is_no_nan():
    bias = bias_from_visible(ops.convert_to_tensor([[True, True, False], [False, False, False]]))
    weights = number(ops.softmax(bias + 3.0, axis=-1))
    assert weights[0, 2] == 0.0
    assert np.isfinite(weights).all()


def test_a_query_sees_the_slots_up_to_its_own_position():
    positions = ops.convert_to_tensor([[0, 1], [2, 3]])
    bias = number(causal_bias(positions, 4))
    assert bias.shape == (2, 1, 2, 4)
    seen = (bias == 0).sum(-1).reshape(-1)
    assert seen.tolist() == [1, 2, 3, 4]


def test_biases_add_up_and_none_is_no_bias():
    one, two = ops.ones((1, 1)), ops.ones((1, 1)) * 2
    assert add_biases(None, None) is None
    assert add_biases(None, one) is one
    assert float(number(add_biases(one, None, two))[0, 0]) == 3


@pytest.mark.parametrize("axis", [KEY_AXIS, VALUE_AXIS])
def test_a_slot_in_int8_is_as_near_as_its_largest_number_allows(axis):
    x = np.random.default_rng(5).normal(size=(2, 3, 6, 6)).astype("float32")
    x[0, 0] = 0  # a slot that nothing was written to stays nothing
    whole, scale = (number(part) for part in quantize_slots(ops.convert_to_tensor(x), axis))
    assert np.abs(whole).max() == LARGEST and not whole[0, 0].any()
    largest = np.abs(x).max(axis=5 - axis, keepdims=True)
    assert (np.abs(whole * scale - x) <= largest / LARGEST / 2 + 1e-6).all()


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("rows", [1, 2])
def test_attention_over_an_int8_cache_is_near_that_over_floats(rows, kv_heads):
    config = TransformerConfig(hidden_dim=32, num_heads=4, num_kv_heads=kv_heads, ffn_dim=8)
    stack = TransformerStack(config, 2, causal=True)
    stack.build()
    randomise(stack)
    floats = stack.init_cache(rows, 9)
    whole = quantized_cache(floats)
    assert keras.backend.standardize_dtype(whole["kv_cache_k_0"].dtype) == "int8"
    rng = np.random.default_rng(1)
    for start in (0, 5):
        x = ops.convert_to_tensor(rng.normal(size=(rows, 4, 32)).astype("float32"))
        positions = ops.convert_to_tensor(np.tile(np.arange(start, start + 4), (rows, 1)), "int32")
        right, floats = stack.step(x, positions, floats)
        found, whole = stack.step(x, positions, whole)
        assert 1e-5 < np.abs(number(found) - number(right)).max() < 0.05
    assert set(whole) == {name for layer in range(2) for name in cache_names(layer)}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("axis", [KEY_AXIS, VALUE_AXIS])
def test_new_tokens_land_in_their_slots_and_touch_no_other(axis, rows):
    rng = np.random.default_rng(3)
    shapes = {
        KEY_AXIS: ((rows, 2, 7, 4), (rows, 2, 3, 4)),
        VALUE_AXIS: ((rows, 2, 4, 7), (rows, 2, 4, 3)),
    }
    cache, update = (rng.normal(size=shape).astype("float32") for shape in shapes[axis])
    starts = np.array([4, 0, 2][:rows], "int32")
    wanted = cache.copy()
    for row, start in enumerate(starts):
        slots = [row, slice(None), slice(None), slice(None)]
        slots[axis] = slice(start, start + 3)
        wanted[tuple(slots)] = update[row]
    got = write_cache(
        ops.convert_to_tensor(cache),
        ops.convert_to_tensor(update),
        ops.convert_to_tensor(starts),
        axis,
    )
    assert_near(got, wanted.astype(np.float64), 0)
