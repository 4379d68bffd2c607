"""Models that no memory holds, and model files that are not what they state."""

from __future__ import annotations

import json
import threading
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.building import memory
from modelzoo.building.memory import unbounded, within_memory
from modelzoo.building.model_file import check_model_file
from modelzoo.errors import ModelDirectoryError, RecipeError
from tests import small


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": -1},
        {"num_layers": 10**6},
        {"hidden_dim": -128},
        {"hidden_dim": 0},
        {"vocab_size": -1},
        {"num_heads": 0},
        {"max_length": 2**40},
        {"dropout": 1.5},
        {"norm_epsilon": -1.0},
        {"dropout": float("nan")},
    ],
)
def test_a_number_out_of_its_range_is_refused_by_its_key(changes):
    (key,) = changes
    with pytest.raises(RecipeError, match=f"model.{key} must be"):
        small.build(**changes)


@pytest.mark.parametrize("changes", [{"hidden_dim": 2**26}, {"vocab_size": 2**30}])
def test_weights_that_the_machine_does_not_hold_are_refused_with_an_estimate(changes):
    started = time.monotonic()
    with pytest.raises(RecipeError, match=r"needs [\d,.]+ GB of memory for its weights"):
        small.build(**changes)
    assert time.monotonic() - started < 20


def test_what_keras_refuses_is_a_recipe_error(monkeypatch):
    def broken(*args, **kwargs):
        raise ValueError("Received an invalid value for `units`")

    monkeypatch.setattr("modelzoo.building.build.task_of", broken)
    with pytest.raises(
        RecipeError, match="gpt-tiny cannot be built: Received an invalid"
    ) as caught:
        small.build()
    assert isinstance(caught.value.__cause__, ValueError)


def test_weights_are_counted_for_the_thread_that_makes_them(monkeypatch):
    monkeypatch.setattr(memory, "machine_bytes", lambda: 100)
    original = keras.layers.Layer.add_weight
    elsewhere: list = []

    def build() -> None:
        try:
            elsewhere.append(keras.layers.Dense(50).build((None, 50)))
        except Exception as error:
            elsewhere.append(error)

    with within_memory("a model", RecipeError):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
        keras.layers.Dense(2).build((None, 3))  # 32 bytes
        with pytest.raises(RecipeError, match="a model needs"):
            keras.layers.Dense(50).build((None, 50))
    with unbounded(), within_memory("a model", RecipeError):
        keras.layers.Dense(50).build((None, 50))
    assert elsewhere == [None]
    assert keras.layers.Layer.add_weight is original


# === model.keras ===


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    model = small.build()
    return modelzoo.save(model, tmp_path_factory.mktemp("model") / "m")


def members(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, content: dict[str, bytes], compression=zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, raw in content.items():
            archive.writestr(name, raw)


def test_a_sound_file_passes_and_a_compressed_one_too(whole, tmp_path):
    check_model_file(whole / "model.keras")
    write(tmp_path / "z.keras", members(whole / "model.keras"), zipfile.ZIP_DEFLATED)
    check_model_file(tmp_path / "z.keras")


def weights(path, **how) -> bytes:
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/a/vars/0", (800_000_000,), "f4", **how)
    return path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda raw, tmp: raw[: len(raw) // 2],
        lambda raw, tmp: b"hello",
        lambda raw, tmp: b"",
    ],
)
def test_a_cut_archive_is_told_as_damaged(whole, tmp_path, change):
    folder = copied(whole, tmp_path)
    raw = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(change(raw, tmp_path))
    with pytest.raises(ModelDirectoryError, match="model.keras is damaged"):
        modelzoo.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"config.json": b"[" * 100_000},
        {"config.json": b"[]"},
        {"config.json": b'{"class_name": 1.5}'},
        {"config.json": b"\xff"},
        {"model.weights.h5": b"\x89HDF\r\n\x1a\nhello"},
        {"model.weights.h5": b""},
    ],
)
def test_a_damaged_member_is_one_error(whole, tmp_path, change):
    folder = copied(whole, tmp_path)
    write(folder / "model.keras", {**members(whole / "model.keras"), **change})
    with pytest.raises(ModelDirectoryError):
        modelzoo.load(folder)


def test_a_configuration_that_cannot_be_compiled_names_its_directory(whole, tmp_path):
    folder, content = copied(whole, tmp_path), members(whole / "model.keras")
    config = json.loads(content["config.json"])
    config["config"]["dtype"] = {"module": "os", "class_name": "mkdir", "config": {"path": "x"}}
    write(folder / "model.keras", content | {"config.json": json.dumps(config).encode()})
    with pytest.raises(ModelDirectoryError, match="no model that can be compiled") as caught:
        modelzoo.load(folder)
    assert caught.value.where == str(folder)


@pytest.mark.parametrize("how", [{}, {"chunks": (1000,)}, {"chunks": (1000,), "fillvalue": 1.0}])
def test_arrays_that_state_more_than_there_is_are_not_made(whole, tmp_path, how):
    content = members(whole / "model.keras")
    content["model.weights.h5"] = weights(tmp_path / "w.h5", **how)
    write(tmp_path / "bomb.keras", content)
    with pytest.raises(ModelDirectoryError, match="its weights state 3,200,000,000 bytes"):
        check_model_file(tmp_path / "bomb.keras")


def test_an_archive_that_unpacks_to_far_more_is_not_unpacked(whole, tmp_path):
    content = {**members(whole / "model.keras"), "more": bytes(50 << 20)}
    write(tmp_path / "bomb.keras", content, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelDirectoryError, match="its parts state"):
        check_model_file(tmp_path / "bomb.keras")


def test_a_configuration_of_a_larger_model_is_refused_before_its_weights_are_made(whole, tmp_path):
    folder = copied(whole, tmp_path)
    content = members(whole / "model.keras")
    config = content["config.json"].decode()
    assert '"vocab_size": 300' in config
    content["config.json"] = config.replace('"vocab_size": 300', f'"vocab_size": {2**30}').encode()
    write(folder / "model.keras", content)
    with pytest.raises(ModelDirectoryError, match="GB of memory"):
        modelzoo.load(folder)


def copied(whole, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in whole.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


# === A training under way ===


@pytest.mark.parametrize("content", [b"[]", b"[" * 100_000, b"\xf4", b'{"a" 1}', b"null", b""])
def test_settings_of_a_run_that_are_damaged_are_one_error(tmp_path, content):
    from modelzoo.training.run_folder import RunFolder

    run = RunFolder(tmp_path)
    run.settings.write_bytes(content)
    run.checkpoint.write_bytes(b"x")
    with pytest.raises(ModelDirectoryError, match="run.json") as caught:
        run.holds({"recipe": "a"})
    assert "--restart" in caught.value.next_step


@pytest.mark.parametrize(
    "state",
    [
        [],
        {"done": "a"},
        {"done": True},
        {"figures": 3},
        {"figures": {"loss": "a"}},
        {"best": None},
        {"waited": []},
    ],
)
def test_a_state_of_other_types_is_one_error(tmp_path, state):
    from modelzoo.training.checkpoint import read_state

    path = tmp_path / "c.npz"
    np.savez(path, **{"state.json": np.frombuffer(json.dumps(state).encode(), np.uint8)})
    with pytest.raises(ModelDirectoryError) as caught:
        read_state(path)
    assert caught.value.where == str(path) and "--restart" in caught.value.next_step
