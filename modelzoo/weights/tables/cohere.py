"""Cohere's Command R: parallel, LayerNorm without a bias, rotary pairs side by side."""

from modelzoo.weights.table import Rule, Table, Value, activation, layer_norm, paired, rules
from modelzoo.weights.tables.shared.decoders import (
    ATTENTION,
    GATED,
    SIZES,
    decoder,
    read_kv_heads,
    write_kv_heads,
)
from modelzoo.weights.tables.shared.rotary import read_rotary, write_rotary


def _read(config, names) -> dict:
    scale = config.get("logit_scale", 0.0625)
    return {
        **read_kv_heads(config),
        **read_rotary(config, 500_000.0),
        "logit_scale": 1.0 if scale is None else scale,
    }


def _write(values) -> dict:
    return {
        **write_kv_heads(values),
        **write_rotary(values),
        "logit_scale": values["logit_scale"],
    }


COHERE = Table(
    model_type="cohere",
    **decoder(
        "Cohere",
        rules(
            paired(ATTENTION[:4]),
            ATTENTION[4:],
            *(
                paired([Rule(f"self_attn.{theirs}_norm.weight", (ours,))])
                for theirs, ours in (
                    ("q", "attention/query_norm/gamma"),
                    ("k", "attention/key_norm/gamma"),
                )
            ),
            GATED,
            layer_norm("input_layernorm", "attention_norm"),
        ),
        layer_norm,
    ),
    values=(
        *SIZES,
        Value("layer_norm_eps", "norm_epsilon", 1e-5),
        Value("tie_word_embeddings", "tie_embeddings", True),
        Value("attention_bias", "attention_bias", False),
        Value("use_qk_norm", "qk_norm", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={
        "positions": "rotary",
        "norm": "layer",
        "norm_bias": False,
        "gated": True,
        "ffn_bias": False,
        "parallel_residual": True,
        "shared_norm": True,
        "qk_norm_heads": "separate",
    },
    read=_read,
    write=_write,
)
