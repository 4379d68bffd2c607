"""A checkpoint's small files with values of other types, damaged, or nested without end."""

from __future__ import annotations

import json
import os

import pytest

from modelzoo.errors import WeightsError
from modelzoo.weights import open_checkpoint
from modelzoo.weights.derive import recipe_of_checkpoint
from modelzoo.weights.opening import _tensors
from modelzoo.weights.tokenizer_files import read_tokenizer_files
from tests.weights.test_tokenizer_files import END, whole

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def safetensors(path) -> None:
    header = b'{"__metadata__": {}}'.ljust(24)
    path.write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.fixture
def folder(tmp_path):
    safetensors(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": ["llama"]},
        {"model_type": {}},
        {"architectures": 3},
        {"architectures": [3]},
        {"architectures": "LlamaForCausalLM"},
        {"eos_token_id": {}},
        {"eos_token_id": [[1]]},
        {"pad_token_id": [{}]},
        {"decoder_start_token_id": "a"},
        {"text_config": []},
        {"rope_parameters": "a"},
        {"rope_theta": "é漢😀"},
        {"rope_theta": []},
        {"num_hidden_layers": "n"},
        {"hidden_size": [[]]},
        {"layer_types": 3},
        {"vocab_size": 1e400},
    ],
)
def test_a_value_of_another_type_in_config_json_is_refused_by_its_key(folder, changes):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 8, "vocab_size": 9, "max_position_embeddings": 4}
    (folder / "config.json").write_text(json.dumps({**CONFIG, **sizes, **changes}))
    with pytest.raises(WeightsError, match=next(iter(changes))):
        recipe_of_checkpoint(open_checkpoint(folder))


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "modules.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"\x87", b"3", b'"a"', b"", b"9" * 5000])
def test_a_small_file_that_cannot_be_read_is_one_error_that_names_it(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"pad_token": ["a"]},
        {"unk_token": {"content": []}},
        {"tokenizer_class": ["a"]},
        {"additional_special_tokens": [["a"]]},
        {"additional_special_tokens": 7},
        {"added_tokens_decoder": []},
        {"chat_template": ["a"]},
    ],
)
def test_a_value_of_another_type_in_tokenizer_config_is_refused_by_its_key(tmp_path, settings):
    whole(tmp_path, END)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match=next(iter(settings))):
        read_tokenizer_files(tmp_path, {})


@pytest.mark.parametrize("content", [b"\x87", b"[" * 100_000, b'{"added_tokens": [3]}'])
def test_a_damaged_tokenizer_json_is_one_error(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(WeightsError):
        read_tokenizer_files(tmp_path, {})


@pytest.mark.parametrize(
    "index",
    [
        [],
        {"weight_map": []},
        {"weight_map": {"a": 3}},
        {"weight_map": {"a": "x" * 5000}},
        {"weight_map": {"a": "../model.safetensors"}},
        {"weight_map": {"a": "below/model.safetensors"}},
        {"weight_map": {"a": "nul\0"}},
        {"weight_map": {"a": "pipe.safetensors"}},
    ],
)
def test_an_index_of_shards_names_files_of_its_folder(tmp_path, index):
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "below").mkdir()
    safetensors(tmp_path / "below" / "model.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="index"):
        _tensors(tmp_path)


@pytest.mark.parametrize("suffix", [".gguf", ".safetensors"])
def test_a_pipe_is_no_checkpoint_and_is_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(WeightsError, match="a pipe"):
        open_checkpoint(tmp_path / f"a{suffix}")
