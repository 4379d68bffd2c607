"""StarCoder, GPT-2 with one head of keys, and StarCoder 2, with rotary positions and a window."""

from dataclasses import replace

from modelzoo.errors import WeightsError
from modelzoo.weights.table import (
    ACTIVATIONS,
    Table,
    Value,
    activation,
    fused,
    layer_norm,
    linear,
    rules,
)
from modelzoo.weights.tables.gpt2 import GPT2
from modelzoo.weights.tables.shared.decoders import (
    ATTENTION,
    SIZES,
    check_head_dim,
    decoder,
    one_of,
    read_kv_heads,
    write_kv_heads,
)
from modelzoo.weights.tables.shared.rotary import read_rotary, write_rotary

# The first of equals is written.
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", **ACTIVATIONS}


def _read_bigcode(config, names) -> dict:
    heads = 1 if config.get("multi_query", True) else config["n_head"]
    return {"num_kv_heads": heads, "ffn_dim": config.get("n_inner") or 4 * config["n_embd"]}


def _write_bigcode(values) -> dict:
    check_head_dim(values)
    if values["num_kv_heads"] not in (1, values["num_heads"]):
        raise WeightsError("a gpt_bigcode has one head of keys, or as many as of queries")
    return {"multi_query": values["num_kv_heads"] == 1, "n_inner": values["ffn_dim"]}


GPT_BIGCODE = replace(
    GPT2,
    model_type="gpt_bigcode",
    layer_rules=rules(
        layer_norm("ln_1", "attention_norm"),
        fused("attn.c_attn", "attention"),
        linear("attn.c_proj", "attention/output"),
        layer_norm("ln_2", "ffn_norm"),
        linear("mlp.c_fc", "ffn/up"),
        linear("mlp.c_proj", "ffn/down"),
        theirs="transformer.h.{i}.",
        ours="stack/block_{i}/",
    ),
    values=(
        *(value for value in GPT2.values if value.ours != "activation"),
        activation("activation_function", _ACTIVATIONS, "gelu_pytorch_tanh"),
    ),
    assumed={"scale_attn_weights": True, "add_cross_attention": False, "tie_word_embeddings": True},
    heads={"causal-lm": replace(GPT2.heads["causal-lm"], classes=("GPTBigCodeForCausalLM",))},
    # What multi_query says; in which precision a softmax is computed; how an early version ran.
    unused=(
        *GPT2.unused,
        "num_key_value_heads",
        "attention_softmax_in_fp32",
        "scale_attention_softmax_in_fp32",
        "inference_runner",
        "validate_runner_input",
        "pre_allocate_kv_cache",
        "max_sequence_length",
        "max_batch_size",
        "pad_key_length",
    ),
    read=_read_bigcode,
    write=_write_bigcode,
)


def _read_starcoder2(config, names) -> dict:
    window = config.get("sliding_window")
    return {
        **read_kv_heads(config),
        **read_rotary(config, 10_000.0),
        "attention_pattern": ["local" if window else "global"],
        "sliding_window": window,
    }


def _write_starcoder2(values) -> dict:
    kinds = set(values["attention_pattern"])
    if len(kinds) > 1 or values["rotary_local_theta"] != values["rotary_theta"]:
        raise WeightsError("a starcoder2 has one kind of layers")
    return {
        **write_kv_heads(values),
        **write_rotary(values),
        "sliding_window": values["sliding_window"] if kinds == {"local"} else None,
        "use_bias": one_of(values, "attention_bias", "ffn_bias"),
    }


STARCODER2 = Table(
    model_type="starcoder2",
    **decoder(
        "Starcoder2",
        rules(
            ATTENTION,
            linear("mlp.c_fc", "ffn/up"),
            linear("mlp.c_proj", "ffn/down"),
            layer_norm("input_layernorm", "attention_norm"),
            layer_norm("post_attention_layernorm", "ffn_norm"),
        ),
        layer_norm,
    ),
    values=(
        *SIZES,
        Value("norm_epsilon", "norm_epsilon", 1e-5),
        Value("residual_dropout", "dropout", 0.0),
        Value("use_bias", "attention_bias", True),
        Value("use_bias", "ffn_bias", True),
        Value("tie_word_embeddings", "tie_embeddings", True),
        activation("hidden_act", _ACTIVATIONS, "gelu_pytorch_tanh"),
    ),
    fixed={"positions": "rotary", "norm": "layer", "gated": False},
    # The two say again what the others do.
    unused=("activation_function", "mlp_type", "norm_type"),
    read=_read_starcoder2,
    write=_write_starcoder2,
)
