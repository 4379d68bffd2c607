"""A mixture of experts: routing, losses, capacity, and the same answers on every way through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import modelzoo
from modelzoo.errors import ModelzooError, RecipeError
from modelzoo.layers import stack as stack_module
from modelzoo.layers.backend.lookup import device_lookups
from modelzoo.layers.backend.segments import segment_map
from modelzoo.layers.block import TransformerBlock
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.experts import Experts
from modelzoo.layers.feed_forward import FeedForward
from modelzoo.layers.stack import TransformerStack
from modelzoo.recipe.experts import ExpertsConfig
from modelzoo.runtime.generation.sampling import greedy
from tests.plugin_site import ROOT

tf = pytest.importorskip("tensorflow")
SIZES = {"hidden_dim": 8, "num_heads": 2, "ffn_dim": 12, "ffn_bias": False, "norm": "rms"}
SIZES |= {"initializer_range": 0.5, "gated": True, "activation": "silu"}
X = np.random.default_rng(0).normal(size=(2, 9, 8)).astype("float32")
MASK = np.arange(9) < np.array([[9], [4]])


def config(count=4, **experts) -> TransformerConfig:
    return TransformerConfig(**SIZES, experts={"count": count, **experts})


def made(count=4, seed=7, **experts) -> Experts:
    keras.utils.set_random_seed(seed)
    layer = Experts(config(count, **experts))
    layer.build()
    return layer


def one_token_at_a_time(layer, x) -> np.ndarray:
    """What the paper says, in NumPy."""
    experts, found = layer.experts, []
    router, up, gate, down = map(
        np.asarray, (layer.router.kernel, layer.up, layer.gate, layer.down)
    )
    for token in x.reshape(-1, x.shape[-1]):
        odds = np.exp(token @ router)
        odds /= odds.sum()
        chosen = np.argsort(-odds)[: experts.top_k]
        weights = odds[chosen] / (odds[chosen].sum() if experts.normalize else 1)
        output = 0
        for weight, e in zip(weights, chosen, strict=True):
            gated = gate[e] @ token
            output += weight * ((gated / (1 + np.exp(-gated)) * (up[e] @ token)) @ down[e])
        found.append(output)
    return np.reshape(found, x.shape)


@pytest.mark.parametrize("options", [{}, {"normalize": False, "top_k": 3}, {"top_k": 1}], ids=str)
def test_each_token_is_the_weighted_sum_of_its_experts(options):
    layer = made(**options)
    wanted = one_token_at_a_time(layer, X)
    np.testing.assert_allclose(layer(X), wanted, atol=1e-5)
    np.testing.assert_allclose(layer(X, training=True), wanted, atol=1e-5)
    with device_lookups():
        np.testing.assert_allclose(layer(X), wanted, atol=1e-5)
        np.testing.assert_allclose(layer(X[:1, :1]), wanted[:1, :1], atol=1e-5)
    np.testing.assert_allclose(layer(X[:1, :1]), wanted[:1, :1], atol=1e-5)
    ample = made(**options, capacity=4.0)
    np.testing.assert_allclose(ample(X, training=True), wanted, atol=1e-5)


@pytest.mark.parametrize("capacity", [None, 4.0])
@pytest.mark.parametrize("gated", [True, False])
def test_identical_experts_with_room_enough_are_the_dense_layer(capacity, gated):
    shape = TransformerConfig(**{**SIZES, "gated": gated})
    dense, layer = FeedForward(shape), made(capacity=capacity)
    layer = Experts(
        TransformerConfig(
            **{**SIZES, "gated": gated}, experts={"count": 4, "top_k": 2, "capacity": capacity}
        )
    )
    dense.build()
    layer.build()
    for name in ("up", "gate", "down")[:: 1 if gated else 2]:
        kernel = np.asarray(getattr(dense, name).kernel)
        kernel = kernel if name == "down" else kernel.T
        getattr(layer, name).assign(np.stack([kernel] * 4))
    for training in (False, True):
        np.testing.assert_allclose(layer(X, training=training), dense(X), atol=1e-5)


def test_a_router_that_prefers_none_has_a_balance_loss_of_one():
    layer = made(balance_loss=1.0, z_loss=0.0)
    # Every token reads another unit vector, and each expert is preferred as often as the others.
    layer.router.kernel.assign(np.eye(8, 4) * 3 + np.eye(8, 4, -1) + np.eye(8, 4, 3))
    tokens = np.eye(8, dtype="float32")[None, :4]
    layer(tokens, training=True)
    choices = np.argsort(-(tokens[0] @ np.asarray(layer.router.kernel)), axis=1)[:, :2]
    assert np.bincount(choices.ravel()).tolist() == [2, 2, 2, 2]
    assert float(layer.losses[0]) == pytest.approx(1.0, abs=1e-6)


def test_a_router_that_prefers_one_is_as_far_from_balance_as_can_be():
    layer = made(top_k=1, balance_loss=1.0)
    layer.router.kernel.assign(np.full((8, 4), 0.0) + np.array([50.0, 0, 0, 0]))
    layer(np.ones((1, 3, 8), "float32"), training=True)
    assert float(layer.losses[0]) == pytest.approx(4.0, abs=1e-5)


def test_only_training_has_losses():
    layer = made(z_loss=0.1)
    layer(X)
    assert layer.losses == []


def test_padding_neither_counts_in_the_losses_nor_takes_room():
    options = {"balance_loss": 1.0, "z_loss": 0.3, "capacity": 0.8, "top_k": 2}
    layer, noise = made(**options), X.copy()
    noise[~MASK] = np.random.default_rng(1).normal(size=(5, 8)) * 9
    first = np.asarray(layer(X, padding_mask=MASK, training=True))
    losses = [float(loss) for loss in layer.losses]
    second = np.asarray(layer(noise, padding_mask=MASK, training=True))
    np.testing.assert_array_equal(first[MASK], second[MASK])
    assert not first[~MASK].any()
    assert losses == [float(loss) for loss in layer.losses] and len(losses) == 2
    # The losses are those of the real tokens alone, as one sequence.
    alone = made(**options)
    alone(X[MASK][None], training=True)
    assert losses == pytest.approx([float(loss) for loss in alone.losses], abs=1e-6)


@pytest.mark.parametrize("rows", [1, 2])
def test_padding_becomes_zeros_on_every_way(rows):
    layer, x, mask = made(), X[-rows:, 3:5], np.array([[1, 0], [1, 0]], bool)[-rows:]
    plain = layer(x, padding_mask=mask)
    traced = tf.function(lambda x, mask: layer(x, padding_mask=mask), autograph=False)
    with device_lookups():
        found = traced(x, mask)
    for each in (plain, found):
        assert not each[:, 1].numpy().any() and each[:, 0].numpy().any()
    np.testing.assert_allclose(found, plain, atol=1e-6)


def test_what_is_above_capacity_skips_its_expert_in_the_order_of_the_tokens():
    layer = made(top_k=1, capacity=1.0)  # 8 tokens, 4 experts: room for 2
    layer.router.kernel.assign(np.eye(8, 4) * 9)
    tokens = np.eye(8, dtype="float32")[None, [0, 1, 0, 0, 1, 2, 0, 1]]
    kept = np.abs(np.asarray(layer(tokens, training=True))[0]).sum(axis=1) > 0
    assert kept.tolist() == [True, True, True, False, True, True, False, False]
    assert np.abs(np.asarray(layer(tokens))[0]).sum(axis=1).all()  # none without training


def test_first_choices_have_room_before_second_ones():
    layer = made(top_k=2, capacity=0.5, normalize=False)  # 4 tokens, 8 pairs, room for 1
    layer.router.kernel.assign(np.eye(8, 4) * 9 + np.eye(8, 4, 1) * 5)
    tokens = np.eye(8, dtype="float32")[None, [0, 1, 2, 3]]  # token i: expert i, then i + 1
    router = np.asarray(ops.softmax(tokens[0] @ np.asarray(layer.router.kernel)))
    got = np.asarray(layer(tokens, training=True))[0]
    for i in range(3):
        only = made(top_k=1, normalize=False)
        only.router.kernel.assign(np.asarray(layer.router.kernel))
        wanted = np.asarray(only(tokens))[0, i]
        assert router[i].argmax() == i
        np.testing.assert_allclose(got[i], wanted, atol=1e-6)


@pytest.mark.parametrize("capacity", [None, 1.0])
def test_gradients_reach_the_router_and_the_experts_that_were_chosen(capacity):
    layer = made(capacity=capacity, top_k=1, normalize=False, balance_loss=0.0)
    layer.router.kernel.assign(np.eye(8, 4) * 9)
    tokens = np.eye(8, dtype="float32")[None, [0, 2, 0]]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tokens, training=True) ** 2)
    of_router, *of_experts = (
        np.asarray(one)
        for one in tape.gradient(
            loss, [layer.router.kernel.value, layer.up.value, layer.down.value]
        )
    )
    assert np.abs(of_router[0]).max() > 1e-6
    for gradient in of_experts:
        used = np.abs(gradient).reshape(4, -1).max(axis=1) > 0
        assert used.tolist() == [True, False, True, False]


def test_the_balance_loss_alone_moves_the_router():
    layer = made(balance_loss=1.0)
    with tf.GradientTape() as tape:
        layer(X, training=True)
        (loss,) = layer.losses
    assert np.abs(tape.gradient(loss, layer.router.kernel.value)).max() > 1e-4


def test_jitter_is_of_training_alone():
    layer = made(jitter=0.3)
    np.testing.assert_array_equal(layer(X), layer(X))
    assert np.abs(np.asarray(layer(X, training=True)) - np.asarray(layer(X, training=True))).max()


def test_a_shared_expert_is_added_through_its_gate():
    layer = made(shared_dim=20, shared_gate=True)
    bare = made()
    for name in ("up", "gate", "down"):
        getattr(bare, name).assign(getattr(layer, name))
    bare.router.kernel.assign(layer.router.kernel)
    gate = 1 / (1 + np.exp(-X @ np.asarray(layer.shared_gate.kernel)))
    np.testing.assert_allclose(layer(X), bare(X) + gate * np.asarray(layer.shared(X)), atol=1e-5)
    assert layer.shared.up.kernel.shape == (8, 20)


def test_the_router_stays_in_float32():
    keras.utils.set_random_seed(0)
    layer = Experts(config(), dtype="mixed_bfloat16")
    layer.build()
    assert layer.router.compute_dtype == "float32" and layer.up.dtype == "float32"
    assert layer(X).dtype == tf.bfloat16


# === In a stack ===


def test_two_layers_of_unequal_lengths_are_each_text_alone():
    keras.utils.set_random_seed(3)
    stack = TransformerStack(config(pattern=[False, True]), 4, causal=True)
    stack.build()
    kinds = [type(block.ffn).__name__ for block in stack.blocks]
    assert kinds == ["FeedForward", "Experts"] * 2
    whole = np.asarray(stack(X, padding_mask=MASK))
    np.testing.assert_allclose(whole[1:, :4], stack(X[1:, :4]), atol=1e-5)
    np.testing.assert_allclose(whole[:1], stack(X[:1]), atol=1e-5)


@pytest.mark.parametrize("capacity", [None, 1.0])
def test_a_cached_step_is_the_whole_call(capacity):
    keras.utils.set_random_seed(3)
    stack = TransformerStack(config(capacity=capacity), 2, causal=True)
    stack.build()
    wanted, cache, found = np.asarray(stack(X)), stack.init_cache(2, 9), []
    for start, end in ((0, 6), (6, 7), (7, 8), (8, 9)):
        positions = np.arange(start, end, dtype="int32")[None].repeat(2, 0)
        x, cache = stack.step(X[:, start:end], positions, cache)
        found.append(np.asarray(x))
    np.testing.assert_allclose(np.concatenate(found, 1), wanted, atol=1e-5)


@pytest.mark.parametrize("capacity", [None, 1.0])
def test_blocks_that_share_a_trace_have_their_own_losses_and_gradients(capacity, monkeypatch):
    def step():
        keras.utils.set_random_seed(5)
        shape = config(balance_loss=1.0, z_loss=0.5, capacity=capacity)
        stack = TransformerStack(shape, 3, causal=True)
        stack.build()

        @tf.function(autograph=False)
        def run(x, mask):
            with tf.GradientTape() as tape:
                answer = tf.reduce_mean(stack(x, padding_mask=mask, training=True) ** 3)
                losses = list(stack.losses)
                total = answer + tf.add_n(losses)
            weights = [v.value for v in stack.trainable_variables]
            return losses, [tf.convert_to_tensor(g) for g in tape.gradient(total, weights)]

        return run(tf.constant(X), tf.constant(MASK))

    shared = step()
    monkeypatch.setattr(stack_module, "shared_trace", lambda: TransformerBlock.__call__)
    alone = step()
    assert len(shared[0]) == len(alone[0]) == 6
    assert len({round(float(loss), 6) for loss in shared[0]}) == 6
    for one, other in zip(keras.tree.flatten(shared), keras.tree.flatten(alone), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


# === A model ===

SMALL = {"vocab_size": 31, "num_layers": 2, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 24}
SMALL |= {"max_length": 16, "ffn_bias": False, "gated": True}


def small(**experts):
    options = {"count": 4, "pattern": [False, True], **experts}
    return modelzoo.build("gpt-tiny", **SMALL, experts=options)


def test_a_model_counts_saves_and_opens(tmp_path):
    model = small(shared_dim=8, shared_gate=True, jitter=0.1)
    dense = modelzoo.build("gpt-tiny", **SMALL)
    more = 3 * 3 * 16 * 24 + 16 * 4 + 3 * 16 * 8 + 16
    assert model.count_params() - dense.count_params() == more
    ids = np.arange(12).reshape(2, 6)
    modelzoo.save(model, tmp_path / "saved")
    np.testing.assert_array_equal(modelzoo.load(tmp_path / "saved")(ids), model(ids))


def test_a_model_trains_and_its_loss_holds_that_of_balance():
    model = small(balance_loss=100.0, top_k=1)
    ids = np.random.default_rng(0).integers(1, 31, (4, 9))
    trained = model.train_on_batch(ids[:, :-1], ids[:, 1:], return_dict=True)
    tested = model.test_on_batch(ids[:, :-1], ids[:, 1:], return_dict=True)
    assert trained["loss"] > 90 and tested["loss"] < 10


def test_jax_computes_the_same_in_training_too():
    pytest.importorskip("jax")
    code = """
