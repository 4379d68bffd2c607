"""Granite: Llama with four factors, on embeddings, scores, what sublayers add, and logits."""

from modelzoo.weights.table import Table, Value, activation, rms_norm, rules
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
    return {
        **read_kv_heads(config),
        **read_rotary(config, 10_000.0),
        "logit_scale": 1.0 / config.get("logits_scaling", 1.0),  # they divide
    }


def _write(values) -> dict:
    scaling = round(1.0 / values["logit_scale"], 12)
    return {**write_kv_heads(values), **write_rotary(values), "logits_scaling": scaling}


GRANITE = Table(
    model_type="granite",
    **decoder(
        "Granite",
        rules(
            ATTENTION,
            GATED,
            rms_norm("input_layernorm", "attention_norm"),
            rms_norm("post_attention_layernorm", "ffn_norm"),
        ),
        rms_norm,
    ),
    values=(
        *SIZES,
        Value("rms_norm_eps", "norm_epsilon", 1e-6),
        Value("tie_word_embeddings", "tie_embeddings", False),
        Value("attention_bias", "attention_bias", False),
        Value("mlp_bias", "ffn_bias", False),
        Value("embedding_multiplier", "embedding_scale", 1.0),
        Value("residual_multiplier", "residual_scale", 1.0),
        Value("attention_multiplier", "attention_scale", 1.0),
        activation("hidden_act", default="silu"),
    ),
    fixed={"positions": "rotary", "norm": "rms", "gated": True},
    read=_read,
    write=_write,
)
