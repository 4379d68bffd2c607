"""GGUF files of every architecture and quantization, against closed forms."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

from modelzoo.errors import WeightsError  # noqa: E402
from modelzoo.weights.generation import generation_options  # noqa: E402
from modelzoo.weights.gguf import file as gguf_file  # noqa: E402
from modelzoo.weights.gguf.file import quantizations, read_file  # noqa: E402
from modelzoo.weights.gguf.names import ARCHITECTURES  # noqa: E402
from modelzoo.weights.gguf.opening import open_gguf  # noqa: E402
from modelzoo.weights.tables import TABLES  # noqa: E402
from tests.weights.small_gguf import (  # noqa: E402
    CONTEXT,
    END,
    FFN,
    HEAD,
    HEADS,
    KV_HEADS,
    LAYERS,
    VOCAB,
    WIDTH,
    tensors,
    write,
)

# === Quantizations: the value of each element of a block, from ggml's definition of the block ===


def half(block: np.ndarray, at: int) -> float:
    return float(block[at : at + 2].view("<f2")[0])


def q8_0(b):
    return [half(b, 0) * int(q) for q in b[2:].view("i1")]


def q4_0(b):
    q = [int(x) & 15 for x in b[2:]] + [int(x) >> 4 for x in b[2:]]
    return [half(b, 0) * (x - 8) for x in q]


def q4_1(b):
    q = [int(x) & 15 for x in b[4:]] + [int(x) >> 4 for x in b[4:]]
    return [half(b, 0) * x + half(b, 2) for x in q]


def scale_and_min(packed, j):
    """The j-th of 8 pairs of 6 bits in 12 bytes."""
    q = [int(x) for x in packed]
    if j < 4:
        return q[j] & 63, q[j + 4] & 63
    return (q[j + 4] & 15) | (q[j - 4] >> 6) << 4, q[j + 4] >> 4 | (q[j] >> 6) << 4


def q4_k(b, fifth=None):
    values, low_bits = [], b[-128:]
    for i in range(256):
        part, place = divmod(i, 32)  # of 8, two of which share their bytes
        q = int(low_bits[32 * (part // 2) + place]) >> 4 * (part % 2) & 15
        q += 16 * (int(fifth[place]) >> part & 1) if fifth is not None else 0
        scale, minimum = scale_and_min(b[4:16], part)
        values.append(half(b, 0) * scale * q - half(b, 2) * minimum)
    return values


def q5_k(b):
    return q4_k(b, fifth=b[16:48])


def q6_k(b):
    values, scales = [], b[192:208].view("i1")
    for i in range(256):
        side, rest = divmod(i, 128)
        part, place = divmod(rest, 32)
        low = int(b[64 * side + 32 * (part % 2) + place]) >> 4 * (part // 2) & 15
        high = int(b[128 + 32 * side + place]) >> 2 * part & 3
        values.append(half(b, 208) * int(scales[i // 16]) * ((low | high << 4) - 32))
    return values


BLOCKS = {  # bytes, values, where the numbers of 16 bits stand, closed form
    "Q8_0": (34, 32, (0,), q8_0),
    "Q4_0": (18, 32, (0,), q4_0),
    "Q4_1": (20, 32, (0, 2), q4_1),
    "Q4_K": (144, 256, (0, 2), q4_k),
    "Q5_K": (176, 256, (0, 2), q5_k),
    "Q6_K": (210, 256, (208,), q6_k),
}
DOWN = "blk.1.ffn_down.weight"
DOWN_HF = "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_quantized_tensor_has_the_values_of_its_blocks(kind, tmp_path):
    size, length, halves, closed_form = BLOCKS[kind]
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (WIDTH * FFN // length, size)).astype("u1")
    for at in halves:
        numbers = rng.normal(0, 0.05, len(blocks)).astype("<f2")
        blocks[:, at : at + 2] = numbers.view("u1").reshape(-1, 2)
    values = tensors("qwen2") | {DOWN: blocks.reshape(WIDTH, -1)}
    path = write(tmp_path / "m.gguf", "qwen2", values, kinds={DOWN: kind})
    tensor = open_gguf(path).tensors[DOWN_HF]
    wanted = np.array([closed_form(block) for block in blocks]).reshape(WIDTH, FFN)
    assert (tensor.shape, tensor.dtype) == ((WIDTH, FFN), "float32")
    got = tensor.read()
    assert (got.shape, got.dtype.name) == (tensor.shape, tensor.dtype)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Row 2j + s of each head to row j + s * half, one by one."""
    half = len(rows) // heads // 2
    out = np.empty_like(rows)
    for head in range(heads):
        for j in range(half):
            for side in (0, 1):
                start = head * 2 * half
                out[start + j + side * half] = rows[start + 2 * j + side]
    return out


