"""Models as a user of Keras meets them: compile, fit, evaluate, predict, save, load."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import tree

import modelzoo
from tests import small
from tests.plugin_site import ROOT

FAMILIES = list(small.CHANGES)


@dataclass(frozen=True)
class Trained:
    model: keras.Model
    data: keras.utils.PyDataset
    loss: list[float]  # of each epoch
    epochs: list[int]  # that a callback of the user's saw


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keras")


@pytest.fixture(scope="module")
def trained(folder):
    """Trains a family when it is first asked for; saves it, with an input and what it gives."""

    @functools.cache
    def train(name: str) -> Trained:
        keras.utils.set_random_seed(1)
        model = small.build(name, **{"train.learning_rate": 1e-2})
        data = modelzoo.dataset(model, small.DATA[name])
        seen = []
        counter = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(epoch)
        )
        history = model.fit(data, epochs=12, verbose=0, callbacks=[counter])
        model.save(folder / f"{name}.keras")
        inputs, outputs = data[0][0], model(data[0][0], training=False)
        outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
        arrays = {f"in_{key}": value for key, value in inputs.items()}
        arrays |= {f"out_{key}": np.asarray(value) for key, value in outputs.items()}
        np.savez(folder / f"{name}.npz", **arrays)
        return Trained(model, data, history.history["loss"], seen)

    return train


@pytest.mark.parametrize("name", FAMILIES)
def test_a_built_model_is_a_compiled_keras_model_that_learns(trained, name):
    one = trained(name)
    assert isinstance(one.model, keras.Model) and one.model.compiled
    assert one.epochs == list(range(12))
    assert one.loss[-1] < 0.6 * one.loss[0], one.loss
    assert int(one.model.optimizer.iterations) == 12 * len(one.data)


@pytest.mark.parametrize("name", FAMILIES)
def test_evaluate_and_predict_take_the_same_data(trained, name):
    one = trained(name)
    one.model.run_eagerly = name != "gpt-tiny"  # one is traced; the others are faster without
    figures = one.model.evaluate(one.data, verbose=0, return_dict=True)
    assert figures["loss"] < one.loss[0]
    rows = modelzoo.dataset(one.model, small.DATA[name], batch_size=5, shuffle=False)
    targets = [tree.flatten(rows[index][1]) for index in range(len(rows))]
    predicted = tree.flatten(one.model.predict(rows, verbose=0))
    assert len(predicted) == len(targets[0])
    for array, target in zip(
        predicted, map(np.concatenate, zip(*targets, strict=True)), strict=True
    ):
        assert array.shape[: target.ndim] == target.shape
        assert array.ndim == target.ndim + 1
        assert np.isfinite(array).all()


LOAD = """
import sys
import {first}, {second}
import keras, numpy as np
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{{sys.argv[1]}}/{{name}}.keras")
    arrays = np.load(f"{{sys.argv[1]}}/{{name}}.npz")
    part = lambda key: {{k.removeprefix(key): v for k, v in arrays.items() if k.startswith(key)}}
    outputs = model(part("in_"), training=False)
    outputs = outputs if isinstance(outputs, dict) else {{"logits": outputs}}
    for key, value in part("out_").items():
        np.testing.assert_allclose(outputs[key], value, rtol=1e-5, atol=1e-5)
    print(name, model.compiled, int(model.optimizer.iterations))
"""


@pytest.mark.parametrize(
    ("order", "names"), [(("modelzoo", "keras"), FAMILIES), (("keras", "modelzoo"), FAMILIES[:1])]
)
def test_importing_modelzoo_is_enough_for_load_model(trained, folder, order, names):
    steps = {name: int(trained(name).model.optimizer.iterations) for name in names}
    code = LOAD.format(first=order[0], second=order[1])
    command = [sys.executable, "-c", code, str(folder), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} True {steps[name]}" for name in names]


def test_class_weights_of_fit_are_those_of_keras():
    """On our batches as on arrays, where Keras itself weighs."""
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 32, "vocab_size": 600}
    options = {"task_options.labels": ["neg", "pos"], "task_options.dropout": 0.0, "dropout": 0.0}
    model = modelzoo.build("bert-tiny-classifier", **sizes, **options, max_length=16)
    data = modelzoo.dataset(model, [("good", "pos")] * 3 + [("bad", "neg")], batch_size=4, length=8)
    model.run_eagerly, (x, y, _) = True, data[0]
    start, weights = model.get_weights(), {0: 9.0, 1: 1.0}
    losses = []
    for fit in (
        lambda: model.fit(x, y, batch_size=4, shuffle=False, class_weight=weights, verbose=0),
        lambda: model.fit(data, class_weight=weights, verbose=0),
        lambda: model.fit(data, class_weight={"neg": 9.0}, verbose=0),
        lambda: model.fit(data, verbose=0),
    ):
        model.set_weights(start)
        losses.append(fit().history["loss"][0])
    assert losses[1:3] == pytest.approx([losses[0]] * 2, rel=1e-5)
    assert losses[3] != pytest.approx(losses[0], rel=1e-5)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small.build()
    finally:
        keras.config.set_dtype_policy(before)
    data = modelzoo.dataset(model, small.TEXTS)
    model.run_eagerly = True  # faster for so few steps
    history = model.fit(data, epochs=3, verbose=0)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model(data[0][0]["token_ids"]).dtype == "bfloat16"
    assert history.history["loss"][-1] < history.history["loss"][0]
    model.save(tmp_path / "mixed.keras")
    again = keras.saving.load_model(tmp_path / "mixed.keras")
    assert again.dtype_policy.name == again.backbone.dtype_policy.name == "mixed_bfloat16"


class Windows(keras.utils.PyDataset):
    """What a user might write herself: token ids alone, no mask, no weights."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        ids = (np.arange(17)[None] + np.arange(4)[:, None] + index) % 10
        return ids[:, :-1].astype("int32"), ids[:, 1:].astype("int32")


def test_a_users_own_compile_data_and_several_steps_at_once():
    model = small.build()
    model.compile(
        optimizer=keras.optimizers.Adam(1e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=2,
    )
    history = model.fit(Windows(), epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    windows = Windows()
    x, y = (np.concatenate(part) for part in zip(*(windows[i] for i in range(4)), strict=True))
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4).repeat(2)
    history = model.fit(data, epochs=2, shuffle=False, verbose=0).history
    assert history["accuracy"][-1] > 0.8
    assert int(model.optimizer.iterations) == 8 * 4 + 2 * 8


def test_a_tf_dataset_of_texts_gives_the_batches_of_the_same_list():
    model = small.with_tokenizer()
    ours = modelzoo.dataset(model, small.TEXTS, seed=3)
    theirs = modelzoo.dataset(model, tf.data.Dataset.from_tensor_slices(small.TEXTS), seed=3)
    assert len(ours) == len(theirs)
    for a, b in zip(tree.flatten(ours[1]), tree.flatten(theirs[1]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_builds_with_one_seed_are_equal_and_with_another_are_not():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return small.build("bert-tiny").get_weights()

    first, same, other = weights(5), weights(5), weights(6)
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
