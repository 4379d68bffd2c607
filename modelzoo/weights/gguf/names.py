"""What GGUF calls the tensors of each architecture, and how it keeps their values.

One table an architecture: GGUF's name <-> Hugging Face's, both without `.weight` and `.bias`, `{i}`
the layer. Beside it what the writer did to the values, which is undone as they are read.

Source: `gguf/constants.py` and the converters (`conversion/*.py`) of
https://github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ARCHITECTURES", "Architecture", "find_name", "restored", "restored_shape"]

# What the writer did to a tensor:
INTERLEAVED_HEADS = "rotary pairs (j, j + half) of a head put side by side"  # attn_q
INTERLEAVED_KV_HEADS = "the same of the heads of keys"  # attn_k
PLUS_ONE = "1 + w, where Hugging Face keeps w"
TRANSPOSED = "(out, in), where GPT-2's Conv1D keeps (in, out)"


@dataclass(frozen=True)
class Architecture:
    """One architecture of GGUF files.

    Attributes:
        model_type: of Hugging Face's `config.json`.
        class_name: of Hugging Face's model.
        names: GGUF's name -> Hugging Face's.
        changes: GGUF's name -> what was done to the `.weight`.
        changed_biases: the same was done to the `.bias`.
    """

    model_type: str
    class_name: str
    names: Mapping[str, str]
    changes: Mapping[str, str] = field(default_factory=dict)
    changed_biases: bool = False


_LLAMA = {
    "token_embd": "model.embed_tokens",
    "blk.{i}.attn_norm": "model.layers.{i}.input_layernorm",
    "blk.{i}.attn_q": "model.layers.{i}.self_attn.q_proj",
    "blk.{i}.attn_k": "model.layers.{i}.self_attn.k_proj",
    "blk.{i}.attn_v": "model.layers.{i}.self_attn.v_proj",
    "blk.{i}.attn_output": "model.layers.{i}.self_attn.o_proj",
    "blk.{i}.ffn_norm": "model.layers.{i}.post_attention_layernorm",
    "blk.{i}.ffn_gate": "model.layers.{i}.mlp.gate_proj",
    "blk.{i}.ffn_up": "model.layers.{i}.mlp.up_proj",
    "blk.{i}.ffn_down": "model.layers.{i}.mlp.down_proj",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_QWEN3 = {
    **_LLAMA,
    "blk.{i}.attn_q_norm": "model.layers.{i}.self_attn.q_norm",
    "blk.{i}.attn_k_norm": "model.layers.{i}.self_attn.k_norm",
}
_GEMMA3 = {
    **_QWEN3,
    "blk.{i}.post_attention_norm": "model.layers.{i}.post_attention_layernorm",
    "blk.{i}.ffn_norm": "model.layers.{i}.pre_feedforward_layernorm",
    "blk.{i}.post_ffw_norm": "model.layers.{i}.post_feedforward_layernorm",
}
_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "blk.{i}.attn_norm": "transformer.h.{i}.ln_1",
    "blk.{i}.attn_qkv": "transformer.h.{i}.attn.c_attn",
    "blk.{i}.attn_output": "transformer.h.{i}.attn.c_proj",
    "blk.{i}.ffn_norm": "transformer.h.{i}.ln_2",
    "blk.{i}.ffn_up": "transformer.h.{i}.mlp.c_fc",
    "blk.{i}.ffn_down": "transformer.h.{i}.mlp.c_proj",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_CONV1D = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")

ARCHITECTURES = {
    "gemma3": Architecture(
        "gemma3_text",
        "Gemma3ForCausalLM",
        _GEMMA3,
        {name: PLUS_ONE for name in _GEMMA3 if name.endswith("norm")},
    ),
    "gpt2": Architecture(
        "gpt2", "GPT2LMHeadModel", _GPT2, {f"blk.{{i}}.{name}": TRANSPOSED for name in _CONV1D}
    ),
    "llama": Architecture(
        "llama",
        "LlamaForCausalLM",
        _LLAMA,
        {"blk.{i}.attn_q": INTERLEAVED_HEADS, "blk.{i}.attn_k": INTERLEAVED_KV_HEADS},
        changed_biases=True,
    ),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", _LLAMA),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM", _QWEN3),
}


def find_name(architecture: Architecture, name: str) -> tuple[str, str | None] | None:
    """(Hugging Face's name, what was done to the values) of a tensor; `None` if not in the table.

    Example:
        >>> find_name(ARCHITECTURES["qwen2"], "blk.7.attn_q.bias")
        ('model.layers.7.self_attn.q_proj.bias', None)
    """
    stem, _, kind = name.rpartition(".")
    layer = re.match(r"blk\.(\d+)\.", stem)
    if layer:
        stem = "blk.{i}." + stem[layer.end() :]
    if kind not in ("weight", "bias") or stem not in architecture.names:
        return None
    theirs = architecture.names[stem].replace("{i}", layer[1] if layer else "")
    change = architecture.changes.get(stem)
    if kind == "bias" and not architecture.changed_biases:
        change = None
    return f"{theirs}.{kind}", change


def restored_shape(shape: tuple[int, ...], change: str | None) -> tuple[int, ...]:
    """The shape of a tensor once `restored`."""
    return shape[::-1] if change == TRANSPOSED else shape


def restored(values: np.ndarray, change: str | None, num_heads: int) -> np.ndarray:
    """The values as Hugging Face keeps them.

    Args:
        values: (rows, ...), as the file has them.
        change: what was done to them.
        num_heads: how many heads the rows belong to, where they belong to heads.
    """
    if change == TRANSPOSED:
        return values.T
    if change == PLUS_ONE:
        return values.astype("float32") - 1
    if change in (INTERLEAVED_HEADS, INTERLEAVED_KV_HEADS):
        pairs = values.reshape(num_heads, -1, 2, *values.shape[1:])  # (head, pair, side, ...)
        return pairs.swapaxes(1, 2).reshape(values.shape)
    return values
