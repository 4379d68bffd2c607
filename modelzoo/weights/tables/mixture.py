"""Decoders with experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE. Llamas but for the feed-forward."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Table, Value, activation
from modelzoo.weights.tables.llama import (
    FIXED,
    PRE_NORMS,
    SIZES,
    SUBLAYERS,
    WINDOW,
    decoder,
    read_heads,
    read_qwen,
    write_heads,
    write_qwen,
)
from modelzoo.weights.tables.shared import experts
from modelzoo.weights.tables.shared.decoders import GATED, read_kv_heads, write_kv_heads
from modelzoo.weights.tables.shared.rotary import (
    read_rotary,
    write_full_layers,
    write_rotary,
    write_windows,
)

_QWEN = experts.expert_rules("mlp", "gate_proj", "up_proj", "down_proj")
_VALUES = (
    *SIZES,
    Value("tie_word_embeddings", "tie_embeddings", False),
    activation("hidden_act", default="silu"),
    experts.CHOICES,
)
_COUNT = Value("num_experts", "experts.count")
_NORMALIZE = Value("norm_topk_prob", "experts.normalize", False)
_WIDTH = Value("moe_intermediate_size", "experts.ffn_dim")


def _read_mixtral(config, names) -> dict:
    window = config.get("sliding_window")
    pattern = ["global" if window is None else "local"]
    own = {**read_heads(config, kv_heads=8), **read_rotary(config, 1e6)}
    return {**own, "attention_pattern": pattern, "sliding_window": window}


def _write_mixtral(values) -> dict:
    experts.need_whole_layers(values)
    windows = write_windows(values)
    if len(set(windows["layer_types"])) > 1:
        raise WeightsError("a mixtral has a sliding window in every layer or in none")
    heads, window = write_heads(values), windows["sliding_window"]
    if values["head_dim"] * values["num_heads"] == values["hidden_dim"]:
        del heads["head_dim"]  # as in the published files
    return {**heads, **write_rotary(values), "sliding_window": window}


def _read_qwen(config, names) -> dict:
    return {**read_qwen(config, names), **experts.read_sparse_layers(config)}


def _write_qwen(values) -> dict:
    return {**experts.write_sparse_layers(values), **write_qwen(values)}


def _read_olmoe(config, names) -> dict:
    return {**read_kv_heads(config), **read_rotary(config, 10_000.0)}


def _write_olmoe(values) -> dict:
    experts.need_whole_layers(values)
    return {**write_kv_heads(values), **write_rotary(values), **write_full_layers(values)}


MIXTRAL = Table(
    model_type="mixtral",
    **decoder(
        PRE_NORMS,
        "Mixtral",
        (*SUBLAYERS, *experts.expert_rules("block_sparse_moe", "w1", "w3", "w2")),
    ),
    values=(
        *_VALUES,
        Value("num_local_experts", "experts.count"),
        Value("router_jitter_noise", "experts.jitter", 0.0),
        experts.BALANCE,
    ),
    fixed={**FIXED, **experts.FIXED, "attention_bias": False, "experts.normalize": True},
    unused=experts.UNUSED,
    read=_read_mixtral,
    write=_write_mixtral,
)

QWEN2_MOE = Table(
    model_type="qwen2_moe",
    **decoder(PRE_NORMS, "Qwen2Moe", (*SUBLAYERS, *_QWEN, *experts.shared_rules(GATED))),
    values=(
        *_VALUES,
        _COUNT,
        _NORMALIZE,
        _WIDTH,
        Value("shared_expert_intermediate_size", "experts.shared_dim"),
        Value("qkv_bias", "attention_bias", True),
        experts.BALANCE,
    ),
    fixed={**FIXED, "attention_output_bias": False, "experts.shared_gate": True},
    unused=(*WINDOW, *experts.UNUSED),
    read=_read_qwen,
    write=_write_qwen,
)

QWEN3_MOE = Table(
    model_type="qwen3_moe",
    **decoder(PRE_NORMS, "Qwen3Moe", (*SUBLAYERS, *_QWEN)),
    values=(
        *_VALUES,
        _COUNT,
        _NORMALIZE,
        _WIDTH,
        Value("attention_bias", "attention_bias", False),
        experts.BALANCE,
    ),
    fixed={**FIXED, **experts.FIXED, "qk_norm": True},
    aliases={"num_local_experts": "num_experts"},  # as transformers 5 writes it
    unused=(*WINDOW, *experts.UNUSED),
    read=_read_qwen,
    write=_write_qwen,
)

OLMOE = Table(
    model_type="olmoe",
    **decoder(PRE_NORMS, "Olmoe", (*SUBLAYERS, *_QWEN)),
    values=(
        *(value for value in _VALUES if value.theirs != "rms_norm_eps"),
        Value("rms_norm_eps", "norm_epsilon", 1e-5),
        Value("attention_bias", "attention_bias", False),
        _COUNT,
        _NORMALIZE,
        Value("router_aux_loss_coef", "experts.balance_loss", 0.01),
    ),
    fixed={**FIXED, **experts.FIXED, "qk_norm": True, "qk_norm_heads": "joint"},
    assumed={"clip_qkv": None},
    unused=experts.UNUSED,
    read=_read_olmoe,
    write=_write_olmoe,
)
