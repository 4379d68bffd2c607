"""Small GGUF files of every architecture, written as llama.cpp's converters write them."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

LAYERS, WIDTH, HEADS, KV_HEADS, HEAD, FFN, CONTEXT = 2, 64, 4, 2, 16, 256, 32
# Bytes that stand for themselves, one merge, one control token, one that stays visible.
TOKENS = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ", "he", "<|im_end|>", "<think>"]
TYPES = [1] * (len(TOKENS) - 2) + [3, 4]
VOCAB = len(TOKENS)
END = VOCAB - 2

DECODER = {
    "context_length": CONTEXT,
    "block_count": LAYERS,
    "embedding_length": WIDTH,
    "feed_forward_length": FFN,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV_HEADS,
    "attention.key_length": HEAD,
    "attention.value_length": HEAD,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 5e5,
}
GPT2 = {key: DECODER[key] for key in list(DECODER)[:5]} | {"attention.layer_norm_epsilon": 1e-5}
KEYS = {
    "llama": DECODER | {"rope.dimension_count": HEAD},
    "qwen2": DECODER,
    "qwen3": DECODER,
    "gemma3": DECODER | {"attention.sliding_window": 8},
    "gpt2": GPT2,
}
BPE = {
    "model": "gpt2",
    "pre": "gpt-2",
    "tokens": TOKENS,
    "token_type": TYPES,
    "merges": ["h e"],
    "eos_token_id": END,
    "padding_token_id": END,
}


def shapes(arch: str) -> dict[str, tuple[int, ...]]:
    """GGUF's names and shapes, rows first."""
    found = {"token_embd.weight": (VOCAB, WIDTH), "output_norm.weight": (WIDTH,)}
    blocks = {"attn_norm.weight": (WIDTH,), "ffn_norm.weight": (WIDTH,)}
    blocks |= {"ffn_up.weight": (FFN, WIDTH), "ffn_down.weight": (WIDTH, FFN)}
    if arch == "gpt2":
        found |= {"position_embd.weight": (CONTEXT, WIDTH), "output_norm.bias": (WIDTH,)}
        blocks |= {"attn_norm.bias": (WIDTH,), "ffn_norm.bias": (WIDTH,)}
        blocks |= {"attn_qkv.weight": (3 * WIDTH, WIDTH), "attn_qkv.bias": (3 * WIDTH,)}
        blocks |= {"attn_output.weight": (WIDTH, WIDTH), "attn_output.bias": (WIDTH,)}
        blocks |= {"ffn_up.bias": (FFN,), "ffn_down.bias": (WIDTH,)}
    else:
        blocks |= {
            "attn_q.weight": (HEADS * HEAD, WIDTH),
            "attn_k.weight": (KV_HEADS * HEAD, WIDTH),
        }
        blocks |= {"attn_v.weight": (KV_HEADS * HEAD, WIDTH), "ffn_gate.weight": (FFN, WIDTH)}
        blocks |= {"attn_output.weight": (WIDTH, HEADS * HEAD)}
    if arch == "qwen2":
        blocks |= {"attn_q.bias": (HEADS * HEAD,), "attn_k.bias": (KV_HEADS * HEAD,)}
        blocks |= {"attn_v.bias": (KV_HEADS * HEAD,)}
    if arch in ("qwen3", "gemma3"):
        blocks |= {"attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,)}
    if arch == "gemma3":
        blocks |= {"post_attention_norm.weight": (WIDTH,), "post_ffw_norm.weight": (WIDTH,)}
    for i in range(LAYERS):
        found |= {f"blk.{i}.{name}": shape for name, shape in blocks.items()}
    return found


def tensors(arch: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Random values for them, as the file has them."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes(arch).items()}


def write(
    path: Path,
    arch: str = "llama",
    values: dict[str, np.ndarray] | None = None,
    *,
    kinds: dict[str, str] | None = None,
    keys: dict | None = None,
    tokenizer: dict | None = None,
    drop: tuple[str, ...] = (),
) -> Path:
    """Writes a file; `kinds` are quantizations, of raw blocks where the values are bytes."""
    writer = gguf.GGUFWriter(path, arch)
    metadata = {f"{arch}.{key}": value for key, value in KEYS.get(arch, {}).items()}
    words = BPE if tokenizer is None else tokenizer
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in words.items()}
    for key, value in (metadata | (keys or {})).items():
        if key not in drop:
            _add(writer, key, value)
    for name, value in (tensors(arch) if values is None else values).items():
        kind = gguf.GGMLQuantizationType[(kinds or {}).get(name, "F32")]
        data = value if value.dtype == np.uint8 else gguf.quantize(value, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)
