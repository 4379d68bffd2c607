"""GPT-NeoX and Pythia: attention and feed-forward in parallel, one matrix for a head's three."""

from modelzoo.weights.table import Table, Value, activation, fused, layer_norm, linear, rules
from modelzoo.weights.tables.shared.decoders import SIZES, check_head_dim, decoder
from modelzoo.weights.tables.shared.rotary import read_rotary, write_rotary


def _read(config, names) -> dict:
    base, share = config.get("rotary_emb_base"), config.get("rotary_pct")
    return read_rotary(config, base or 10_000.0, partial=True, fraction=share or 0.25)


def _write(values) -> dict:
    check_head_dim(values)
    # The last two are what transformers read before version 5.
    return {
        **write_rotary(values, partial=True),
        "rotary_pct": values["rotary_fraction"],
        "rotary_emb_base": values["rotary_theta"],
    }


GPT_NEOX = Table(
    model_type="gpt_neox",
    **decoder(
        "GPTNeoX",
        rules(
            fused("attention.query_key_value", "attention", partial=True),
            linear("attention.dense", "attention/output"),
            linear("mlp.dense_h_to_4h", "ffn/up"),
            linear("mlp.dense_4h_to_h", "ffn/down"),
            layer_norm("input_layernorm", "attention_norm"),
            layer_norm("post_attention_layernorm", "ffn_norm"),
        ),
        layer_norm,
        final_norm="final_layer_norm",
        tokens="embed_in",
        prefix="gpt_neox.",
        head="embed_out",
    ),
    values=(
        *SIZES,
        Value("layer_norm_eps", "norm_epsilon", 1e-5),
        Value("tie_word_embeddings", "tie_embeddings", False),
        Value("attention_bias", "attention_bias", True),
        Value("use_parallel_residual", "parallel_residual", True),
        Value("hidden_dropout", "dropout", 0.0),
        activation("hidden_act", default="gelu"),
    ),
    fixed={"positions": "rotary", "norm": "layer", "gated": False},
    unused=("is_decoder",),
    read=_read,
    write=_write,
)
