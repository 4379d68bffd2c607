"""Llama and its relatives: SmolLM2, Qwen2, Qwen3, Gemma 3. Rotary positions, RMSNorm, gated."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import (
    ACTIVATIONS,
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
    read_full_layers,
    read_layers,
    read_rotary,
    write_layers,
    write_rotary,
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
}


def read_heads(config) -> dict:
    """`num_kv_heads` and `head_dim`, which their files may leave out."""
    heads = config["num_attention_heads"]
    return {
        "num_kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or config["hidden_size"] // heads,
    }


def write_heads(values) -> dict:
    return {"num_key_value_heads": values["num_kv_heads"], "head_dim": values["head_dim"]}


def _decoder(layer_norms: tuple[Rule, ...], family: str) -> dict:
    return {
        "architecture": "gpt",
        "prefix": "model.",
        "rules": rules(
            same("model.embed_tokens.weight", "embedding/tokens/embeddings"),
            rms_norm("model.norm", "stack/final_norm"),
            linear("lm_head", "head"),
        ),
        "layer_rules": rules(
            SUBLAYERS, layer_norms, theirs="model.layers.{i}.", ours="stack/block_{i}/"
        ),
        "heads": {
            "causal-lm": Head(
                (f"{family}ForCausalLM",), copies={"lm_head.weight": "model.embed_tokens.weight"}
            )
        },
        "ignored": (r".*rotary_emb\.inv_freq",),
    }


# A window that `use_sliding_window` = false switches off.
_WINDOW = ("sliding_window", "max_window_layers")


def _read(config, names) -> dict:
    return {**read_heads(config), **read_rotary(config, 10_000.0)}


def _read_full(config, names) -> dict:
    return {**_read(config, names), **read_full_layers(config)}


LLAMA = Table(
    model_type="llama",
    **_decoder(PRE_NORMS, "Llama"),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", False),
        Value("attention_bias", "attention_bias", False),
        Value("mlp_bias", "ffn_bias", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={key: value for key, value in FIXED.items() if key != "ffn_bias"},
    read=_read,
    write=lambda values: {**write_heads(values), **write_rotary(values)},
)

QWEN2 = Table(
    model_type="qwen2",
    **_decoder(PRE_NORMS, "Qwen2"),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={**FIXED, "attention_bias": True, "attention_output_bias": False},
    assumed={"use_sliding_window": False},
    unused=_WINDOW,
    read=_read_full,
    write=lambda values: {**write_heads(values), **write_rotary(values)},
)

QWEN3 = Table(
    model_type="qwen3",
    **_decoder(PRE_NORMS, "Qwen3"),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", False),
        Value("attention_bias", "attention_bias", False),
        activation("hidden_act", default="silu"),
    ),
    fixed={**FIXED, "qk_norm": True},
    assumed={"use_sliding_window": False},
    unused=_WINDOW,
    read=_read_full,
    write=lambda values: {**write_heads(values), **write_rotary(values)},
)


_GEMMA_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", **ACTIVATIONS}


def _read_gemma(config, names) -> dict:
    named = config.get("sliding_window_pattern"), config.get("_sliding_window_pattern")
    pattern = named[0] or named[1] or 6
    if config.get("use_bidirectional_attention"):
        raise WeightsError("a Gemma 3 that looks both ways is not supported")
    return {
        **read_heads(config),
        **read_layers(config, 1_000_000.0, 10_000.0, ["local"] * (pattern - 1) + ["global"]),
        "attention_scale": float(config.get("query_pre_attn_scalar", 256)) ** -0.5,
    }


def _write_gemma(values) -> dict:
    return {
        **write_heads(values),
        **write_layers(values),
        "query_pre_attn_scalar": round(values["attention_scale"] ** -2),
    }


GEMMA3 = Table(
    model_type="gemma3_text",
    **_decoder(
        rules(
            rms_norm("post_attention_layernorm", "attention_post_norm"),
            rms_norm("pre_feedforward_layernorm", "ffn_norm"),
            rms_norm("post_feedforward_layernorm", "ffn_post_norm"),
        ),
        "Gemma3",
    ),
    values=(
        *SIZES,
        Value("tie_word_embeddings", "tie_embeddings", True),
        Value("sliding_window", "sliding_window", 4096),
        Value("final_logit_softcapping", "logit_softcap", None),
        activation("hidden_activation", _GEMMA_ACTIVATIONS, "gelu_pytorch_tanh"),
    ),
    fixed={
        **FIXED,
        "norm": "rms_unit_offset",
        "norm_position": "sandwich",
        "qk_norm": True,
        "attention_bias": False,
        "scale_embeddings": True,
    },
    assumed={"attention_bias": False, "attn_logit_softcapping": None},
    read=_read_gemma,
    write=_write_gemma,
)
