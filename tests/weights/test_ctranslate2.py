"""CTranslate2's file of a Whisper, written here as its specification says."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

import modelzoo
from modelzoo.errors import WeightsError
from modelzoo.weights import open_checkpoint, write_checkpoint
from modelzoo.weights.ctranslate2 import is_ctranslate2
from modelzoo.weights.opening import is_source
from tests.core import randomise

SMALL = {
    "vocab_size": 23,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "hidden_dim": 16,
    "num_heads": 2,
    "ffn_dim": 24,
    "max_length": 12,
    "num_columns": 20,
}
_KINDS = {np.dtype("float32"): 0, np.dtype("int8"): 1, np.dtype("int16"): 2, np.dtype("float16"): 4}


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name: str, array) -> bytes:
    array = np.asarray(array)
    head = text(name) + struct.pack("<B", array.ndim) + struct.pack(f"<{array.ndim}I", *array.shape)
    raw = array.tobytes()
    return head + struct.pack("<BI", _KINDS[array.dtype], len(raw)) + raw


def theirs(tensors: dict, heads: int) -> dict:
    """Hugging Face's tensors under CTranslate2's names, fused as it fuses them."""
    found = {f"{side}/num_heads": np.int16(heads) for side in ("encoder", "decoder")}
    found["decoder/activation"] = np.int8(3)

    def kinds(path, name, kind="linear"):
        weight, bias = ("gamma", "beta") if kind == "norm" else ("weight", "bias")
        found[f"{path}/{weight}"] = tensors[f"{name}.weight"]
        found[f"{path}/{bias}"] = tensors[f"{name}.bias"]

    def fused(path, name, parts):
        found[f"{path}/weight"] = np.concatenate([tensors[f"{name}.{p}.weight"] for p in parts])
        blank = np.zeros_like(tensors[f"{name}.v_proj.bias"])
        found[f"{path}/bias"] = np.concatenate(
            [tensors.get(f"{name}.{p}.bias", blank) for p in parts]
        )

    for side in ("encoder", "decoder"):
        positions = tensors[f"model.{side}.embed_positions.weight"]
        found[f"{side}/position_encodings/encodings"] = positions
        kinds(f"{side}/layer_norm", f"model.{side}.layer_norm", "norm")
        layer = 0
        while f"model.{side}.layers.{layer}.fc1.bias" in tensors:
            to, of = f"{side}/layer_{layer}", f"model.{side}.layers.{layer}"
            kinds(f"{to}/self_attention/layer_norm", f"{of}.self_attn_layer_norm", "norm")
            own = ("q_proj", "k_proj", "v_proj")
            fused(f"{to}/self_attention/linear_0", f"{of}.self_attn", own)
            kinds(f"{to}/self_attention/linear_1", f"{of}.self_attn.out_proj")
            if side == "decoder":
                kinds(f"{to}/attention/layer_norm", f"{of}.encoder_attn_layer_norm", "norm")
                kinds(f"{to}/attention/linear_0", f"{of}.encoder_attn.q_proj")
                fused(f"{to}/attention/linear_1", f"{of}.encoder_attn", ("k_proj", "v_proj"))
                kinds(f"{to}/attention/linear_2", f"{of}.encoder_attn.out_proj")
            kinds(f"{to}/ffn/layer_norm", f"{of}.final_layer_norm", "norm")
            kinds(f"{to}/ffn/linear_0", f"{of}.fc1")
            kinds(f"{to}/ffn/linear_1", f"{of}.fc2")
            layer += 1
    for name in ("conv1", "conv2"):
        kinds(f"encoder/{name}", f"model.encoder.{name}")
    found["decoder/embeddings/weight"] = tensors["model.decoder.embed_tokens.weight"]
    return found


def whole(variables: dict, spec: str = "WhisperSpec", version: int = 6) -> bytes:
    head = struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(variables))
    body = b"".join(variable(name, array) for name, array in sorted(variables.items()))
    aliases = text("decoder/projection/weight") + text("decoder/embeddings/weight")
    return head + body + struct.pack("<I", 1) + aliases


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small model, and its variables as CTranslate2 keeps them."""
    model = randomise(modelzoo.build("whisper-tiny-en", compile=False, **SMALL))
    folder = tmp_path_factory.mktemp("hf") / "out"
    write_checkpoint(model, folder)
    tensors = {k: np.asarray(t.read()) for k, t in open_checkpoint(folder).tensors.items()}
    return model, theirs(tensors, SMALL["num_heads"])


def written(folder, variables, **options):
    (folder / "model.bin").write_bytes(whole(variables, **options))
    config = {"suppress_ids": [4, 5], "suppress_ids_begin": [6]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_was_fused_reads_back_bit_by_bit(made, tmp_path):
    model, variables = made
    again = modelzoo.build(written(tmp_path, variables), compile=False)
    assert is_ctranslate2(tmp_path) and is_source(tmp_path)
    assert again.recipe.task == "speech-to-text"
    assert again.suppressed == ((4, 5), (6,)) and again.language is None
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


def test_half_precision_is_read_to_its_own_exactness(made, tmp_path):
    model, variables = made
    half = {
        name: array.astype("float16") if array.dtype == np.float32 else array
        for name, array in variables.items()
    }
    again = modelzoo.build(written(tmp_path, half), compile=False)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one).astype("float16"), np.asarray(other))


def test_a_recipe_takes_the_weights_from_the_file_itself(made, tmp_path):
    model, variables = made
    path = written(tmp_path, variables) / "model.bin"
    again = modelzoo.build("whisper-tiny-en", weights=path, compile=False, **SMALL)
    np.testing.assert_array_equal(model.weights[0], again.weights[0])


def test_other_models_and_other_versions_are_refused_by_name(made, tmp_path):
    _, variables = made
    for options, message in (
        ({"spec": "TransformerSpec"}, "holds a TransformerSpec in version 6"),
        ({"version": 4}, "WhisperSpec in version 4"),
    ):
        with pytest.raises(WeightsError, match=message):
            open_checkpoint(written(tmp_path, variables, **options))


def test_a_file_that_is_cut_off_says_where(made, tmp_path):
    _, variables = made
    data = whole(variables)
    for size in (40, len(data) // 2, len(data) - 20):
        (tmp_path / "model.bin").write_bytes(data[:size])
        with pytest.raises(WeightsError, match="damaged or not whole, at"):
            open_checkpoint(tmp_path / "model.bin")


def test_eight_bit_weights_are_refused_with_the_way_on(made, tmp_path):
    _, variables = made
    name = "encoder/layer_0/ffn/linear_0/weight"
    changed = {**variables, name: np.zeros(variables[name].shape, "int8")}
    with pytest.raises(WeightsError, match="stored as int8") as caught:
        open_checkpoint(written(tmp_path, changed))
    assert "float16" in caught.value.next_step


def test_a_pickle_of_the_same_name_is_still_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\x80\x02}q\x00." * 20)
    assert not is_ctranslate2(tmp_path)
    with pytest.raises(WeightsError, match="is a pickle"):
        open_checkpoint(tmp_path / "model.bin")
