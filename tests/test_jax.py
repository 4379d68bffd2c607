"""The core on Keras' JAX backend gives the numbers that it gives on TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.tasks.causal_lm import CausalLM
from modelzoo.tasks.shared import stepper
from tests import small as zoo
from tests.core import assert_near, number, small, token_ids
from tests.plugin_site import ROOT

NAMES = ("llama", "gru, tied", "t5 v1.1", "bert")
IDS = token_ids(2, 4)
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32")
PROMPTS = [[3, 1, 4], [1, 5]]


def outputs() -> dict[str, np.ndarray]:
    """What each model says, compiled, as a whole and step by step."""
    on_jax = keras.backend.backend() == "jax"  # where one operation at a time compiles each
    compiled = stepper.compiled if on_jax else lambda function, model: function
    found = {}
    for name in NAMES:
        model = small(name)
        if name == "bert":
            inputs = {"token_ids": IDS, "padding_mask": MASK}
            found.update(
                {f"{name} {k}": number(v) for k, v in compiled(model, model)(inputs).items()}
            )
            continue
        inputs, context = {"token_ids": IDS, "padding_mask": MASK}, ()
        if name == "t5 v1.1":
            inputs["decoder_token_ids"] = IDS
            context = compiled(model.encode, model)(IDS, MASK), MASK
        full = compiled(lambda inputs, m=model: m.logits(m(inputs)), model)
        found[name] = number(full(inputs))
        where = np.tile(np.arange(4, dtype="int32"), (2, 1))
        step = compiled(model.step, model)
        _, cache = step(IDS[:, :3], where[:, :3], model.init_cache(2, 4), *context)
        found[f"{name} step"] = number(step(IDS[:, 3:], where[:, 3:], cache, *context)[0])
    tokens = CausalLM(small("llama")).generate_tokens(PROMPTS, max_new_tokens=3)
    return {**found, "tokens": np.array(tokens)}


def on_jax(*words: str) -> None:
    """Run this file on JAX, in a process of its own."""
    pytest.importorskip("jax")
    if keras.backend.backend() == "jax":
        pytest.skip("this whole run is on JAX")
    child = subprocess.run(
        [sys.executable, "-m", "tests.test_jax", *words],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert child.returncode == 0, child.stderr


def habits(folder: str) -> None:
    """Keras' guide, as tests/test_keras_habits.py has it for TensorFlow."""
    model = zoo.build("bert-tiny-classifier", **{"train.warmup_steps": 100})
    rows = {
        shuffle: modelzoo.dataset(model, zoo.REVIEWS, shuffle=shuffle) for shuffle in (True, False)
    }
    rates = []
    calls = [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0 if epoch == 1 else rate),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
        ),
    ]
    model.fit(rows[True], epochs=1, verbose=0, class_weight={0: 2.0})
    before = model.get_weights()
    model.optimizer.learning_rate = 0.0  # within the warm-up
    model.fit(rows[True], epochs=2, verbose=0, callbacks=calls, validation_data=rows[False])
    assert rates == [0.0, 0.0]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.optimizer.learning_rate = 1e-2
    model.fit(rows[True], epochs=1, verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    texts = modelzoo.dataset(model, [text for text, _ in zoo.REVIEWS], batch_size=3, shuffle=False)
    found = model.predict(texts, verbose=0)
    np.testing.assert_allclose(found, model.predict(rows[False], verbose=0), rtol=1e-4, atol=1e-5)
    lines = []
    lines = []
    model.summary(print_fn=lambda line, line_break=True: lines.append(line))
    assert "?" not in "".join(lines) and "(None, 32)" in "".join(lines), lines
    model.save(f"{folder}/tuned.keras")
    again = keras.saving.load_model(f"{folder}/tuned.keras")
    assert int(again.optimizer.iterations) == int(model.optimizer.iterations)


def test_habits_of_keras_hold_on_jax(tmp_path):
    on_jax("habits", str(tmp_path))


def test_the_core_gives_the_same_on_jax(tmp_path):
    path = tmp_path / "jax.npz"
    on_jax(str(path))
    wanted = outputs()
    with np.load(path) as got:
        assert set(got.files) == set(wanted)
        for name, array in wanted.items():
            assert_near(got[name].astype(np.float64), array.astype(np.float64), 1e-4)
    # A row of a step has no padding, so the last real token of both agrees with the full pass.
    for name in ("llama", "gru, tied", "t5 v1.1"):
        assert_near(wanted[f"{name} step"][0, 0], wanted[name][0, 3], 1e-4)


if __name__ == "__main__":
    if sys.argv[1] == "habits":
        habits(sys.argv[2])
    else:
        np.savez(sys.argv[1], **outputs())
