"""StableLM: LayerNorm, a part of each head turns, and a gain for each head's queries and keys."""

from modelzoo.weights.table import Rule, Table, Value, activation, layer_norm, partial, rules
from modelzoo.weights.tables.shared.decoders import (
    ATTENTION,
    GATED,
    SIZES,
    decoder,
    one_of,
    read_kv_heads,
    write_kv_heads,
)
from modelzoo.weights.tables.shared.rotary import read_rotary, write_rotary


def _read(config, names) -> dict:
    return {
        **read_kv_heads(config),
        **read_rotary(config, 10_000.0, partial=True, fraction=0.25),
        "shared_norm": config.get("use_parallel_residual", False),
    }


def _write(values) -> dict:
    return {
        **write_kv_heads(values),
        **write_rotary(values, partial=True),
        "use_parallel_residual": one_of(values, "parallel_residual", "shared_norm"),
    }


STABLELM = Table(
    model_type="stablelm",
    **decoder(
        "StableLm",
        rules(
            partial(ATTENTION[:4]),
            ATTENTION[4:],
            GATED,
            *(
                partial(
                    [
                        Rule(
                            f"self_attn.{theirs}_layernorm.norms.{{h}}.weight",
                            (f"attention/{ours}_norm/gamma",),
                            stacked=heads,
                        )
                    ]
                )
                for theirs, ours, heads in (
                    ("q", "query", "num_heads"),
                    ("k", "key", "num_kv_heads"),
                )
            ),
            layer_norm("input_layernorm", "attention_norm"),
            layer_norm("post_attention_layernorm", "ffn_norm"),
        ),
        layer_norm,
    ),
    values=(
        *SIZES,
        Value("layer_norm_eps", "norm_epsilon", 1e-5),
        Value("tie_word_embeddings", "tie_embeddings", False),
        Value("use_qkv_bias", "attention_bias", False),
        Value("qk_layernorm", "qk_norm", False),
        Value("use_parallel_residual", "parallel_residual", False),
        Value("hidden_dropout", "dropout", 0.0),
        activation("hidden_act", default="silu"),
    ),
    fixed={
        "positions": "rotary",
        "norm": "layer",
        "gated": True,
        "attention_output_bias": False,
        "ffn_bias": False,
        "qk_norm_heads": "separate",
        "qk_norm_bias": False,
    },
    read=_read,
    write=_write,
)