# Architecture, GGUF's name, shape (rows of whole blocks), Hugging Face's name, what is undone.
PLACES = {
    "as it is": ("qwen2", DOWN, (WIDTH, FFN), DOWN_HF, lambda values: values),
    "interleaved heads": (
        "llama",
        "blk.0.attn_q.weight",
        (HEADS * HEAD, 256),
        "model.layers.0.self_attn.q_proj.weight",
        lambda values: half_split(values, HEADS),
    ),
    "1 + w": (
        "gemma3",
        "blk.0.attn_norm.weight",
        (256,),
        "model.layers.0.input_layernorm.weight",
        lambda values: values - np.float32(1),
    ),
    "transposed": (
        "gpt2",
        "blk.1.ffn_down.weight",
        (WIDTH, FFN),
        "transformer.h.1.mlp.c_proj.weight",
        lambda values: values.T,
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # random scales are not all finite
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", quantizations())
def test_every_quantization_has_the_bits_that_gguf_gives(kind, place, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_file, "_AT_ONCE", 1000)  # three rows at once, and one in the end
    arch, name, shape, theirs, restored = PLACES[place]
    quantization = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[quantization]
    blocks = np.random.default_rng(7).integers(
        0, 256, (*shape[:-1], shape[-1] // block * size), np.uint8
    )
    path = write(tmp_path / "m.gguf", arch, tensors(arch) | {name: blocks}, kinds={name: kind})
    tensor = open_gguf(path).tensors[theirs]
    got, wanted = tensor.read(), restored(gguf.quants.dequantize(blocks, quantization))
    assert (got.shape, got.dtype.name) == (tensor.shape, tensor.dtype)
    assert tensor.dtype == ("float16" if kind == "F16" and place != "1 + w" else "float32")
    assert got.astype("float32").tobytes() == wanted.astype("float32").tobytes()


def test_the_quantizations_of_llama_cpp_are_read():
    plain = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"]
    k = [f"Q{bits}_K" for bits in (2, 3, 4, 5, 6)]
    i = ["1_S", "1_M", "2_XXS", "2_XS", "2_S", "3_XXS", "3_S", "4_NL", "4_XS"]
    assert {*plain, *k, *(f"IQ{name}" for name in i)} <= set(quantizations())
    assert not {"I32", "Q8_1", "Q8_K"} & set(quantizations())


def test_a_large_tensor_is_never_in_memory_twice(tmp_path):
    rows = np.zeros((2048, 8 * 34), np.uint8)
    path = write(
        tmp_path / "m.gguf", "qwen2", tensors("qwen2") | {DOWN: rows}, kinds={DOWN: "Q8_0"}
    )
    tensor = open_gguf(path).tensors[DOWN_HF]
    tracemalloc.start()
    try:
        values = tensor.read()
        assert tracemalloc.get_traced_memory()[1] < values.nbytes + 1.5e6 < 2 * values.nbytes
    finally:
        tracemalloc.stop()


def test_float32_is_a_view_of_the_file(tmp_path):
    tensor = open_gguf(write(tmp_path / "m.gguf", "qwen2")).tensors[DOWN_HF]
    assert not tensor.read().flags.owndata and not tensor.read().flags.writeable


# === Names and orientation ===


def test_llama_gets_its_queries_and_keys_for_half_split_rotation(tmp_path):
    values = tensors("llama")
    values["blk.0.attn_q.bias"] = np.arange(HEADS * HEAD, dtype="float32")
    found = open_gguf(write(tmp_path / "m.gguf", "llama", values)).tensors
    for name, heads in (("q", HEADS), ("k", KV_HEADS)):
        got = found[f"model.layers.1.self_attn.{name}_proj.weight"].read()
        np.testing.assert_array_equal(got, half_split(values[f"blk.1.attn_{name}.weight"], heads))
    bias = found["model.layers.0.self_attn.q_proj.bias"].read()
    np.testing.assert_array_equal(bias[:4], [0, 2, 4, 6])
    same = found["model.layers.1.self_attn.v_proj.weight"].read()
    np.testing.assert_array_equal(same, values["blk.1.attn_v.weight"])


def test_qwen_keeps_the_rows_of_its_queries(tmp_path):
    values = tensors("qwen3")
    found = open_gguf(write(tmp_path / "m.gguf", "qwen3", values)).tensors
    got = found["model.layers.0.self_attn.q_proj.weight"].read()
    np.testing.assert_array_equal(got, values["blk.0.attn_q.weight"])
    assert found["model.layers.0.self_attn.q_norm.weight"].shape == (HEAD,)


def test_gemma_norms_are_read_less_one(tmp_path):
    values = tensors("gemma3")
    found = open_gguf(write(tmp_path / "m.gguf", "gemma3", values)).tensors
    norms = {
        "model.norm": "output_norm",
        "model.layers.0.input_layernorm": "blk.0.attn_norm",
        "model.layers.0.post_attention_layernorm": "blk.0.post_attention_norm",
        "model.layers.0.pre_feedforward_layernorm": "blk.0.ffn_norm",
        "model.layers.0.post_feedforward_layernorm": "blk.0.post_ffw_norm",
        "model.layers.0.self_attn.k_norm": "blk.0.attn_k_norm",
    }
    for theirs, ours in norms.items():
        got = found[f"{theirs}.weight"].read()
        np.testing.assert_array_equal(got, values[f"{ours}.weight"] - np.float32(1))
    got = found["model.embed_tokens.weight"].read()
    np.testing.assert_array_equal(got, values["token_embd.weight"])


def test_gpt2_gets_the_orientation_of_conv1d(tmp_path):
    values = tensors("gpt2")
    path = write(tmp_path / "m.gguf", "gpt2", values, kinds={"blk.0.attn_qkv.weight": "F16"})
    tensor = open_gguf(path).tensors["transformer.h.0.attn.c_attn.weight"]
    assert (tensor.shape, tensor.dtype) == ((WIDTH, 3 * WIDTH), "float16")
    np.testing.assert_allclose(tensor.read(), values["blk.0.attn_qkv.weight"].T, atol=2e-3)
    found = open_gguf(path).tensors
    assert found["transformer.wpe.weight"].shape == (CONTEXT, WIDTH)
    assert found["transformer.h.1.mlp.c_fc.bias"].shape == (FFN,)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_no_two_names_lead_to_the_same_tensor(arch, tmp_path):
    names = ARCHITECTURES[arch].names
    assert len(set(names.values())) == len(names)
    found = open_gguf(write(tmp_path / "m.gguf", arch)).tensors
    assert len(found) == len(tensors(arch))
    for name, tensor in found.items():
        assert tensor.read().shape == tensor.shape, name


# === Configuration ===

COMMON = {"vocab_size": VOCAB, "tie_word_embeddings": True, "eos_token_id": END}
DECODER = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD,
    "intermediate_size": FFN,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5e5,
    "rope_scaling": None,
}
GPT2 = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT, "n_inner": FFN}
CONFIGS = {
    "llama": {"model_type": "llama", "attention_bias": False, "hidden_act": "silu", **DECODER},
    "qwen2": {"model_type": "qwen2", **DECODER},
    "qwen3": {"model_type": "qwen3", "attention_bias": False, **DECODER},
    "gemma3": {
        "model_type": "gemma3_text",
        "sliding_window": 8,
        "layer_types": ["sliding_attention"] * LAYERS,
        "rope_local_base_freq": 10_000.0,
        "query_pre_attn_scalar": HEAD,
        "hidden_activation": "gelu_pytorch_tanh",
        **DECODER,
    },
    "gpt2": {"model_type": "gpt2", "layer_norm_epsilon": 1e-5, **GPT2},
}


@pytest.mark.parametrize("arch", CONFIGS)
def test_the_configuration_is_that_of_hugging_face(arch, tmp_path):
    config = open_gguf(write(tmp_path / "m.gguf", arch)).config
    wanted = COMMON | CONFIGS[arch]
    assert {key: config.get(key) for key in wanted} == wanted


def test_every_sixth_layer_of_gemma_sees_everything(tmp_path):
    path = write(tmp_path / "m.gguf", "gemma3", keys={"gemma3.block_count": 7})
    kinds = open_gguf(path).config["layer_types"]
    assert kinds == ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]


