"""A checkpoint that is damaged, incomplete or of something else: one message, and no half model."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import modelzoo
from modelzoo import cli
from modelzoo.errors import WeightsError
from modelzoo.weights import is_source, open_checkpoint, write_checkpoint
from tests.weights.test_tables import made


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_checkpoint(made("llama"), tmp_path / "checkpoint")


def refused(source, message: str) -> WeightsError:
    with pytest.raises(WeightsError, match=message) as caught:
        modelzoo.build(source, compile=False)
    assert "Traceback" not in str(caught.value)
    return caught.value


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


def edit_tensors(folder: Path, edit) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_file_that_is_cut_off_is_refused_by_name(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "fetch it again" in str(refused(folder, "model.safetensors cannot be read"))


def test_a_header_that_lies_about_lengths_is_refused(folder):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    name = next(key for key in header if key != "__metadata__")
    header[name]["data_offsets"][1] += 4
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    refused(folder, "model.safetensors cannot be read")
    path.write_bytes(struct.pack("<Q", 2**62) + data[8:])
    refused(folder, "model.safetensors cannot be read")


def test_missing_tensors_are_all_named(folder):
    gone = ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"]
    edit_tensors(folder, lambda tensors: [tensors.pop(name) for name in gone])
    error = refused(folder, "it lacks 2 tensors")
    assert all(name in str(error) for name in gone)


def test_an_unexpected_tensor_is_named_beside_the_one_it_may_be(folder):
    def rename(tensors):
        tensors["model.layers.1.mlp.up_porj.weight"] = tensors.pop(
            "model.layers.1.mlp.up_proj.weight"
        )

    edit_tensors(folder, rename)
    error = refused(folder, "it has no place for 1 tensor: model.layers.1.mlp.up_porj.weight")
    assert error.did_you_mean == "model.layers.1.mlp.up_porj.weight"


def test_layers_that_the_configuration_does_not_have_are_not_passed_over(folder):
    edit_config(folder, num_hidden_layers=1)
    refused(folder, r"it has no place for 9 tensors: model\.layers\.1\.")


def test_biases_that_the_configuration_denies_are_not_passed_over(folder):
    def add(tensors):
        tensors["model.layers.0.self_attn.q_proj.bias"] = np.ones(16, "float32")

    edit_tensors(folder, add)
    refused(folder, "it has no place for 1 tensor: model.layers.0.self_attn.q_proj.bias")


def test_wrong_shapes_are_all_named_and_no_weight_has_changed(folder):
    def cut(tensors):
        tensors["model.norm.weight"] = tensors["model.norm.weight"][:3]

    edit_tensors(folder, cut)
    refused(folder, r"1 tensor do not fit: model\.norm\.weight is \(3,\) there and \(16,\) here")


def test_a_number_format_that_is_not_supported_is_named(folder):
    def change(tensors):
        tensors["model.norm.weight"] = np.zeros(16, "int64")

    edit_tensors(folder, change)
    refused(folder, "model.norm.weight holds int64")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu_nwe"}, "hidden_act 'gelu_nwe' is not supported"),
        ({"model_type": "mamba"}, "'mamba' has no table here; the nearest is llama, which reads"),
        ({"model_type": ...}, "says what these weights belong to"),
        ({"architectures": ["LlamaForTokenClassification"]}, "no counterpart here"),
        ({"num_hidden_layers": ...}, "config.json has no 'num_hidden_layers'"),
        ({"rope_parameters": {"rope_type": "yran"}}, "'yran' are not supported"),
    ],
)
def test_a_configuration_that_has_no_counterpart_says_which_key(folder, changes, message):
    edit_config(folder, **changes)
    refused(folder, message)


def test_a_tied_head_that_differs_from_the_table_is_not_dropped(folder):
    def untie(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1

    edit_tensors(folder, untie)
    refused(folder, "lm_head.weight is not the same as model.embed_tokens.weight")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_nothing_is_unpickled(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    assert "save_pretrained" in str(refused(folder, f"{name} is a pickle"))
    refused(folder / name, f"{name} is a pickle")


def test_an_index_that_names_a_missing_shard_or_tensor_is_refused(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"weight_map": shards}))
    refused(folder, "names model-00002-of-00002.safetensors, which is not there")
    index.write_text(json.dumps({"weight_map": {"a": shards["a"]}}))
    refused(folder, "does not hold a, as the index says")
    index.write_text('{"weight_map": {"a": "../x.safetensors"}}')
    refused(folder, "which is not there")
    index.write_text("{")
    refused(folder, "cannot be read")


def test_two_files_and_no_index_ask_which(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "b.safetensors").write_bytes(data)
    assert "name the file" in str(refused(folder, "2 .safetensors files"))
    modelzoo.build(folder / "a.safetensors", compile=False)


def test_a_file_alone_goes_with_a_recipe_and_not_without(folder, tmp_path):
    path = tmp_path / "alone" / "weights.safetensors"
    path.parent.mkdir()
    (folder / "model.safetensors").rename(path)
    refused(path, "no config.json with a model_type")
    from tests.weights.test_tables import MODELS

    name, changes = MODELS["llama"]
    modelzoo.build(name, weights=path, compile=False, **changes)
    with pytest.raises(WeightsError, match="it lacks"):
        modelzoo.build("gpt-tiny", weights=path, compile=False)


def test_no_such_checkpoint(tmp_path):
    refused(tmp_path / "nothing.safetensors", "no such checkpoint")
    assert not is_source(tmp_path) and not is_source("gpt-small")
    with pytest.raises(WeightsError, match="no .safetensors file"):
        open_checkpoint(tmp_path)


def test_the_command_line_tells_it_in_one_message_and_writes_nothing(folder, tmp_path, capsys):
    edit_tensors(folder, lambda tensors: tensors.pop("model.norm.weight"))
    assert cli.main(["build", str(folder), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "it lacks 1 tensor: model.norm.weight" in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_build_and_weights_are_commands_and_each_others_inverse(folder, tmp_path, capsys):
    out, back = tmp_path / "model", tmp_path / "back"
    assert cli.main(["build", str(folder), "-o", str(out)]) == 0
    assert cli.main(["weights", str(out), "-o", str(back)]) == 0
    assert (back / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert cli.main(["weights", str(out), "-o", str(back)]) == 2
    assert "exists" in capsys.readouterr().err
    assert cli.main(["weights", str(out), "-o", str(back), "--force"]) == 0
