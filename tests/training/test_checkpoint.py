"""A checkpoint is whole or not there, and gives back every bit."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.errors import ModelDirectoryError, OutputError
from modelzoo.training.checkpoint import load_checkpoint, read_state, save_checkpoint
from modelzoo.training.run_folder import RunFolder
from tests import small


def variables(model) -> list[np.ndarray]:
    return [v.numpy().copy() for v in (*model.variables, *model.optimizer.variables)]


@pytest.fixture(scope="module")
def trained():
    model = small.build(dropout=0.1)
    data = modelzoo.dataset(model, small.TEXTS)
    model.run_eagerly = True
    model.train_on_batch(*data[0])
    return model


def test_weights_optimizer_and_random_state_come_back_bit_by_bit(trained, tmp_path):
    save_checkpoint(tmp_path / "c.npz", trained, {"done": 3, "best": float("inf")})
    fresh = small.build(dropout=0.1)
    assert load_checkpoint(tmp_path / "c.npz", fresh) == {"done": 3, "best": float("inf")}
    assert read_state(tmp_path / "c.npz")["done"] == 3
    assert any("seed" in variable.path for variable in fresh.variables)
    for a, b in zip(variables(trained), variables(fresh), strict=True):
        np.testing.assert_array_equal(a, b)
    assert small.listing(tmp_path) == ["c.npz"]


def test_bfloat16_comes_back_too(tmp_path):
    model = keras.Sequential([keras.layers.Dense(2, dtype="bfloat16")])
    model.build((None, 3))
    model.compile(optimizer="sgd", loss="mse")
    before = variables(model)
    save_checkpoint(tmp_path / "c.npz", model, {})
    model.layers[0].kernel.assign(np.zeros((3, 2)))
    load_checkpoint(tmp_path / "c.npz", model)
    for a, b in zip(before, variables(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_that_does_not_fit_leaves_the_one_before(trained, tmp_path):
    save_checkpoint(tmp_path / "c.npz", trained, {"done": 1})
    with small.files_of_at_most(10_000), pytest.raises(OutputError, match="cannot write the check"):
        save_checkpoint(tmp_path / "c.npz", trained, {"done": 2})
    assert read_state(tmp_path / "c.npz") == {"done": 1}
    assert small.listing(tmp_path) == ["c.npz"]


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_one_is_refused(trained, tmp_path, damage):
    path = tmp_path / "c.npz"
    save_checkpoint(path, trained, {})
    data = bytearray(path.read_bytes())
    data[5000] ^= 255
    path.write_bytes({"cut": data[:5000], "flip": data, "text": b"hello"}[damage])
    with pytest.raises(ModelDirectoryError, match="cannot be read") as caught:
        load_checkpoint(path, trained)
    assert "--restart" in caught.value.next_step


def test_one_of_another_model_is_refused(trained, tmp_path):
    save_checkpoint(tmp_path / "c.npz", trained, {})
    with pytest.raises(ModelDirectoryError, match="of another model"):
        load_checkpoint(tmp_path / "c.npz", small.build(num_layers=2))
    with pytest.raises(ModelDirectoryError, match="cannot be read"):
        load_checkpoint(tmp_path / "c.npz", small.build(dropout=0.1, hidden_dim=16))


def test_what_a_kill_left_unfinished_is_swept_and_nothing_else(tmp_path):
    run = RunFolder(tmp_path)
    for name in (".checkpoint.npz.123.tmp", ".best.npz.9.tmp", "checkpoint.npz", ".mine.tmp"):
        (tmp_path / name).write_text("x")
    run.sweep()
    assert small.listing(tmp_path) == [".mine.tmp", "checkpoint.npz"]