import json, sys, jax, numpy as np
from modelzoo.layers.experts import Experts
from tests.layers.test_experts import X, MASK, config
found = []
for capacity in (None, 1.0):
    layer = Experts(config(capacity=capacity))
    layer.build()
    values = [np.random.default_rng(i).normal(size=v.shape) / 4 for i, v in
              enumerate(layer.trainable_variables)]
    def loss(values, x, layer=layer):
        y, _, losses = layer.stateless_call(
            values, [], x, padding_mask=MASK, training=True, return_losses=True)
        return (y**2).sum() + sum(losses)
    found.append([float(jax.numpy.abs(g).sum()) for g in jax.jit(jax.grad(loss))(values, X)])
print(json.dumps(found))
"""
    env = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False
    )
    assert not ran.returncode, ran.stderr[-2000:]
    wanted = []
    for capacity in (None, 1.0):
        layer = Experts(config(capacity=capacity))
        layer.build()
        for i, variable in enumerate(layer.trainable_variables):
            variable.assign(np.random.default_rng(i).normal(size=variable.shape) / 4)
        with tf.GradientTape() as tape:
            y = layer(X, padding_mask=MASK, training=True)
            loss = tf.reduce_sum(y**2) + tf.add_n(layer.losses)
        gradients = tape.gradient(loss, [v.value for v in layer.trainable_variables])
        wanted.append([float(np.abs(one).sum()) for one in gradients])
    np.testing.assert_allclose(json.loads(ran.stdout.splitlines()[-1]), wanted, rtol=1e-4)


def test_a_segment_goes_through_its_own_matrix_and_rows_that_are_not_kept_are_zeros():
    matrices = np.stack([np.eye(2), 2 * np.eye(2), 3 * np.eye(2)]).astype("float32")
    sizes, kept = np.array([2, 0, 3], "int32"), np.array([2, 0, 1], "int32")

    def function(rows, matrix, times=ops.matmul):
        return times(rows, matrix) + 1

    got = segment_map(function, np.ones((7, 2), "float32"), [matrices], sizes, kept)
    assert np.asarray(got)[:, 0].tolist() == [2, 2, 4, 0, 0, 0, 0]


@pytest.mark.parametrize("mask", [None, MASK])
def test_xla_which_knows_no_sizes_that_vary_drops_the_same_tokens(mask):
    layer = made(capacity=0.4, balance_loss=0.0)

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, padding_mask=mask, training=True)
        weights = [v.value for v in layer.trainable_variables]
        return y, *map(tf.convert_to_tensor, tape.gradient(y, [x, *weights]))

    wanted, found = (
        tf.function(run, autograph=False, jit_compile=jit)(tf.constant(X)) for jit in (False, True)
    )
    assert not np.abs(wanted[0]).reshape(18, 8).any(axis=1).all()
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


# === Bad input ===


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"count": 4, "top_k": 5}, "experts.top_k is 5, and there are only 4 experts"),
        ({"count": 0}, "experts.count must be a whole number, 1 or more, not 0"),
        ({"top_k": 1}, "experts has no count"),
        ({"count": 4, "topk": 1}, "experts has no 'topk'"),
        ({"count": 4, "capacity": 0}, "no token would reach an expert"),
        ({"count": 4, "capacity": "1"}, "experts.capacity must be a number"),
        ({"count": 4, "jitter": 1.0}, "experts.jitter must be below 1"),
        ({"count": 4, "z_loss": float("nan")}, "experts.z_loss must be a number"),
        ({"count": 4, "normalize": 1}, "experts.normalize must be true or false"),
        ({"count": 4, "pattern": []}, "experts.pattern must be a list of true and false"),
        ({"count": 4, "shared_gate": True}, "experts.shared_gate needs a shared expert"),
    ],
    ids=str,
)
def test_a_table_that_makes_no_sense_is_rejected(table, message):
    with pytest.raises(RecipeError, match=message):
        ExpertsConfig.of(table)


def test_experts_have_no_biases():
    with pytest.raises(RecipeError, match="experts have no biases") as caught:
        TransformerConfig(**{**SIZES, "ffn_bias": True}, experts={"count": 2})
    assert "ffn_bias = false" in str(caught.value)


@pytest.mark.parametrize("capacity", [None, 0.5])
def test_a_router_with_nan_answers_nan_and_not_expert_0(capacity):
    layer = made(capacity=capacity)
    layer.router.kernel.assign(np.full((8, 4), np.nan))
    for x in (X, X[:1, :1]):
        assert np.isnan(layer(x)).all()
        with device_lookups():
            assert np.isnan(layer(x)).all()
    trained = np.asarray(layer(X, training=True)).any(axis=-1)  # what capacity drops stays 0
    assert trained.any() and (capacity or trained.all())


def test_generating_with_a_router_that_holds_nan_is_an_error():
    model = small()
    router = model.backbone.stack.blocks[1].ffn.router.kernel
    router.assign(router * np.nan)
    step = model.backbone.logits(model.backbone(np.array([[3, 4, 5]])))
    with pytest.raises(ModelzooError, match="logits are not numbers"):
        greedy(np.asarray(step)[0, -1])
