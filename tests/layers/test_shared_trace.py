"""A stack whose blocks share one trace trains as one whose blocks do not."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo.layers import stack as stack_module
from modelzoo.layers.block import TransformerBlock
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.stack import TransformerStack

tf = pytest.importorskip("tensorflow")
CONFIG = TransformerConfig(hidden_dim=8, num_heads=2, ffn_dim=16)
X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")


def made(layers=3, config=CONFIG, **options) -> TransformerStack:
    keras.utils.set_random_seed(7)
    stack = TransformerStack(config, layers, **options)
    stack.build()
    return stack


def step_of(stack, **inputs):
    """A compiled function of X: the loss, and the gradients of all weights."""

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(stack(x, training=True, **inputs) ** 3)
        gradients = tape.gradient(loss, [v.value for v in stack.trainable_variables])
        return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

    return step


@pytest.mark.parametrize(
    "options",
    [{"causal": True, "relative_buckets": 8}, {"cross_attention": True, "causal": True}],
    ids=["relative", "cross-attention"],
)
def test_loss_and_gradients_are_those_of_blocks_traced_one_by_one(options, monkeypatch):
    inputs = {"encoded": tf.constant(X[:, :4])} if "cross_attention" in options else {}
    shared = step_of(made(**options), **inputs)(X)
    monkeypatch.setattr(stack_module, "shared_trace", lambda: TransformerBlock.__call__)
    plain = step_of(made(**options), **inputs)(X)
    for one, other in zip(tf.nest.flatten(shared), tf.nest.flatten(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_deeper_stack_adds_calls_and_not_the_nodes_of_a_block():
    def nodes(layers):
        graph = step_of(made(layers)).get_concrete_function(tf.TensorSpec(X.shape)).graph
        return len(graph.get_operations())

    assert nodes(8) - nodes(2) < 6 * 40  # a block and its gradient alone have about 250


def test_dropout_differs_between_blocks_and_between_steps():
    config = TransformerConfig(hidden_dim=8, num_heads=2, ffn_dim=16, dropout=0.5)
    stack = made(config=config)
    step = step_of(stack)
    first, second = float(step(X)[0]), float(step(X)[0])
    assert first != second
    draws = {int(seed.numpy()[1]) for seed in stack.non_trainable_variables}
    assert draws == {2, 4}  # a block draws once or twice a step from each of its seeds


def test_half_precision_and_xla_train_too():
    for policy, jit in (("mixed_float16", False), ("float32", True)):
        stack = made(dtype=policy)
        model = keras.Sequential([stack, keras.layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=jit)
        assert np.isfinite(model.train_on_batch(X, np.ones((2, 5, 1), "float32")))
