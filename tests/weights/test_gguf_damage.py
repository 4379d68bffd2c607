"""GGUF files that cannot be read: one message each, which says where and what next."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

from modelzoo.errors import WeightsError  # noqa: E402
from modelzoo.weights.gguf.file import quantizations, read_file  # noqa: E402
from modelzoo.weights.gguf.opening import open_gguf  # noqa: E402
from tests.weights.small_gguf import BPE, TOKENS, VOCAB, WIDTH, tensors, write  # noqa: E402


def refused(path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        open_gguf(path)
    error = caught.value
    assert str(path) in str(error) and error.next_step, str(error)
    return error


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return write(tmp_path_factory.mktemp("gguf") / "m.gguf").read_bytes()


@pytest.fixture
def damaged(tmp_path, whole):
    """Writes a file with other bytes, and gives the error that it makes."""

    def make(data: bytes) -> WeightsError:
        path = tmp_path / "damaged.gguf"
        path.write_bytes(data)
        return refused(path)

    return make


# === The file ===


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1", "not a GGUF file"),
        (b"GG", "not a GGUF file"),
        (b"GGUF\x03", "ends after 'GGUF'"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(64), "version 1"),
        (b"GGUF" + struct.pack("<I", 4) + bytes(64), "version 4"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(64), "big-endian"),
    ],
)
def test_what_is_no_gguf_file_of_a_known_version_says_so(data, what, damaged):
    assert what in damaged(data).what


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "cannot read" in refused(tmp_path / "none.gguf").what
    assert "cannot read" in refused(tmp_path).what


def test_a_file_cut_off_anywhere_in_its_header_says_so(whole, damaged):
    header = whole.index(b"blk.1.ffn_down.weight")
    for end in range(8, header, 61):
        error = damaged(whole[:end])
        assert "the file ends inside its header" in error.what and "byte" in error.where


def test_a_file_cut_off_in_its_data_names_the_first_tensor_that_suffers(whole, damaged):
    error = damaged(whole[:-100])
    assert "1 of" in error.what and "cut off" in error.what
    error = damaged(whole[: len(whole) // 2])
    assert "cut off" in error.what and "blk." in error.where


def test_lengths_that_lie_are_refused_at_once(whole, damaged):
    for count in (b"\xff" * 8, struct.pack("<Q", 1 << 40)):
        assert "ends inside its header" in damaged(whole[:8] + count + whole[16:]).what
        assert "ends inside its header" in damaged(whole[:16] + count + whole[24:]).what
    at = whole.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 8
    lying = whole[:at] + struct.pack("<Q", 1 << 60) + whole[at + 8 :]
    assert "the list tokenizer.ggml.tokens" in damaged(lying).what


def test_a_tensor_that_reaches_past_the_end_is_named(whole, damaged):
    name = b"blk.1.ffn_down.weight"
    offset = whole.index(name) + len(name) + 4 + 2 * 8 + 4
    error = damaged(whole[:offset] + struct.pack("<Q", 1 << 40) + whole[offset + 8 :])
    assert "cut off" in error.what and name.decode() in error.where


def test_damage_in_the_header_is_found(whole, damaged):
    name = b"blk.1.ffn_down.weight"
    start = whole.index(name) + len(name)
    many = whole[:start] + struct.pack("<I", 9) + whole[start + 4 :]
    assert "has 9 dimensions" in damaged(many).what
    none = whole[: start + 4] + bytes(8) + whole[start + 12 :]
    assert "has no values" in damaged(none).what
    assert "not UTF-8" in damaged(whole.replace(b"llama.block_count", b"llama.block_coun\xff")).what
    twice = whole.replace(b"blk.1.ffn_gate.weight", b"blk.0.ffn_gate.weight")
    assert "blk.0.ffn_gate.weight stands there twice" in damaged(twice).what
    same = whole.replace(b"llama.attention.key_length", b"llama.attention.head_count")
    assert same != whole and "twice" in damaged(same).what
    at = whole.index(b"llama.block_count") + len(b"llama.block_count")
    assert "of type 77" in damaged(whole[:at] + struct.pack("<I", 77) + whole[at + 4 :]).what


def test_no_flipped_byte_of_the_header_is_a_traceback(whole, tmp_path):
    rng = np.random.default_rng(0)
    end = whole.index(b"blk.1.ffn_down.weight") + 60
    path = tmp_path / "flipped.gguf"
    for at in rng.integers(0, end, 300):
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            for tensor in open_gguf(path).tensors.values():
                assert tensor.read().shape == tensor.shape
        except WeightsError as error:
            assert str(path) in str(error) and error.next_step, at


# === What it holds ===


@pytest.mark.parametrize(
    "kind", [k.name for k in gguf.GGMLQuantizationType if k.name not in quantizations()]
)
def test_a_type_that_gguf_names_and_cannot_dequantize_is_refused(kind, tmp_path):
    name = "blk.0.ffn_up.weight"
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    values = tensors("llama") | {name: np.zeros((2, 256 // block * size), np.uint8)}
    error = refused(write(tmp_path / "m.gguf", values=values, kinds={name: kind}))
    assert f"the quantization {kind} is" in error.what and "Q4_K" in error.what
    assert name in error.where and "1 of" in error.where


@pytest.mark.parametrize("kind", quantizations())
def test_a_file_that_ends_in_a_tensor_of_any_quantization_is_refused(kind, tmp_path):
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    name = "blk.1.ffn_down.weight"
    values = {name: np.zeros((WIDTH, 256 // block * size), np.uint8)}
    path = write(tmp_path / "m.gguf", values=tensors("llama") | values, kinds={name: kind})
    stored = read_file(path).tensors[name]
    path.write_bytes(path.read_bytes()[: stored.start + stored.size - 1])
    error = refused(path)
    assert "cut off" in error.what and name in error.where


def test_a_quantization_without_a_name_is_refused_too(whole, damaged):
    name = b"blk.1.ffn_down.weight"
    at = whole.index(name) + len(name) + 4 + 2 * 8
    error = damaged(whole[:at] + struct.pack("<I", 999) + whole[at + 4 :])
    assert "number 999" in error.what


def test_rows_that_are_no_whole_blocks_are_refused(whole, damaged):
    name = b"blk.1.attn_q.weight"
    start = whole.index(name) + len(name)
    kind = struct.pack("<I", 12)  # Q4_K, in rows of 64
    error = damaged(whole[: start + 20] + kind + whole[start + 24 :])
    assert "blk.1.attn_q.weight" in error.what and "256" in error.what and "Q4_K" in error.what


def test_an_unknown_architecture_is_refused_with_those_that_are_known(tmp_path):
    error = refused(write(tmp_path / "m.gguf", "mamba", tensors("llama")))
    assert "'mamba'" in error.what and "gemma3, gpt2, llama, qwen2, qwen3" in error.what


@pytest.mark.parametrize("key", ["general.architecture", "llama.block_count"])
def test_a_missing_key_is_named(key, whole, damaged):
    assert key in damaged(whole.replace(key.encode(), key.encode()[:-1] + b"_")).what


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"llama.block_count": "two"}, "llama.block_count is 'two'"),
        ({"llama.block_count": 0}, "at least 1"),
        ({"llama.attention.head_count_kv": [2, 2]}, r"\[2, 2\]; one int was expected"),
        ({"llama.expert_count": 8}, "mixtures of experts"),
        ({"llama.rope.dimension_count": 8}, "whole heads of 16"),
        ({"llama.attention.value_length": 8}, "keys have the length 16"),
        ({"llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 2.0}, "longrope"),
        ({"llama.attention.head_count": 3}, "not 3 heads"),
        ({"split.count": 3}, "one of 3 files"),
        ({"general.alignment": 33}, "not a power of two"),
    ],
)
def test_metadata_that_cannot_be_followed_are_refused(keys, what, tmp_path):
    path = tmp_path / "m.gguf"
    if "general.alignment" in keys:  # the writer itself knows better
        path.write_bytes(_with_alignment(write(path).read_bytes(), 33))
    else:
        write(path, keys=keys)
    assert re.search(what, refused(path).what)


def _with_alignment(data: bytes, alignment: int) -> bytes:
    old, new = b"llama.context_length", b"general.alignment"
    start = data.index(old) - 8
    value = struct.pack("<Q", len(new)) + new + struct.pack("<II", 4, alignment)
    return data[:start] + value + data[start + 8 + len(old) + 8 :]


def test_tensors_that_the_model_does_not_have_are_named(tmp_path):
    values = tensors("llama") | {"blk.0.ffn_gate_exps.weight": np.ones((4, WIDTH), "float32")}
    error = refused(write(tmp_path / "m.gguf", "llama", values))
    assert "blk.0.ffn_gate_exps.weight" in error.what


def test_a_file_without_embeddings_says_so(tmp_path):
    values = tensors("llama")
    del values["token_embd.weight"]
    assert "token_embd.weight" in refused(write(tmp_path / "m.gguf", "llama", values)).what


def test_rotary_factors_of_another_scaling_are_refused(tmp_path):
    values = tensors("llama") | {"rope_freqs.weight": np.arange(1, 9, dtype="float32")}
    error = refused(write(tmp_path / "m.gguf", "llama", values))
    assert "rope_freqs.weight" in error.where


def test_more_tokens_than_embeddings_are_refused(tmp_path):
    words = BPE | {"tokens": [*TOKENS, "extra"], "token_type": [*BPE["token_type"], 1]}
    assert f"{VOCAB + 1} tokens" in refused(write(tmp_path / "m.gguf", tokenizer=words)).what
