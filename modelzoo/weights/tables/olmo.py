"""OLMo, whose norms have no weights, and OLMo 2, which normalises what leaves a sublayer."""

from modelzoo.weights.table import Table, Value, activation, rms_norm, rules
from modelzoo.weights.tables.shared.decoders import (
    ATTENTION,
    GATED,
    SIZES,
    decoder,
    no_norm,
    read_kv_heads,
    write_kv_heads,
)
from modelzoo.weights.tables.shared.rotary import read_rotary, write_rotary

_VALUES = (
    *SIZES,
    Value("tie_word_embeddings", "tie_embeddings", False),
    Value("attention_bias", "attention_bias", False),
    activation("hidden_act", default="silu"),
)
_FIXED = {"positions": "rotary", "gated": True, "ffn_bias": False}


def _read(config, names) -> dict:
    return {**read_kv_heads(config), **read_rotary(config, 10_000.0)}


def _write(values) -> dict:
    return {**write_kv_heads(values), **write_rotary(values)}


OLMO = Table(
    model_type="olmo",
    **decoder("Olmo", rules(ATTENTION, GATED), no_norm),
    values=_VALUES,
    fixed={
        **_FIXED,
        "norm": "layer",
        "norm_bias": False,
        "norm_scale": False,
        "norm_epsilon": 1e-5,
    },
    assumed={"clip_qkv": None},
    read=_read,
    write=_write,
)

OLMO2 = Table(
    model_type="olmo2",
    **decoder(
        "Olmo2",
        rules(
            ATTENTION,
            GATED,
            rms_norm("self_attn.q_norm", "attention/query_norm"),
            rms_norm("self_attn.k_norm", "attention/key_norm"),
            rms_norm("post_attention_layernorm", "attention_post_norm"),
            rms_norm("post_feedforward_layernorm", "ffn_post_norm"),
        ),
        rms_norm,
    ),
    values=(*_VALUES, Value("rms_norm_eps", "norm_epsilon", 1e-5)),
    fixed={
        **_FIXED,
        "norm": "rms",
        "norm_position": "output",
        "qk_norm": True,
        "qk_norm_heads": "joint",
    },
    read=_read,
    write=_write,
)
