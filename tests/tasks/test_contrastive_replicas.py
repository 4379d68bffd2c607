"""Loss and gradients on 2 and 4 devices equal those of one device with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import ops

from tests import towers
from tests.plugin_site import ROOT

pytestmark = pytest.mark.slow

KINDS = ("image", "text", "audio")


def data():
    """A batch with two equal captions on different devices, and a missing sound."""
    x, y, weight = towers.batch(kinds=KINDS)
    y["text"][6], y["audio"][2] = y["text"][1], -1
    return x, y, weight


def near(wanted, found) -> None:
    assert len(wanted) == len(found) > 10
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6 + 2e-5 * np.abs(a).max())


# === JAX: `shard_map` over simulated devices ===


def check_jax() -> None:
    import jax
    from jax.sharding import Mesh, PartitionSpec

    from modelzoo.layers.backend.replicas import replicas

    x, y, weight = data()
    for loss in ("softmax", "sigmoid"):
        model = towers.model(KINDS, loss=loss)
        model.compile("sgd")
        rest = [v.value for v in model.non_trainable_variables]
        start = [v.value for v in model.trainable_variables]

        def of(trainable, x, y, weight, model=model, rest=rest):
            return towers.loss_on_jax(model, trainable, rest, x, y, weight)

        wanted, at_weights = jax.value_and_grad(of)(start, x, y, weight)
        for devices in (2, 4):
            mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))

            def shard(trainable, x, y, weight, of=of):
                trainable = jax.lax.pcast(trainable, "data", to="varying")
                with replicas("data"):
                    loss, found = jax.value_and_grad(of)(trainable, x, y, weight)
                return jax.lax.psum(loss, "data"), jax.lax.psum(found, "data")

            rows, every = PartitionSpec("data"), PartitionSpec()
            spread = jax.jit(
                jax.shard_map(
                    shard, mesh=mesh, in_specs=(every, rows, rows, rows), out_specs=(every, every)
                )
            )
            loss, found = spread(start, x, y, weight)
            assert float(loss) == pytest.approx(float(wanted), 1e-5)
            near([np.asarray(g) for g in at_weights], [np.asarray(g) for g in found])
    check_jax_fit()


def check_jax_fit() -> None:
    """`fit` under Keras' own data parallelism, whole and in chunks."""
    import jax

    ends = []
    for devices, chunk_size in ((1, None), (4, None), (4, 4)):
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=jax.devices()[:devices])
        )
        model = towers.model(KINDS, chunk_size=chunk_size)
        model.compile(keras.optimizers.SGD(0.1))
        x, y, weight = data()
        model.fit(x, y, sample_weight=weight, batch_size=8, epochs=2, verbose=0)
        ends.append([np.asarray(ops.convert_to_numpy(v)) for v in model.weights])
    near(ends[0], ends[1])
    near(ends[0], ends[2])


def test_shards_on_jax_equal_the_whole_batch():
    pytest.importorskip("jax")
    _child("check_jax()", "jax")


# === TensorFlow: a mirrored strategy over logical devices ===


def check_tensorflow(devices: int) -> None:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    x, y, weight = data()
    rows = tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(8)
    # One strategy: two of them would give their collectives the same names.
    strategy = tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(devices)])
    for loss, chunk_size in (("softmax", None), ("sigmoid", 2)):
        ends = []
        for scope in (nullcontext(), strategy.scope()):
            with scope:
                model = towers.model(KINDS, loss=loss, chunk_size=chunk_size)
                model.compile(keras.optimizers.SGD(1.0))
            history = model.fit(rows, epochs=2, verbose=0)
            ends.append((history.history["loss"], [np.asarray(v) for v in model.weights]))
        assert ends[1][0] == pytest.approx(ends[0][0], 1e-5)
        near(ends[0][1], ends[1][1])


@pytest.mark.parametrize("devices", [2, 4])
def test_replicas_on_tensorflow_equal_the_whole_batch(devices):
    pytest.importorskip("tensorflow")
    _child(f"check_tensorflow({devices})", "tensorflow")


def _child(call: str, backend: str) -> None:
    code = f"from tests.tasks import test_contrastive_replicas as t; t.{call}"
    child = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
            "CUDA_VISIBLE_DEVICES": "-1",
        },
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert child.returncode == 0, child.stderr[-3000:]
