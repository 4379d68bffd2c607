"""The hidden Markov model in Keras, against the algorithms in numpy and on a device."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.errors import RecipeError
from modelzoo_statistical.hmm import build
from modelzoo_statistical.markov import Chain, baum_welch, forward, random_chain, sample

RECIPE = "statistical/hmm"
SMALL = {"vocab_size": 260, "num_states": 4, "tokenizer.kind": "byte", "train.length": 32}


@pytest.fixture(scope="module")
def model(corpus):
    keras.utils.set_random_seed(0)
    made = modelzoo.build(RECIPE, **SMALL, **{"train.warmup_steps": 0})
    made.fit(modelzoo.dataset(made, corpus[:8]), epochs=2, verbose=0)
    return made


def log_probabilities(model, ids, mask=None) -> np.ndarray:
    ids = np.asarray(ids, np.int32)
    inputs = ids if mask is None else {"token_ids": ids, "padding_mask": np.asarray(mask)}
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def small_model(chain: Chain):
    keras.utils.set_random_seed(1)
    made = modelzoo.build(RECIPE, vocab_size=chain.num_symbols, num_states=len(chain.initial))
    made.backbone.assign(chain)
    return made


def test_next_token_probabilities_are_the_ratios_of_the_forward_algorithm():
    chain = random_chain(4, 6, 2, evenness=0.5)
    made, symbols = small_model(chain), sample(chain, 12, 3)
    found = log_probabilities(made, symbols[None])[0]
    np.testing.assert_allclose(np.exp(found).sum(-1), 1.0, atol=1e-5)
    for t in range(1, len(symbols)):
        expected = forward(chain, symbols[: t + 1])[1] - forward(chain, symbols[:t])[1]
        assert found[t - 1, symbols[t]] == pytest.approx(expected, abs=1e-4)


def test_a_chain_that_is_assigned_comes_back():
    chain = random_chain(3, 5, 4)
    back = small_model(chain).backbone.chain
    for name in ("initial", "transition", "emission"):
        np.testing.assert_allclose(getattr(back, name), getattr(chain, name), atol=1e-6)


def test_a_probability_of_zero_is_as_good_as_zero_and_gives_numbers():
    chain = Chain(np.array([1.0, 0.0]), np.eye(2)[::-1].copy(), np.eye(2))
    found = log_probabilities(small_model(chain), [[0, 1, 0, 1, 1, 1]])
    assert np.isfinite(found).all()
    assert np.exp(found[0, :3]).round(6).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_steps_give_what_the_whole_text_gives(model):
    ids = np.random.default_rng(0).integers(97, 120, (2, 11)).astype("int32")
    whole = log_probabilities(model, ids)
    cache, rows = model.backbone.init_cache(2), []
    assert all(not np.asarray(value).any() for value in cache.values())
    for first, last in ((0, 1), (1, 5), (5, 11)):
        step = keras.ops.convert_to_tensor(ids[:, first:last])
        logits, cache = model.backbone.step(step, step, cache)
        rows.append(keras.ops.convert_to_numpy(logits))
    np.testing.assert_allclose(np.concatenate(rows, 1), whole, atol=1e-4)


def test_padding_and_ids_of_minus_one_change_nothing(model):
    plain = log_probabilities(model, [[105, 110, 32, 116]])
    padded = log_probabilities(model, [[0, 105, 110, 0, 32, 116]], [[0, 1, 1, 0, 1, 1]])
    np.testing.assert_allclose(padded[0, [1, 2, 4, 5]], plain[0], atol=1e-5)
    ids = keras.ops.convert_to_tensor([[-1, 105, 110, -1, 32, 116]], "int32")
    stepped = model.backbone.step(ids, ids, model.backbone.init_cache(1))[0]
    found = keras.ops.convert_to_numpy(stepped)[0, [1, 2, 4, 5]]
    np.testing.assert_allclose(found, plain[0], atol=1e-4)


def test_the_gradient_is_that_of_finite_differences():
    """Of the text's log likelihood by numpy's forward algorithm, parameter by parameter."""
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        pytest.skip("the gradient is taken with TensorFlow")
    chain = random_chain(3, 4, 6)
    made, symbols = small_model(chain), sample(chain, 7, 1)
    backbone = made.backbone
    variables = backbone.trainable_variables
    with tf.GradientTape() as tape:
        found = made(symbols[None, :-1])
        picked = tf.gather(found[0], symbols[1:], batch_dims=1)
        loss = -tf.reduce_sum(picked)
    gradients = tape.gradient(loss, [variable.value for variable in variables])

    def softmax(x, axis):
        x = np.exp(x - x.max(axis, keepdims=True))
        return x / x.sum(axis, keepdims=True)

    def loss_at(initial, transition, emission):
        now = Chain(softmax(initial, 0), softmax(transition, 1), softmax(emission, 0).T)
        return forward(now, symbols[:1])[1] - forward(now, symbols)[1]

    values = [np.asarray(variable, np.float64) for variable in variables]
    assert float(loss) == pytest.approx(loss_at(*values), rel=1e-5)
    for which, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        for place in np.ndindex(value.shape):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = [array.copy() for array in values]
                moved[which][place] += shift
                ends.append(loss_at(*moved))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(gradient[place]) == pytest.approx(slope, abs=2e-4)


def test_fit_learns_a_chain_nearly_to_its_entropy():
    """Two states that alternate, each with two tokens of its own: ln 2 nats a token."""
    chain = Chain(
        np.array([0.5, 0.5]),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]),
    )
    keras.utils.set_random_seed(3)
    made = modelzoo.build(
        RECIPE, vocab_size=4, num_states=3, **{"train.learning_rate": 0.1, "train.warmup_steps": 0}
    )
    rows = np.stack([sample(chain, 33, seed) for seed in range(32)])
    made.fit(rows[:, :-1], rows[:, 1:], batch_size=16, epochs=40, verbose=0)
    loss = made.evaluate(rows[:, :-1], rows[:, 1:], verbose=0)[0]
    assert loss == pytest.approx(math.log(2), abs=0.03)


def test_baum_welch_takes_a_trained_model_further_and_back_into_keras(model, corpus):
    rows = [np.array(model.tokenizer.encode(text)) for text in corpus[:8]]
    chain, history = baum_welch(model.backbone.chain, rows, 5)
    assert history[-1] > history[0]
    before = np.asarray(model.backbone.emission_logits)
    weights = model.get_weights()
    model.backbone.assign(chain)
    found = log_probabilities(model, rows[0][None])[0, :-1]
    model.set_weights(weights)
    total = found[np.arange(len(found)), rows[0][1:]].sum()
    expected = forward(chain, rows[0])[1] - forward(chain, rows[0][:1])[1]
    assert total == pytest.approx(expected, rel=1e-3)
    np.testing.assert_array_equal(np.asarray(model.backbone.emission_logits), before)


def test_a_device_answers_as_keras_and_generates_the_same(model, tmp_path):
    report = modelzoo.export(model, tmp_path / "hmm.bundle")
    assert report.max_abs_error < 1e-4
    assert report.parity["generation"]["greedy"]["equal"] > 100
    bundle = modelzoo.runtime.load(tmp_path / "hmm.bundle")
    assert {"decode", "prefill_32"} <= set(bundle.manifest["signatures"])
    for prompt in ("In the beginning", "a"):
        for options in ({}, {"temperature": 0.9, "seed": 5}):
            found = bundle.generate(prompt, max_new_tokens=24, **options)
            assert found == model.generate(prompt, max_new_tokens=24, **options)


def test_jax_answers_and_learns_as_tensorflow(model, corpus, tmp_path):
    modelzoo.save(model, tmp_path / "hmm")
    code = (
        "import json, sys, modelzoo, numpy as np; corpus = json.load(sys.stdin);"
        "model = modelzoo.load(sys.argv[1]);"
        "logits = np.asarray(model(np.array([[10, 101, 32, 119]], 'int32'))).tolist();"
        "text = model.generate('In the beginning', max_new_tokens=12);"
        "data = modelzoo.dataset(model, corpus);"
        "losses = [model.fit(data, verbose=0).history['loss'][0] for _ in range(2)];"
        "print(json.dumps([logits, text, losses]))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "hmm")],
        input=json.dumps(corpus[:8]),
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    logits, text, losses = json.loads(child.stdout.splitlines()[-1])
    expected = log_probabilities(model, [[10, 101, 32, 119]])
    np.testing.assert_allclose(np.array(logits), expected, atol=1e-4)
    assert text == model.generate("In the beginning", max_new_tokens=12)
    assert losses[1] < losses[0]


def test_values_out_of_their_range_are_refused():
    with pytest.raises(RecipeError, match="num_states must be 1 or more"):
        build(num_states=0)
    with pytest.raises(RecipeError, match="initializer_range must be above 0"):
        build(initializer_range=0.0)
