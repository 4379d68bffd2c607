"""Which argument and which weight of a KerasHub decoder is which of the zoo's `gpt`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelzoo.errors import WeightsError

__all__ = ["CARRIED", "Family"]

# Every value of `gpt` that a family does not state.
_MODERN = {
    "positions": "rotary",
    "rotary_local_theta": None,
    "rotary_scaling": None,
    "attention_pattern": ["global"],
    "sliding_window": None,
    "attention_scale": None,
    "attention_softcap": None,
    "qk_norm": False,
    "norm": "rms",
    "norm_position": "pre",
    "activation": "silu",
    "gated": True,
    "attention_bias": False,
    "attention_output_bias": False,
    "ffn_bias": False,
    "tie_embeddings": False,
    "scale_embeddings": False,
    "logit_softcap": None,
}


@dataclass(frozen=True)
class Family:
    """How one class of KerasHub's maps onto `gpt`.

    Attributes:
        values: the backbone -> our `[model]` values, `max_length` apart.
        weights: our path -> theirs; `{i}` is the layer.
        heads_first: their kernels of query, key and value are (heads, width, head_dim), and not
            (width, heads, head_dim).
    """

    values: Callable[[object], dict]
    weights: Mapping[str, str]
    heads_first: bool = False


# === Weights: our path -> theirs ===

_BLOCK = "stack/block_{i}/"
_GPT2_WEIGHTS = {
    "embedding/tokens/embeddings": "token_embedding/embeddings",
    "embedding/positions/embeddings": "position_embedding/embeddings",
    "stack/final_norm/gamma": "layer_norm/gamma",
    "stack/final_norm/beta": "layer_norm/beta",
    **{
        f"{_BLOCK}{ours}/{part}": f"transformer_layer_{{i}}/{theirs}/{part}"
        for ours, theirs, parts in (
            ("attention/query", "self_attention/query", ("kernel", "bias")),
            ("attention/key", "self_attention/key", ("kernel", "bias")),
            ("attention/value", "self_attention/value", ("kernel", "bias")),
            ("attention/output", "self_attention/attention_output", ("kernel", "bias")),
            ("ffn/up", "feedforward_intermediate_dense", ("kernel", "bias")),
            ("ffn/down", "feedforward_output_dense", ("kernel", "bias")),
            ("attention_norm", "self_attention_layer_norm", ("gamma", "beta")),
            ("ffn_norm", "feedforward_layer_norm", ("gamma", "beta")),
        )
        for part in parts
    },
}
_LLAMA_WEIGHTS = {
    "embedding/tokens/embeddings": "token_embedding/embeddings",
    "head/kernel": "token_embedding/reverse_embeddings",
    "stack/final_norm/scale": "sequence_output_layernorm/scale",
    **{
        f"{_BLOCK}{ours}": f"transformer_layer_{{i}}/{theirs}"
        for ours, theirs in (
            ("attention/query/kernel", "self_attention/query/kernel"),
            ("attention/query/bias", "self_attention/query/bias"),
            ("attention/key/kernel", "self_attention/key/kernel"),
            ("attention/key/bias", "self_attention/key/bias"),
            ("attention/value/kernel", "self_attention/value/kernel"),
            ("attention/value/bias", "self_attention/value/bias"),
            ("attention/output/kernel", "self_attention/attention_output/kernel"),
            ("attention/query_norm/scale", "self_attention/query_dense_layernorm/scale"),
            ("attention/key_norm/scale", "self_attention/key_dense_layernorm/scale"),
            ("ffn/gate/kernel", "feedforward_gate_dense/kernel"),
            ("ffn/up/kernel", "feedforward_intermediate_dense/kernel"),
            ("ffn/down/kernel", "feedforward_output_dense/kernel"),
            ("attention_norm/scale", "self_attention_layernorm/scale"),
            ("ffn_norm/scale", "feedforward_layernorm/scale"),
        )
    },
}
_GEMMA_WEIGHTS = {
    "embedding/tokens/embeddings": "token_embedding/embeddings",
    "stack/final_norm/scale": "final_normalization/scale",
    **{
        f"{_BLOCK}{ours}": f"decoder_block_{{i}}/{theirs}"
        for ours, theirs in (
            ("attention/query/kernel", "attention/query/kernel"),
            ("attention/key/kernel", "attention/key/kernel"),
            ("attention/value/kernel", "attention/value/kernel"),
            ("attention/output/kernel", "attention/attention_output/kernel"),
            ("attention/query_norm/scale", "attention/query_norm/scale"),
            ("attention/key_norm/scale", "attention/key_norm/scale"),
            ("ffn/gate/kernel", "ffw_gating/kernel"),
            ("ffn/up/kernel", "ffw_gating_2/kernel"),
            ("ffn/down/kernel", "ffw_linear/kernel"),
            ("attention_norm/scale", "pre_attention_norm/scale"),
            ("attention_post_norm/scale", "post_attention_norm/scale"),
            ("ffn_norm/scale", "pre_ffw_norm/scale"),
            ("ffn_post_norm/scale", "post_ffw_norm/scale"),
        )
    },
}


# === Values: KerasHub's backbone -> our `[model]` table ===


def _gpt2(hub) -> dict:
    return {
        **_MODERN,
        "vocab_size": hub.vocabulary_size,
        "num_layers": hub.num_layers,
        "hidden_dim": hub.hidden_dim,
        "num_heads": hub.num_heads,
        "num_kv_heads": None,
        "head_dim": None,
        "ffn_dim": hub.intermediate_dim,
        "max_length": hub.max_sequence_length,
        "positions": "learned",
        "norm": "layer",
        "norm_epsilon": 1e-5,
        "activation": "gelu_tanh",
        "gated": False,
        "attention_bias": True,
        "attention_output_bias": True,
        "ffn_bias": True,
        "tie_embeddings": True,
        "dropout": float(hub.dropout),
        "attention_dropout": float(hub.dropout),
    }


def _llama(hub) -> dict:
    return {
        **_MODERN,
        **_grouped(hub),
        "rotary_theta": float(hub.rope_max_wavelength),
        "rotary_scaling": _llama_scaling(hub),
        "norm_epsilon": float(hub.layer_norm_epsilon),
        "tie_embeddings": bool(hub.tie_word_embeddings),
    }


def _llama_scaling(hub) -> dict | None:
    if hub.rope_position_scaling_factor != 1:
        raise WeightsError(
            "this Llama has a rope_position_scaling_factor, which KerasHub stores and does not "
            "apply: the two models would differ",
            next_step="open the original checkpoint: modelzoo build hf://owner/name",
        )
    if hub.rope_frequency_adjustment_factor is None:
        return None
    return {
        "type": "llama3",
        "factor": float(hub.rope_frequency_adjustment_factor),
        "low_freq_factor": float(hub.rope_low_freq_factor),
        "high_freq_factor": float(hub.rope_high_freq_factor),
        "original_max_length": int(hub.rope_pretraining_sequence_length),
    }


def _qwen(hub) -> dict:
    window = hub.sliding_window_size if hub.use_sliding_window_attention else None
    return {
        **_MODERN,
        **_grouped(hub),
        **_window(window),
        "rotary_theta": float(hub.rope_max_wavelength),
        "rotary_scaling": _linear(hub.rope_scaling_factor),
        "norm_epsilon": float(hub.layer_norm_epsilon),
        "attention_bias": True,
        "tie_embeddings": bool(hub.tie_word_embeddings),
    }


def _qwen3(hub) -> dict:
    return {
        **_MODERN,
        **_grouped(hub),
        **_window(hub.sliding_window_size),
        "head_dim": hub.head_dim,
        "rotary_theta": float(hub.rope_max_wavelength),
        "rotary_scaling": _linear(hub.rope_scaling_factor),
        "norm_epsilon": float(hub.layer_norm_epsilon),
        "qk_norm": True,
        "tie_embeddings": bool(hub.tie_word_embeddings),
    }


def _mistral(hub) -> dict:
    return {
        **_MODERN,
        **_grouped(hub),
        **_window(hub.sliding_window),
        "head_dim": hub.head_dim,
        "rotary_theta": float(hub.rope_max_wavelength),
        "rotary_scaling": _linear(hub.rope_scaling_factor),
        "norm_epsilon": float(hub.layer_norm_epsilon),
    }


def _gemma(hub) -> dict:
    if hub.layer_norm_epsilon != 1e-6:
        raise WeightsError("KerasHub's blocks keep 1e-6 whatever layer_norm_epsilon says")
    if bool(hub.use_post_ffw_norm) != bool(hub.use_post_attention_norm):
        raise WeightsError("a norm after one sublayer and not after the other is not in the core")
    return {
        **_MODERN,
        **_grouped(hub),
        "head_dim": hub.head_dim,
        "ffn_dim": hub.intermediate_dim // 2,  # KerasHub counts both halves of the gate
        **_window(
            hub.sliding_window_size if hub.use_sliding_window_attention else None,
            ["local", "global"],
        ),
        "rotary_theta": 10_000.0,
        "norm": "rms_unit_offset",
        "norm_position": "sandwich" if hub.use_post_ffw_norm else "pre",
        "norm_epsilon": 1e-6,
        "activation": "gelu_tanh",
        "attention_softcap": _float(hub.attention_logit_soft_cap),
        "logit_softcap": _float(hub.final_logit_soft_cap),
        "tie_embeddings": True,
        "scale_embeddings": True,
    }


def _gemma3(hub) -> dict:
    if hub.vision_encoder is not None or hub.is_embedding_model or hub.use_bidirectional_attention:
        raise WeightsError("a Gemma 3 that sees images or reads both ways is not in the core")
    windows = bool(hub.use_sliding_window_attention)
    if windows and hub.local_rope_scaling_factor != 1:
        raise WeightsError("the core stretches the positions of global layers only")
    return {
        **_gemma(hub),
        "ffn_dim": hub.intermediate_dim,
        **_window(hub.sliding_window_size if windows else None, ["local"] * 5 + ["global"]),
        "rotary_theta": 1_000_000.0,
        "rotary_local_theta": 10_000.0 if windows else None,
        "rotary_scaling": _linear(hub.global_rope_scaling_factor),
        "qk_norm": bool(hub.use_query_key_norm),
    }


def _grouped(hub) -> dict:
    """The sizes that every family with grouped queries names alike."""
    return {
        "vocab_size": hub.vocabulary_size,
        "num_layers": hub.num_layers,
        "hidden_dim": hub.hidden_dim,
        "num_heads": hub.num_query_heads,
        "num_kv_heads": hub.num_key_value_heads,
        "head_dim": None,
        "ffn_dim": hub.intermediate_dim,
        "dropout": float(hub.dropout),
        "attention_dropout": 0.0,
    }


def _window(size: int | None, pattern: list[str] | None = None) -> dict:
    if not size:
        return {}
    return {"attention_pattern": pattern or ["local"], "sliding_window": int(size)}


def _linear(factor: float) -> dict | None:
    return None if factor in (1, None) else {"type": "linear", "factor": float(factor)}


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


CARRIED = {
    "GPT2Backbone": Family(_gpt2, _GPT2_WEIGHTS),
    "LlamaBackbone": Family(_llama, _LLAMA_WEIGHTS),
    "Llama3Backbone": Family(_llama, _LLAMA_WEIGHTS),
    "MistralBackbone": Family(_mistral, _LLAMA_WEIGHTS),
    "QwenBackbone": Family(_qwen, _LLAMA_WEIGHTS),
    "Qwen3Backbone": Family(_qwen3, _LLAMA_WEIGHTS),
    "GemmaBackbone": Family(_gemma, _GEMMA_WEIGHTS, heads_first=True),
    "Gemma3Backbone": Family(_gemma3, _GEMMA_WEIGHTS, heads_first=True),
}
