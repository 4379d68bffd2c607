"""Llama and its nearest relatives: SmolLM2, Qwen2, Qwen3. Rotary positions, RMSNorm, gated."""

import math

from modelzoo.errors import WeightsError
from modelzoo.weights.table import (
    Head,
    Rule,
    Table,
    Value,
    activation,
    linear,
    rms_norm,
    rules,
    same,
)
from modelzoo.weights.tables.shared.rotary import (
    read_rotary,
    read_windows,
    write_full_layers,
    write_rotary,
    write_windows,
)

SUBLAYERS = rules(
    linear("self_attn.q_proj", "attention/query"),
    linear("self_attn.k_proj", "attention/key"),
    linear("self_attn.v_proj", "attention/value"),
    linear("self_attn.o_proj", "attention/output"),
    rms_norm("self_attn.q_norm", "attention/query_norm"),
    rms_norm("self_attn.k_norm", "attention/key_norm"),
    linear("mlp.gate_proj", "ffn/gate"),
    linear("mlp.up_proj", "ffn/up"),
    linear("mlp.down_proj", "ffn/down"),
    rms_norm("input_layernorm", "attention_norm"),
)
PRE_NORMS = rules(rms_norm("post_attention_layernorm", "ffn_norm"))
SIZES = (
    Value("vocab_size", "vocab_size"),
    Value("hidden_size", "hidden_dim"),
    Value("num_hidden_layers", "num_layers"),
    Value("num_attention_heads", "num_heads"),
    Value("intermediate_size", "ffn_dim"),
    Value("max_position_embeddings", "max_length"),
    Value("rms_norm_eps", "norm_epsilon", 1e-6),
    Value("attention_dropout", "attention_dropout", 0.0),
)
FIXED = {
    "positions": "rotary",
    "norm": "rms",
    "norm_position": "pre",
    "gated": True,
    "dropout": 0.0,
    "qk_norm": False,
    "ffn_bias": False,
    "scale_embeddings": False,
    "attention_softcap": None,
    "logit_softcap": None,
}


def read_heads(config, kv_heads: int | None = None, head_dim: int | None = None) -> dict:
    """`num_kv_heads` and `head_dim`, which their files may leave out.

    Args:
        kv_heads, head_dim: what a model type has then; default: a key for each query, and the
            width of a head that follows from `hidden_size`.
    """
    heads = config["num_attention_heads"]
    return {
        "num_kv_heads": config.get("num_key_value_heads", kv_heads) or heads,
        "head_dim": config.get("head_dim", head_dim) or config["hidden_size"] // heads,
    }


def write_heads(values, *, scaled: bool = False) -> dict:
    """
    Raises:
        WeightsError: the attention scores have a scale of their own, unless `scaled`.
    """
    scale = values.get("attention_scale")
    if scale and not scaled and not math.isclose(scale, values["head_dim"] ** -0.5, rel_tol=1e-6):
        raise WeightsError(f"this model has attention_scale = {scale}")
    return {"num_key_value_heads": values["num_kv_heads"], "head_dim": values["head_dim"]}


def decoder(
    layer_norms: tuple[Rule, ...], family: str, sublayers: tuple[Rule, ...] = SUBLAYERS
) -> dict:
    """What the tables of a Llama's relatives share: names, head, and the rules of the weights."""
    return {
        "architecture": "gpt",
        "prefix": "model.",
        "rules": rules(
            same("model.embed_tokens.weight", "embedding/tokens/embeddings"),
            rms_norm("model.norm", "stack/final_norm"),
            linear("lm_head", "head"),
        ),
        "layer_rules": rules(
            sublayers, layer_norms, theirs="model.layers.{i}.", ours="stack/block_{i}/"
        ),
        "heads": {
            "causal-lm": Head(
                (f"{family}ForCausalLM",), copies={"lm_head.weight": "model.embed_tokens.weight"}
            )
        },
        "ignored": (r".*rotary_emb\.inv_freq",),
    }


# A window that `use_sliding_window` = false switches off.
WINDOW = ("sliding_window", "max_window_layers")


def _read(config, names) -> dict:
    return {**read_heads(config), **read_rotary(config, 10_000.0)}


def _write(values) -> dict:
    return {**write_heads(values), **write_rotary(values), **write_full_layers(values)}


def read_qwen(config, names) -> dict:
    """Global layers first, and from `max_window_layers` on local ones, if those are switched on."""
    used, layers = bool(config.get("use_sliding_window")), config["num_hidden_layers"]
    first_local = layers
    if used and config.get("sliding_window") is not None:
        first_local = config.get("max_window_layers", 28)
    kinds = ["global" if i < first_local else "local" for i in range(layers)]
    return {**_read(config, names), **read_windows(config, kinds, used=used)}


def write_qwen(values) -> dict:
    own = {**write_heads(values), **write_rotary(values)}
    windows = write_windows(values)
    kinds = windows["layer_types"]
    if "sliding_attention" not in kinds:
        return {**own, "use_sliding_window": False}
    found = {**own, **windows, "use_sliding_window": True}
    first_local = kinds.index("sliding_attention")
    if "full_attention" not in kinds[first_local:]:  # what transformers reads before version 4.53
        found["max_window_layers"] = first_local
    return found


LLAMA = Table(
    model_type="llama",
    **decoder(PRE_NORMS, "Llama"),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", False),
        Value("attention_bias", "attention_bias", False),
        Value("mlp_bias", "ffn_bias", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={key: value for key, value in FIXED.items() if key != "ffn_bias"},
    read=_read,
    write=_write,
)

QWEN2 = Table(
    model_type="qwen2",
    **decoder(PRE_NORMS, "Qwen2"),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={**FIXED, "attention_bias": True, "attention_output_bias": False},
    unused=WINDOW,
    read=read_qwen,
    write=write_qwen,
)

QWEN3 = Table(
    model_type="qwen3",
    **decoder(PRE_NORMS, "Qwen3"),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", False),
        Value("attention_bias", "attention_bias", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={**FIXED, "qk_norm": True},
    unused=WINDOW,
    read=read_qwen,
    write=write_qwen,
)
