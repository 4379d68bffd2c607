"""Backbones in half precision, from their config, and from a seed."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from tests.core import (
    DECODERS,
    ENCODER_DECODERS,
    FAMILIES,
    RECURRENT,
    assert_near,
    fresh,
    number,
    run_steps,
    small,
    token_ids,
)


def inputs_of(name: str):
    ids = token_ids(2, 6)
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2], "int32")
    inputs = {"token_ids": ids, "padding_mask": mask}
    return {**inputs, "decoder_token_ids": ids} if name in ENCODER_DECODERS else inputs


def outputs_of(model, name: str) -> list[np.ndarray]:
    outputs = model(inputs_of(name))
    return [number(x) for x in keras.tree.flatten(outputs)]


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(("kind", "tolerance"), [("mixed_bfloat16", 0.08), ("mixed_float16", 0.01)])
@pytest.mark.parametrize("name", ["gpt-2", "llama", "relative", "gru", "bert", "t5 v1.1", "bart"])
def test_half_precision_stays_near_single_precision(name, kind, tolerance, policy):
    exact = small(name)
    policy(kind)
    half = small(name)
    assert half.compute_dtype == kind.removeprefix("mixed_")
    assert {weight.dtype for weight in half.weights} == {"float32"}
    for got, wanted in zip(outputs_of(half, name), outputs_of(exact, name), strict=True):
        assert np.isfinite(got).all()
        assert np.abs(got - wanted).max() < tolerance * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("name", ["gpt-2", "relative", "lstm"])
def test_a_cache_in_half_precision_is_half_as_wide_and_gives_the_same(name, policy):
    policy("mixed_bfloat16")
    model, ids = small(name), token_ids(2, 6)
    assert {keras.backend.standardize_dtype(v.dtype) for v in model.init_cache(1, 4).values()} == {
        "bfloat16"
    }
    full = number(model.logits(model(ids)))
    assert np.abs(run_steps(model, ids, [4, 1, 1]) - full).max() < 0.05 * np.abs(full).max()


@pytest.mark.parametrize("name", ["gpt-2", "sine", "llama", "relative"])
def test_positions_beyond_256_are_told_apart_in_bfloat16(name, policy):
    policy("mixed_bfloat16")
    model, ids = small(name, max_length=300), token_ids(1, 1)
    _, cache = model.step(
        token_ids(1, 300), np.arange(300, dtype="int32")[None], model.init_cache(1, 300)
    )
    one, other = (
        number(model.step(ids, np.array([[where]], "int32"), cache)[0]) for where in (297, 298)
    )
    assert np.isfinite(one).all() and np.abs(one - other).max() > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_a_config_is_plain_and_makes_the_same_model(name):
    model = small(name)
    config = json.loads(json.dumps(model.get_config()))
    twin = type(model).from_config(config)
    assert twin.get_config() == model.get_config()
    assert [w.path.split("/", 1)[1] for w in twin.weights] == [
        w.path.split("/", 1)[1] for w in model.weights
    ]
    twin.set_weights(model.get_weights())
    for got, wanted in zip(outputs_of(twin, name), outputs_of(model, name), strict=True):
        assert_near(got, wanted, 0)


@pytest.mark.parametrize("name", ["t5", "gru, tied"])
def test_a_seed_gives_the_same_weights_and_another_others(name):
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return fresh(name).get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_called_a_bias_starts_at_zero_and_a_gain_at_one(name):
    for weight in fresh(name).weights:
        last = weight.path.rpartition("/")[2]
        if "lstm" in weight.path and last == "bias":
            continue  # the forget gate's starts at one
        if "bias" in last or last == "beta":
            assert not number(weight).any(), weight.path
        elif last in ("gamma", "scale"):
            assert (number(weight) == 1).all(), weight.path


def test_every_weight_of_a_decoder_and_of_a_network_gets_a_gradient():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with a tape")
    import tensorflow as tf

    for name in (*DECODERS, *RECURRENT, "bert"):
        model, ids = small(name), token_ids(2, 6)
        with tf.GradientTape() as tape:
            out = model({"token_ids": ids, "segment_ids": ids % 2})
            if isinstance(out, dict):
                loss = sum(tf.reduce_sum(value**2) for value in out.values())
            else:
                loss = tf.reduce_sum(model.logits(out) ** 2)
        variables = model.trainable_weights
        for variable, gradient in zip(
            variables, tape.gradient(loss, [v.value for v in variables]), strict=True
        ):
            assert gradient is not None, variable.path
