"""GPT-J and Phi: one norm for attention and feed-forward in parallel, a head with a bias."""

import math

from modelzoo.weights.table import (
    Table,
    Value,
    activation,
    layer_norm,
    linear,
    paired,
    partial,
    rules,
)
from modelzoo.weights.tables.shared.decoders import (
    SIZES,
    check_head_dim,
    decoder,
    read_kv_heads,
    write_kv_heads,
)
from modelzoo.weights.tables.shared.rotary import read_rotary, write_rotary

_FIXED = {
    "positions": "rotary",
    "norm": "layer",
    "gated": False,
    "ffn_bias": True,
    "parallel_residual": True,
    "shared_norm": True,
    "tie_embeddings": False,
    "head_bias": True,
}


def _read_gptj(config, names) -> dict:
    width = config["n_embd"] // config["n_head"]
    return {
        "ffn_dim": config.get("n_inner") or 4 * config["n_embd"],
        "rotary_fraction": _share(config.get("rotary_dim", 64), width),
    }


def _share(part: int, whole: int) -> float:
    """`part / whole`, so that `int(whole * share)` is `part` again in spite of rounding."""
    share = part / whole
    return share if int(whole * share) == part else math.nextafter(share, 1)


def _write_gptj(values) -> dict:
    check_head_dim(values)
    rotary_dim = int(values["head_dim"] * values["rotary_fraction"])
    return {"n_inner": values["ffn_dim"], "rotary_dim": rotary_dim}


GPTJ = Table(
    model_type="gptj",
    **decoder(
        "GPTJ",
        rules(
            paired(linear("attn.q_proj", "attention/query")),
            paired(linear("attn.k_proj", "attention/key")),
            linear("attn.v_proj", "attention/value"),
            linear("attn.out_proj", "attention/output"),
            linear("mlp.fc_in", "ffn/up"),
            linear("mlp.fc_out", "ffn/down"),
            layer_norm("ln_1", "attention_norm"),
        ),
        layer_norm,
        final_norm="ln_f",
        tokens="wte",
        prefix="transformer.",
        layers="h",
    ),
    values=(
        Value("vocab_size", "vocab_size"),
        Value("n_embd", "hidden_dim"),
        Value("n_layer", "num_layers"),
        Value("n_head", "num_heads"),
        Value("n_positions", "max_length"),
        Value("layer_norm_epsilon", "norm_epsilon", 1e-5),
        Value("resid_pdrop", "dropout", 0.0),
        Value("attn_pdrop", "attention_dropout", 0.0),
        activation("activation_function", default="gelu_new"),
    ),
    fixed={**_FIXED, "attention_bias": False, "rotary_theta": 10_000.0},
    assumed={"tie_word_embeddings": False},
    aliases={
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "max_position_embeddings": "n_positions",
    },
    # Of a head that is not here; what rotary positions a file names beside its type has no effect.
    unused=(
        "summary_type",
        "summary_use_proj",
        "summary_activation",
        "summary_proj_to_labels",
        "scale_attn_weights",
        "rotary",
    ),
    read=_read_gptj,
    write=_write_gptj,
)


PHI = Table(
    model_type="phi",
    **decoder(
        "Phi",
        rules(
            partial(linear("self_attn.q_proj", "attention/query")),
            partial(linear("self_attn.k_proj", "attention/key")),
            linear("self_attn.v_proj", "attention/value"),
            linear("self_attn.dense", "attention/output"),
            partial(layer_norm("self_attn.q_layernorm", "attention/query_norm")),
            partial(layer_norm("self_attn.k_layernorm", "attention/key_norm")),
            linear("mlp.fc1", "ffn/up"),
            linear("mlp.fc2", "ffn/down"),
            layer_norm("input_layernorm", "attention_norm"),
        ),
        layer_norm,
        final_norm="final_layernorm",
    ),
    values=(
        *SIZES,
        Value("layer_norm_eps", "norm_epsilon", 1e-5),
        Value("qk_layernorm", "qk_norm", False),
        Value("resid_pdrop", "dropout", 0.0),
        activation("hidden_act", default="gelu_new"),
    ),
    fixed={**_FIXED, "attention_bias": True},
    assumed={"tie_word_embeddings": False},
    read=lambda config, names: {
        **read_kv_heads(config),
        **read_rotary(config, 10_000.0, partial=True, fraction=0.5),
    },
    write=lambda values: {**write_kv_heads(values), **write_rotary(values, partial=True)},
)
