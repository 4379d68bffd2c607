"""GPT-2 and GPT-1: dense layers stored as (in, out), query, key and value in one matrix."""

from functools import partial

from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, rules, same
from modelzoo.weights.table import linear as _linear

linear = partial(_linear, transpose=False)

_LAYER = rules(
    layer_norm("ln_1", "attention_norm"),
    linear("attn.c_attn", "attention/query", "attention/key", "attention/value"),
    linear("attn.c_proj", "attention/output"),
    layer_norm("ln_2", "ffn_norm"),
    linear("mlp.c_fc", "ffn/up"),
    linear("mlp.c_proj", "ffn/down"),
    theirs="transformer.h.{i}.",
    ours="stack/block_{i}/",
)
_SIZES = (
    Value("vocab_size", "vocab_size"),
    Value("n_embd", "hidden_dim"),
    Value("n_layer", "num_layers"),
    Value("n_head", "num_heads"),
    Value("n_positions", "max_length"),
    Value("layer_norm_epsilon", "norm_epsilon", 1e-5),
    Value("resid_pdrop", "dropout", 0.1),
    Value("attn_pdrop", "attention_dropout", 0.1),
)
_FIXED = {"positions": "learned", "norm": "layer", "gated": False, "tie_embeddings": True}
_ALIASES = {
    "hidden_size": "n_embd",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
    "max_position_embeddings": "n_positions",
    "n_ctx": "n_positions",
}
# Of a head that is not here, and how half precision is kept from overflowing.
_UNUSED = (
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_proj_to_labels",
    "reorder_and_upcast_attn",
    "n_special",
    "predict_special_tokens",
    "n_ctx",
)
_IGNORED = (r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)", r"(transformer\.)?position_ids")

GPT2 = Table(
    model_type="gpt2",
    architecture="gpt",
    prefix="transformer.",
    rules=rules(
        same("wte.weight", "embedding/tokens/embeddings"),
        same("wpe.weight", "embedding/positions/embeddings"),
        layer_norm("ln_f", "stack/final_norm"),
        theirs="transformer.",
    ),
    layer_rules=_LAYER,
    values=(*_SIZES, activation("activation_function", default="gelu_new")),
    fixed={**_FIXED, "norm_position": "pre"},
    assumed={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    heads={
        "causal-lm": Head(("GPT2LMHeadModel",), copies={"lm_head.weight": "transformer.wte.weight"})
    },
    ignored=_IGNORED,
    aliases=_ALIASES,
    unused=_UNUSED,
    read=lambda config, names: {"ffn_dim": config.get("n_inner") or 4 * config["n_embd"]},
    write=lambda values: {"n_inner": values["ffn_dim"]},
)

OPENAI_GPT = Table(
    model_type="openai-gpt",
    architecture="gpt",
    prefix="transformer.",
    rules=rules(
        same("tokens_embed.weight", "embedding/tokens/embeddings"),
        same("positions_embed.weight", "embedding/positions/embeddings"),
        theirs="transformer.",
    ),
    layer_rules=_LAYER,
    # Their "gelu" is the tanh approximation in this model type.
    values=(*_SIZES, activation("afn", {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu"})),
    fixed={**_FIXED, "norm_position": "post"},
    heads={
        "causal-lm": Head(
            ("OpenAIGPTLMHeadModel",), copies={"lm_head.weight": "transformer.tokens_embed.weight"}
        )
    },
    ignored=_IGNORED,
    aliases=_ALIASES,
    unused=_UNUSED,
    neutral={"tie_word_embeddings": True},
    read=lambda config, names: {"ffn_dim": 4 * config["n_embd"]},
)
