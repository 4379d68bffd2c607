"""What most decoders of Hugging Face have in common: names of layers, and keys of sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Rule, Value, linear, rules, same

ATTENTION = rules(
    linear("self_attn.q_proj", "attention/query"),
    linear("self_attn.k_proj", "attention/key"),
    linear("self_attn.v_proj", "attention/value"),
    linear("self_attn.o_proj", "attention/output"),
)
GATED = rules(
    linear("mlp.gate_proj", "ffn/gate"),
    linear("mlp.up_proj", "ffn/up"),
    linear("mlp.down_proj", "ffn/down"),
)
SIZES = (
    Value("vocab_size", "vocab_size"),
    Value("hidden_size", "hidden_dim"),
    Value("num_hidden_layers", "num_layers"),
    Value("num_attention_heads", "num_heads"),
    Value("intermediate_size", "ffn_dim"),
    Value("max_position_embeddings", "max_length"),
    Value("attention_dropout", "attention_dropout", 0.0),
)
# Buffers that older versions of `transformers` wrote.
IGNORED = (r".*rotary_emb\.inv_freq", r".*attn(ention)?\.(masked_)?bias")


def decoder(
    family: str,
    layer: Iterable[Rule],
    norm: Callable[[str, str], list[Rule]],
    final_norm: str = "norm",
    tokens: str = "embed_tokens",
    prefix: str = "model.",
    layers: str = "layers",
    head: str = "lm_head",
) -> dict[str, Any]:
    """The parts of a `Table` for `{family}ForCausalLM` that say its weights.

    Args:
        layer: the rules of a layer, without the names before it on either side.
        norm: makes the rules of the final norm.
        final_norm, tokens, layers: their names, after the prefix.
        head: their name of an untied head.
    """
    table = f"{prefix}{tokens}.weight"
    return {
        "architecture": "gpt",
        "prefix": prefix,
        "rules": rules(
            same(table, "embedding/tokens/embeddings"),
            norm(f"{prefix}{final_norm}", "stack/final_norm"),
            linear(head, "head"),
        ),
        "layer_rules": rules(layer, theirs=f"{prefix}{layers}.{{i}}.", ours="stack/block_{i}/"),
        "heads": {"causal-lm": Head((f"{family}ForCausalLM",), copies={f"{head}.weight": table})},
        "ignored": IGNORED,
    }


def no_norm(theirs: str, ours: str) -> list[Rule]:
    """Of a norm without weights."""
    return []


def read_kv_heads(config: Mapping) -> dict[str, int]:
    """`num_kv_heads`, which their files may leave out."""
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    return {"num_kv_heads": heads}


def write_kv_heads(values: Mapping) -> dict[str, int]:
    """The same in their words, of a type whose heads share out the width.

    Raises:
        WeightsError: the heads have another width.
    """
    check_head_dim(values)
    return {"num_key_value_heads": values["num_kv_heads"]}


def check_head_dim(values: Mapping) -> None:
    """
    Raises:
        WeightsError: `head_dim` is not `hidden_dim / num_heads`, and no key of theirs says it.
    """
    if values["head_dim"] * values["num_heads"] != values["hidden_dim"]:
        raise WeightsError("its heads share out hidden_dim, and this model has another head_dim")


def one_of(values: Mapping, *keys: str) -> Any:
    """The value that several keys of ours have, for one key of theirs.

    Raises:
        WeightsError: they differ.
    """
    if len({values[key] for key in keys}) > 1:
        raise WeightsError(f"it has one value for {' and '.join(keys)}, and this model two")
    return values[keys[0]]
