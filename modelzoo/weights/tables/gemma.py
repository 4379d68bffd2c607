"""Gemma: scaled embeddings; 2 and 3 with norms on both sides of a sublayer, and local layers."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import ACTIVATIONS, Table, Value, activation, rms_norm, rules
from modelzoo.weights.tables.llama import (
    FIXED,
    PRE_NORMS,
    SIZES,
    decoder,
    read_heads,
    write_heads,
)
from modelzoo.weights.tables.shared.rotary import (
    read_layers,
    read_rotary,
    read_windows,
    write_full_layers,
    write_layers,
    write_rotary,
    write_windows,
)

_NORMS = rules(
    rms_norm("post_attention_layernorm", "attention_post_norm"),
    rms_norm("pre_feedforward_layernorm", "ffn_norm"),
    rms_norm("post_feedforward_layernorm", "ffn_post_norm"),
)
_TIED = Value("tie_word_embeddings", "tie_embeddings", True)
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", **ACTIVATIONS}
_VALUES = (*SIZES, _TIED, activation("hidden_activation", _ACTIVATIONS, "gelu_pytorch_tanh"))
# The first release's files say "gelu" and mean its approximation.
_FIRST = {"gelu_pytorch_tanh": "gelu_tanh", **ACTIVATIONS, "gelu": "gelu_tanh"}
_FIXED = {
    **FIXED,
    "norm": "rms_unit_offset",
    "norm_position": "sandwich",
    "attention_bias": False,
    "scale_embeddings": True,
}
del _FIXED["logit_softcap"]
# Of how it is run; an activation that is not read.
_UNUSED = ("cache_implementation", "hidden_act")


def _check_causal(config) -> None:
    if config.get("use_bidirectional_attention"):
        raise WeightsError("a Gemma that looks both ways is not supported")


def _read_gemma(config, names) -> dict:
    _check_causal(config)
    heads = read_heads(config, kv_heads=16, head_dim=256)
    return {**heads, **read_rotary(config, 10_000.0)}


def _write_gemma(values) -> dict:
    return {**write_heads(values), **write_rotary(values), **write_full_layers(values)}


def _read_shared(config) -> dict:
    _check_causal(config)
    return {
        **read_heads(config, kv_heads=4, head_dim=256),
        "attention_scale": float(config.get("query_pre_attn_scalar", 256)) ** -0.5,
    }


def _write_shared(values) -> dict:
    scalar = round(values["attention_scale"] ** -2)
    return {**write_heads(values, scaled=True), "query_pre_attn_scalar": scalar}


def _read_gemma2(config, names) -> dict:
    kinds = ["global" if i % 2 else "local" for i in range(config["num_hidden_layers"])]
    return {
        **_read_shared(config),
        **read_rotary(config, 10_000.0),
        **read_windows(config, kinds, window=4096),
    }


def _write_gemma2(values) -> dict:
    return {**_write_shared(values), **write_rotary(values), **write_windows(values)}


def _read_gemma3(config, names) -> dict:
    named = config.get("sliding_window_pattern"), config.get("_sliding_window_pattern")
    pattern = named[0] or named[1] or 6
    kinds = ["local"] * (pattern - 1) + ["global"]
    return {**_read_shared(config), **read_layers(config, 1_000_000.0, 10_000.0, kinds)}


def _write_gemma3(values) -> dict:
    return {**_write_shared(values), **write_layers(values)}


GEMMA = Table(
    model_type="gemma",
    **decoder(PRE_NORMS, "Gemma"),
    values=(*SIZES, _TIED, activation("hidden_act", _FIRST, "gelu_pytorch_tanh")),
    fixed={**_FIXED, "norm_position": "pre", "logit_softcap": None},
    assumed={"attention_bias": False},
    unused=("cache_implementation", "hidden_activation"),
    read=_read_gemma,
    write=_write_gemma,
)

GEMMA2 = Table(
    model_type="gemma2",
    **decoder(_NORMS, "Gemma2"),
    values=(
        *_VALUES,
        Value("final_logit_softcapping", "logit_softcap", 30.0),
        Value("attn_logit_softcapping", "attention_softcap", 50.0),
    ),
    fixed={key: value for key, value in _FIXED.items() if key != "attention_softcap"},
    assumed={"attention_bias": False},
    unused=_UNUSED,
    read=_read_gemma2,
    write=_write_gemma2,
)

GEMMA3 = Table(
    model_type="gemma3_text",
    **decoder(_NORMS, "Gemma3"),
    values=(
        *_VALUES,
        Value("sliding_window", "sliding_window", 4096),
        Value("final_logit_softcapping", "logit_softcap", None),
    ),
    fixed={**_FIXED, "qk_norm": True},
    assumed={"attention_bias": False, "attn_logit_softcapping": None},
    unused=_UNUSED,
    read=_read_gemma3,
    write=_write_gemma3,
)
