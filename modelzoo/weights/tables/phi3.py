"""Phi-3 and Phi-4-mini: a Llama whose projections lie side by side, with LongRoPE."""

from dataclasses import replace

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Table, Value, activation, linear, rms_norm, rules
from modelzoo.weights.tables.llama import (
    FIXED,
    PRE_NORMS,
    SIZES,
    decoder,
    read_heads,
    write_heads,
)
from modelzoo.weights.tables.shared.rotary import read_rotary, write_rotary, write_windows

_ORIGINAL = 4096  # the length before it was stretched, where a file states none
# Positions may turn a part of each head of the queries and the keys.
_PROJECTIONS = [
    replace(rule, partial=(0, 1))
    for rule in linear("self_attn.qkv_proj", "attention/query", "attention/key", "attention/value")
]
_SUBLAYERS = rules(
    _PROJECTIONS,
    linear("self_attn.o_proj", "attention/output"),
    linear("mlp.gate_up_proj", "ffn/gate", "ffn/up"),
    linear("mlp.down_proj", "ffn/down"),
    rms_norm("input_layernorm", "attention_norm"),
)


def _read(config, names) -> dict:
    rotary = read_rotary(config, 10_000.0, partial=True, original=_ORIGINAL)
    scaling, window = rotary["rotary_scaling"], config.get("sliding_window")
    if scaling is not None and scaling["type"] != "longrope":
        raise WeightsError(
            f"a phi3 with rotary positions of the type {scaling['type']!r} is not "
            "supported, only 'longrope'"
        )
    pattern = ["global" if window is None else "local"]
    return {**read_heads(config), **rotary, "attention_pattern": pattern, "sliding_window": window}


def _write(values) -> dict:
    scaling = values["rotary_scaling"]
    if (scaling or {}).get("type") != "longrope" and (scaling or values["rotary_fraction"] == 1):
        raise WeightsError("a phi3 has longrope, or rotary positions on a part of a head")
    windows = write_windows(values)
    if len(set(windows["layer_types"])) > 1:
        raise WeightsError("a phi3 has layers of one kind, and this model local and global ones")
    if values["head_dim"] * values["num_heads"] != values["hidden_dim"]:
        raise WeightsError("a phi3 has heads as wide as hidden_dim / num_heads")
    original = scaling["original_max_length"] if scaling else _ORIGINAL
    kv_heads = write_heads(values)["num_key_value_heads"]
    return {
        **write_rotary(values, partial=True),
        "num_key_value_heads": kv_heads,
        "sliding_window": windows["sliding_window"],
        "original_max_position_embeddings": original,
    }


PHI3 = Table(
    model_type="phi3",
    **decoder(PRE_NORMS, "Phi3", _SUBLAYERS),
    values=(
        *(size for size in SIZES if size.ours != "norm_epsilon"),
        Value("rms_norm_eps", "norm_epsilon", 1e-5),
        Value("tie_word_embeddings", "tie_embeddings", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={**FIXED, "attention_bias": False},
    neutral={"full_attn_mod": 1, "interpolate_factor": 1},
    unused=("original_max_position_embeddings",),  # but for longrope
    read=_read,
    write=_write,
)