def test_an_output_matrix_of_its_own_is_not_tied(tmp_path):
    values = tensors("llama") | {"output.weight": np.ones((VOCAB, WIDTH), "float32")}
    checkpoint = open_gguf(write(tmp_path / "m.gguf", "llama", values))
    assert checkpoint.config["tie_word_embeddings"] is False
    assert checkpoint.tensors["lm_head.weight"].shape == (VOCAB, WIDTH)


def test_a_linear_scaling_is_read(tmp_path):
    keys = {"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0}
    config = open_gguf(write(tmp_path / "m.gguf", "gemma3", keys=keys)).config
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}


def test_yarn_is_read_with_the_length_that_it_stretches(tmp_path):
    keys = {"type": "yarn", "factor": 4.0, "original_context_length": 8, "yarn_beta_fast": 16.0}
    keys = {f"qwen3.rope.scaling.{key}": value for key, value in keys.items()}
    config = open_gguf(write(tmp_path / "m.gguf", "qwen3", keys=keys)).config
    found = TABLES["qwen3"].read_config(config, frozenset(), "m.gguf")["rotary_scaling"]
    wanted = {"type": "yarn", "factor": 4.0, "original_max_length": 8, "beta_fast": 16.0}
    assert found == wanted


def test_a_window_of_some_layers_is_rejected_where_a_file_does_not_say_which(tmp_path):
    path = write(tmp_path / "m.gguf", "qwen2", keys={"qwen2.attention.sliding_window": 8})
    with pytest.raises(WeightsError, match="does not say which ones"):
        open_gguf(path)


