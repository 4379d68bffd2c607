"""A batch in chunks has the loss and the gradients of the whole batch, on TensorFlow and JAX."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo.errors import ModelzooError
from modelzoo.tasks.shared.cached_gradients import jax_loss, tensorflow_gradients
from tests import towers
from tests.plugin_site import ROOT

ON_JAX = keras.backend.backend() == "jax"
KINDS = ("image", "text", "audio")


def gradients(model, x, y, weight, chunked: bool):
    """(loss, gradient of each trainable weight) of a batch, training."""
    if ON_JAX:
        import jax

        model.compile("sgd")
        trainable = [v.value for v in model.trainable_variables]
        rest = [v.value for v in model.non_trainable_variables]

        def of(trainable):
            if chunked:
                return jax_loss(model, trainable, rest, x, y, weight)[0]
            return towers.loss_on_jax(model, trainable, rest, x, y, weight)

        loss, found = jax.value_and_grad(of)(trainable)
    else:
        import tensorflow as tf

        x = {key: tf.constant(value) for key, value in x.items()}
        if chunked:
            loss, found = tf.function(lambda: tensorflow_gradients(model, x, y, weight))()
        else:
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x, y, model(x, training=True), weight)
            found = tape.gradient(loss, model.trainable_weights)
            found = [tf.convert_to_tensor(g) for g in found]
    return float(loss), [np.asarray(ops.convert_to_numpy(g)) for g in found]


def differences(**options) -> tuple[float, float, float]:
    """Loss of the whole, loss in chunks, and the largest relative distance of their gradients."""
    x, y, weight = towers.batch(kinds=KINDS)
    y["text"][3], weight[5] = y["text"][0], 0.0
    whole, wanted = gradients(towers.model(KINDS, **options), x, y, weight, False)
    chunked, found = gradients(towers.model(KINDS, chunk_size=2, **options), x, y, weight, True)
    assert len(wanted) == len(found)
    distance = max(
        float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-6))
        for a, b in zip(wanted, found, strict=True)
    )
    return whole, chunked, distance


def reproducible() -> bool:
    """Whether dropout falls the same in both passes: else a step's gradients are of no loss."""
    x, y, weight = towers.batch(kinds=KINDS)
    model = towers.model(KINDS, dropout=0.3, chunk_size=2)
    loss, found = gradients(model, x, y, weight, True)
    # Along the gradient the loss of the same dice falls as the gradient says.
    again = towers.model(KINDS, dropout=0.3, chunk_size=2)
    step = 1e-3 / np.sqrt(sum((g**2).sum() for g in found))
    for variable, gradient in zip(again.trainable_weights, found, strict=True):
        variable.assign(variable - step * gradient)
    later, _ = gradients(again, x, y, weight, True)
    expected = step * sum((g**2).sum() for g in found)
    return abs((loss - later) / expected - 1) < 0.05


def check() -> None:
    for options in ({}, {"loss": "sigmoid"}):
        whole, chunked, distance = differences(**options)
        assert chunked == pytest.approx(whole, 1e-5)
        assert distance < 2e-5
    assert reproducible()


def test_chunks_give_the_gradients_of_the_whole_batch():
    check()


@pytest.mark.slow
def test_chunks_give_the_gradients_of_the_whole_batch_on_jax():
    pytest.importorskip("jax")
    if ON_JAX:
        pytest.skip("this whole run is on JAX")
    child = subprocess.run(
        [sys.executable, "-c", "from tests.tasks import test_cached_gradients as t; t.check()"],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert child.returncode == 0, child.stderr[-3000:]


def test_fit_in_chunks_ends_where_fit_of_whole_batches_ends():
    ends = []
    for chunk_size in (None, 4):
        model = towers.model(chunk_size=chunk_size)
        model.compile(keras.optimizers.SGD(0.1))
        x, y, weight = towers.batch()
        history = model.fit(x, y, sample_weight=weight, batch_size=8, epochs=3, verbose=0)
        ends.append((history.history["loss"], [np.asarray(v) for v in model.weights]))
    assert ends[0][0] == pytest.approx(ends[1][0], 1e-5)
    assert ends[0][0][-1] < ends[0][0][0]
    for whole, chunked in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_allclose(whole, chunked, atol=1e-5)


def test_a_batch_that_does_not_divide_into_chunks_is_refused():
    model = towers.model(chunk_size=3)
    model.compile("sgd")
    x, y, weight = towers.batch()
    with pytest.raises(ModelzooError, match="8 rows does not divide into chunks of 3"):
        model.train_on_batch(x, y, weight)
