"""OPT and Galactica: learned positions, the first of which is row 2; OPT-350M is post-norm."""

from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.decoders import check_head_dim, one_of
from modelzoo.weights.tables.shared.sides import attention


def _read(config, names) -> dict:
    before, width = config.get("do_layer_norm_before", True), config.get("word_embed_proj_dim")
    return {
        "embedding_dim": None if width == config["hidden_size"] else width,
        "norm_position": "pre" if before else "post",
        "final_norm": before and not config.get("_remove_final_layer_norm", False),
    }


def _write(values) -> dict:
    check_head_dim(values)
    before = values["norm_position"] == "pre"
    return {
        "word_embed_proj_dim": values["embedding_dim"] or values["hidden_dim"],
        "do_layer_norm_before": before,
        "_remove_final_layer_norm": before and not values["final_norm"],
        "enable_bias": one_of(values, "attention_bias", "ffn_bias"),
        "layer_norm_elementwise_affine": one_of(values, "norm_bias", "norm_scale"),
    }


_DECODER = "model.decoder."
OPT = Table(
    model_type="opt",
    architecture="gpt",
    prefix="model.",
    rules=rules(
        same(f"{_DECODER}embed_tokens.weight", "embedding/tokens/embeddings"),
        same(f"{_DECODER}embed_positions.weight", "embedding/positions/embeddings"),
        linear(f"{_DECODER}project_in", "embedding/projection"),
        linear(f"{_DECODER}project_out", "output_projection"),
        layer_norm(f"{_DECODER}final_layer_norm", "stack/final_norm"),
        linear("lm_head", "head"),
    ),
    layer_rules=rules(
        attention("self_attn", "attention"),
        layer_norm("self_attn_layer_norm", "attention_norm"),
        linear("fc1", "ffn/up"),
        linear("fc2", "ffn/down"),
        layer_norm("final_layer_norm", "ffn_norm"),
        theirs=f"{_DECODER}layers.{{i}}.",
        ours="stack/block_{i}/",
    ),
    values=(
        Value("vocab_size", "vocab_size"),
        Value("hidden_size", "hidden_dim"),
        Value("num_hidden_layers", "num_layers"),
        Value("num_attention_heads", "num_heads"),
        Value("ffn_dim", "ffn_dim"),
        Value("max_position_embeddings", "max_length"),
        Value("dropout", "dropout", 0.1),
        Value("attention_dropout", "attention_dropout", 0.0),
        Value("tie_word_embeddings", "tie_embeddings", True),
        Value("enable_bias", "attention_bias", True),
        Value("enable_bias", "ffn_bias", True),
        Value("layer_norm_elementwise_affine", "norm_bias", True),
        Value("layer_norm_elementwise_affine", "norm_scale", True),
        activation("activation_function", default="relu"),
    ),
    fixed={
        "positions": "learned",
        "position_offset": 2,
        "norm": "layer",
        "norm_epsilon": 1e-5,
        "gated": False,
    },
    heads={
        "causal-lm": Head(
            ("OPTForCausalLM",), copies={"lm_head.weight": f"{_DECODER}embed_tokens.weight"}
        )
    },
    read=_read,
    write=_write,
)