def test_the_scaling_of_llama_3_is_read_from_its_factors(tmp_path):
    wavelengths = 2 * np.pi * 5e5 ** (np.arange(0, HEAD, 2) / HEAD)
    smooth = np.clip((8192 / wavelengths - 1) / (4 - 1), 0, 1)
    factors = (1 / ((1 - smooth) / 32 + smooth)).astype("float32")
    assert factors[0] == 1 and factors[-1] == 32
    path = write(tmp_path / "m.gguf", "llama", tensors("llama") | {"rope_freqs.weight": factors})
    checkpoint = open_gguf(path)
    assert checkpoint.config["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    assert not any("rope" in name for name in checkpoint.tensors)


def test_opening_reads_no_tensor(tmp_path, monkeypatch):
    path = write(tmp_path / "m.gguf")
    monkeypatch.setattr(type(read_file(path)), "values", lambda *_: pytest.fail("read"))
    assert open_gguf(path).tensors


def test_a_metadata_key_that_would_be_passed_over_is_named(tmp_path):
    for key, value, neutral in (
        ("llama.attention.clamp_kqv", 8.0, 0.0),
        ("llama.logit_scale", 0.125, 1.0),
        ("llama.attention.causal", False, True),
        ("llama.of_a_newer_llama_cpp", 3, False),
    ):
        with pytest.raises(WeightsError, match=f"a llama with {key.partition('.')[2]} = "):
            open_gguf(write(tmp_path / "m.gguf", keys={key: value}))
        assert open_gguf(write(tmp_path / "m.gguf", keys={key: neutral})).config


@pytest.mark.parametrize(
    ("key", "value", "neutral"),
    [
        ("tokenizer.ggml.add_sep_token", True, False),
        ("tokenizer.ggml.normalizer.lowercase", True, False),
        ("tokenizer.ggml.suppress_tokens", [3], None),
        ("general.type", "adapter", "model"),
        ("general.of_a_newer_llama_cpp", 3, ""),
        ("general.sampling.xtc_probability", 0.5, 0.0),
        ("general.sampling.mirostat", 2, 0),
        ("general.sampling.of_a_newer_llama_cpp", 0.5, None),
    ],
)
def test_a_key_outside_the_architecture_is_named_too(key, value, neutral, tmp_path):
    with pytest.raises(WeightsError, match=re.escape(f"{key} = ")):
        open_gguf(write(tmp_path / "m.gguf", keys={key: value}))
    if neutral is not None:
        assert open_gguf(write(tmp_path / "m.gguf", keys={key: neutral})).extras == {}


def test_notes_of_other_programs_are_no_part_of_the_model(tmp_path):
    keys = {"quantize.imatrix.file": "m.dat", "acme.note": 3, "general.quantized_by": "Acme"}
    assert open_gguf(write(tmp_path / "m.gguf", keys=keys)).config


def test_how_tokens_are_drawn_comes_along(tmp_path):
    keys = {"temp": 0.6, "top_k": 20, "penalty_repeat": 1.05, "sequence": "kt", "mirostat": 0}
    path = write(tmp_path / "m.gguf", keys={f"general.sampling.{k}": v for k, v in keys.items()})
    asked = generation_options({}, open_gguf(path).extras)
    assert asked["do_sample"] is True and asked["top_k"] == 20
    assert (asked["temperature"], asked["repetition_penalty"]) == pytest.approx((0.6, 1.05))
