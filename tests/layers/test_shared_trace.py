"""A stack whose blocks share one trace trains as one whose blocks do not."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from modelzoo.layers import stack as stack_module
from modelzoo.layers.block import TransformerBlock
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.stack import TransformerStack
from tests.plugin_site import ROOT

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


@pytest.fixture
def plain(monkeypatch):
    """Called, it ends the sharing of traces."""
    return lambda: monkeypatch.setattr(
        stack_module, "shared_trace", lambda: TransformerBlock.__call__
    )


@pytest.mark.parametrize(
    "options",
    [{"causal": True, "relative_buckets": 8}, {"cross_attention": True, "causal": True}],
    ids=["relative", "cross-attention"],
)
def test_loss_and_gradients_are_those_of_blocks_traced_one_by_one(options, plain):
    inputs = {"encoded": tf.constant(X[:, :4])} if "cross_attention" in options else {}
    shared = step_of(made(**options), **inputs)(X)
    plain()
    alone = step_of(made(**options), **inputs)(X)
    for one, other in zip(tf.nest.flatten(shared), tf.nest.flatten(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


# === What a user may do to some of three blocks ===


def frozen(stack):
    for block in stack.blocks[:2]:
        block.trainable = False


def with_lora(stack):
    for block in stack.blocks[:2]:
        block.attention.query.enable_lora(rank=2)
        block.ffn.up.enable_lora(rank=2)


def with_another_activation(stack):
    stack.blocks[1].ffn.activation = keras.ops.tanh


def with_another_epsilon(stack):
    stack.blocks[2].ffn_norm.epsilon = 0.5


def with_a_loss_of_its_own(stack):
    for block in stack.blocks[1:3]:
        block.ffn.activity_regularizer = keras.regularizers.L2(0.3)


def with_weights_that_are_held_small(stack):
    for block in stack.blocks:
        block.ffn.up.kernel.regularizer = keras.regularizers.L2(0.3)


@keras.saving.register_keras_serializable("tests")
class Counting(keras.layers.Layer):
    """A norm's place in a block, with a state that each call changes."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), trainable=False, initializer="ones", name="calls")
        self.gain = self.add_weight(shape=(), initializer="ones", name="gain")

    def call(self, x):
        self.calls.assign(self.calls * 1.5)
        return x * self.gain / self.calls


def with_state(stack):
    for block in stack.blocks[1:]:
        block._tracker.unlock()
        block.ffn_norm = Counting()
        block.ffn_norm.build(X.shape)


CHANGES = [
    frozen,
    with_lora,
    with_another_activation,
    with_another_epsilon,
    with_a_loss_of_its_own,
    with_weights_that_are_held_small,
    with_state,
]


def trained(change=None, policy="float32", jit=False, layers=3, steps=2):
    """The losses of some steps, and all weights after them."""
    stack = made(layers, dtype=policy)
    if change is not None:
        change(stack)
        randomise(stack)
    model = keras.Sequential([stack, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
    history = model.fit(X, np.ones((2, 5, 1), "float32"), epochs=steps, verbose=0, shuffle=False)
    return history.history["loss"], [np.asarray(weight) for weight in model.weights]


def randomise(stack):
    """What LoRA begins with is zero, and shows nothing."""
    rng = np.random.default_rng(1)
    for weight in stack.weights:
        if "lora" in weight.path:
            weight.assign(rng.normal(0, 0.3, weight.shape))


def assert_alike(one, other, tolerance=1e-6):
    (losses, weights), (other_losses, other_weights) = one, other
    np.testing.assert_allclose(losses, other_losses, rtol=tolerance)
    for ours, theirs in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_blocks_that_a_user_changed_train_as_they_would_alone(change, plain):
    shared = trained(change)
    assert shared[0][-1] != shared[0][0]
    plain()
    assert_alike(shared, trained(change))


@pytest.mark.parametrize(
    ("policy", "jit", "tolerance"),
    [("mixed_bfloat16", False, 1e-2), ("float32", True, 1e-5)],
    ids=["bfloat16", "xla"],
)
def test_half_precision_and_xla_train_alike(policy, jit, tolerance, plain):
    shared = trained(frozen, policy, jit)
    plain()
    assert_alike(shared, trained(frozen, policy, jit), tolerance)


def test_a_layer_of_another_precision_reads_its_weights_in_its_own():
    seen = set()

    class Precise(keras.layers.Layer):
        def build(self, shape):
            self.gain = self.add_weight(shape=(), initializer="ones", name="gain")

        def call(self, x):
            seen.add(str(self.gain.value.dtype))
            return x * self.gain

    def precise(stack):
        for block in stack.blocks:
            block._tracker.unlock()
            block.ffn_norm = Precise(dtype="float32")
            block.ffn_norm.build(X.shape)

    trained(precise, "mixed_bfloat16")
    assert seen == {"<dtype: 'float32'>"}


def test_activations_that_are_computed_again_give_the_same(plain):
    # Not mode="full": TensorFlow recomputes no call in a graph that has keywords, and Keras passes
    # `training` as one.
    with keras.RematScope(mode="activations"):
        again = trained()
    plain()
    assert_alike(again, trained())


REPLICAS = """
import json, sys
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.layers import test_shared_trace as t

alone = t.trained(t.frozen), t.trained(t.with_lora), t.trained()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    mirrored = t.trained(t.frozen), t.trained(t.with_lora), t.trained()
for one, other in zip(alone, mirrored, strict=True):
    t.assert_alike(one, other, 1e-5)
moved = [np.abs(a - b).max() for a, b in zip(mirrored[2][1], t.trained(steps=1)[1])]
print(json.dumps([float(one) for one in moved]))
"""


def test_every_block_of_every_replica_trains_with_its_own_weights():
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    moved = json.loads(done.stdout.splitlines()[-1])
    assert len(moved) > 3 * 12 and min(moved) > 0


def test_a_deeper_stack_adds_calls_and_not_the_nodes_of_a_block():
    def nodes(layers):
        graph = step_of(made(layers)).get_concrete_function(tf.TensorSpec(X.shape)).graph
        return len(graph.get_operations())

    # A block and its gradient alone have about 250; reading its weights takes one each.
    assert nodes(8) - nodes(2) < 6 * 60


def test_dropout_differs_between_blocks_and_between_steps():
    config = TransformerConfig(hidden_dim=8, num_heads=2, ffn_dim=16, dropout=0.5)
    stack = made(config=config)
    step = step_of(stack)
    first, second = float(step(X)[0]), float(step(X)[0])
    assert first != second
    draws = {int(seed.numpy()[1]) for seed in stack.non_trainable_variables}
    assert draws == {2, 4}  # a block draws once or twice a step from each of its seeds
