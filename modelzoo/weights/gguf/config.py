"""A Hugging Face `config.json` from the metadata of a GGUF file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelzoo.errors import WeightsError
from modelzoo.weights.gguf.names import ARCHITECTURES, Architecture
from modelzoo.weights.keys import not_read

if TYPE_CHECKING:
    from modelzoo.weights.gguf.file import GgufFile

__all__ = ["derive_config", "find_architecture"]

_REQUIRED = object()
# Repeated elsewhere in the file, or of how it was made.
_UNUSED = (
    "vocab_size",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_log_multiplier",
    "tensor_data_layout",
)
# At these values they change nothing; llama.cpp writes most of them for every model.
_NEUTRAL = {
    "attention.causal": True,
    "attention.max_alibi_bias": 0.0,
    "attention.clamp_kqv": 0.0,
    "attention.scale": 0.0,
    "expert_used_count": 0,
    "logit_scale": 1.0,
    "residual_scale": 1.0,
    "embedding_scale": 1.0,
    "rope.scaling.attn_factor": 1.0,
    "rope.scaling.factor": 1.0,
    "rope.scaling.type": "none",
}
_CONVERT = "convert the model to GGUF again with a current llama.cpp"
_TOKEN_IDS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}
# GGUF keeps neither, and every Gemma 3 has them: five local layers, one global.
_GEMMA3_PATTERN, _GEMMA3_LOCAL_THETA = 6, 10_000.0
_GEMMA3_27B_LAYERS = 62
# What every Llama 3 was scaled with; GGUF keeps only the factors that come out.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
_LLAMA3_CONTEXT = 8192


def find_architecture(file: GgufFile) -> tuple[str, Architecture]:
    """(GGUF's name, table) of the architecture of a file.

    Raises:
        WeightsError: it is not named, or not known here.
    """
    name = _Metadata(file, "general").get("architecture", str)
    if name not in ARCHITECTURES:
        raise WeightsError(
            f"GGUF files of the architecture {name!r} cannot be read; those that can: "
            f"{', '.join(ARCHITECTURES)}",
            where=f"{file.path}: general.architecture",
            next_step="take a model of one of these architectures",
        )
    return name, ARCHITECTURES[name]


def derive_config(file: GgufFile, name: str, architecture: Architecture) -> dict[str, Any]:
    """The `config.json` of a file, under the keys of its `model_type`.

    Raises:
        WeightsError: a metadata key is missing, of the wrong type, or asks for what Hugging Face's
            model cannot do.
    """
    metadata = _Metadata(file, name)
    config = {"model_type": architecture.model_type, "architectures": [architecture.class_name]}
    config["vocab_size"] = _vocab_size(file)
    if name == "gpt2":
        config |= _gpt2(metadata)
    else:
        config |= _decoder(metadata, name)
        config |= _gemma3(metadata, config) if name == "gemma3" else {"hidden_act": "silu"}
    metadata.check_rest()
    # llama.cpp writes the output projection only where it is not the embedding matrix.
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    for key, theirs in _TOKEN_IDS.items():
        if theirs in file.metadata:
            config[key] = _Metadata(file, "tokenizer").get(theirs.partition(".")[2], int)
    return config


def _gpt2(metadata: _Metadata) -> dict[str, Any]:
    context = metadata.count("context_length")
    return {
        "n_positions": context,
        "n_ctx": context,
        "n_embd": metadata.count("embedding_length"),
        "n_layer": metadata.count("block_count"),
        "n_head": metadata.count("attention.head_count"),
        "n_inner": metadata.count("feed_forward_length"),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": metadata.get("attention.layer_norm_epsilon", float),
    }


def _decoder(metadata: _Metadata, name: str) -> dict[str, Any]:
    tensors = metadata.file.tensors
    if metadata.get("expert_count", int, 0):
        raise metadata.wrong("expert_count", "mixtures of experts cannot be read")
    width, heads = metadata.count("embedding_length"), metadata.count("attention.head_count")
    rotary = metadata.get("rope.dimension_count", int, None)
    head_dim = metadata.get("attention.key_length", int, rotary or width // heads)
    if metadata.get("attention.value_length", int, head_dim) != head_dim:
        raise metadata.wrong("attention.value_length", f"keys have the length {head_dim}")
    if rotary not in (None, head_dim):
        raise metadata.wrong("rope.dimension_count", f"whole heads of {head_dim} are rotated here")
    config = {
        "hidden_size": width,
        "num_hidden_layers": metadata.count("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.count("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "intermediate_size": metadata.count("feed_forward_length"),
        "max_position_embeddings": metadata.count("context_length"),
        "rms_norm_eps": metadata.get("attention.layer_norm_rms_epsilon", float),
        # llama.cpp's own default, which older files of Llama count on.
        "rope_theta": metadata.get("rope.freq_base", float, 10_000.0),
        "rope_scaling": _rope_scaling(metadata),
        "sliding_window": metadata.get("attention.sliding_window", int, None) or None,
    }
    if name != "qwen2":  # its biases are not a choice
        config["attention_bias"] = "blk.0.attn_q.bias" in tensors
    if name.startswith("qwen") and config["sliding_window"]:
        raise WeightsError(
            f"a {name} with a sliding window in some of its layers is not read from GGUF, which "
            "does not say which ones",
            where=f"{metadata.file.path}: {name}.attention.sliding_window",
            next_step="take the model in Hugging Face's layout",
        )
    if name == "llama":
        config["mlp_bias"] = "blk.0.ffn_gate.bias" in tensors
    return config


def _gemma3(metadata: _Metadata, config: Mapping) -> dict[str, Any]:
    """What Gemma 3 has besides, and where it differs."""
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    pattern = metadata.count("attention.sliding_window_pattern", _GEMMA3_PATTERN)
    local = ["sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(layers)]
    # The largest one alone scales by the width of a head as the others would have it.
    by_width = layers == _GEMMA3_27B_LAYERS
    return {
        "hidden_activation": "gelu_pytorch_tanh",
        "rope_theta": metadata.get("rope.freq_base", float, 1_000_000.0),
        "rope_local_base_freq": metadata.get("rope.freq_base_swa", float, _GEMMA3_LOCAL_THETA),
        "query_pre_attn_scalar": (
            config["hidden_size"] // heads if by_width else config["head_dim"]
        ),
        "sliding_window_pattern": pattern,
        "layer_types": local if config["sliding_window"] else ["full_attention"] * layers,
        "attn_logit_softcapping": metadata.get("attn_logit_softcapping", float, None),
        "final_logit_softcapping": metadata.get("final_logit_softcapping", float, None),
    }


def _rope_scaling(metadata: _Metadata) -> dict[str, Any] | None:
    file = metadata.file
    if "rope_freqs.weight" in file.tensors:
        return _llama3_scaling(metadata)
    kind = metadata.get("rope.scaling.type", str, "none")
    factor = metadata.get("rope.scaling.factor", float, None)
    if factor is None:  # as older files have it
        factor = metadata.get("rope.scale_linear", float, None)
        kind = "linear" if factor is not None and kind == "none" else kind
    if kind == "none" or factor in (None, 0.0, 1.0):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind != "yarn":
        raise metadata.wrong("rope.scaling.type", "linear and yarn can be read")
    scaling = {"rope_type": "yarn", "factor": factor}
    context = metadata.get("rope.scaling.original_context_length", int, None)
    if context:
        scaling["original_max_position_embeddings"] = context
    for ours in ("beta_fast", "beta_slow"):
        beta = metadata.get(f"rope.scaling.yarn_{ours}", float, None)
        if beta is not None:
            scaling[ours] = beta
    return scaling


def _llama3_scaling(metadata: _Metadata) -> dict[str, Any] | None:
    """The scaling whose factors `rope_freqs.weight` holds, one a rotary pair."""
    tensor = metadata.file.tensors["rope_freqs.weight"]
    factors = [float(factor) for factor in metadata.file.values(tensor).ravel()]
    if max(factors) == min(factors) == 1.0:
        return None
    theta = metadata.get("rope.freq_base", float, 10_000.0)
    known = metadata.get("rope.scaling.original_context_length", int, _LLAMA3_CONTEXT)
    for context in (known, _LLAMA3_CONTEXT):
        wanted = _llama3_factors(theta, max(factors), context, len(factors))
        if all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(factors, wanted, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": max(factors),
                **_LLAMA3,
                "original_max_position_embeddings": context,
            }
    raise WeightsError(
        "the rotary factors are not those of Llama 3's scaling",
        where=f"{metadata.file.path}: rope_freqs.weight",
        next_step="take the model in Hugging Face's layout: its config.json says how it is scaled",
    )


def _llama3_factors(theta: float, factor: float, context: int, pairs: int) -> list[float]:
    """By what each rotary frequency is divided (Llama 3.1, 2024)."""
    low, high = _LLAMA3.values()
    factors = []
    for pair in range(pairs):
        turns = context * theta ** (-pair / pairs) / (2 * math.pi)  # in the original context
        share = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - share) / factor + share))
    return factors


def _vocab_size(file: GgufFile) -> int:
    if "token_embd.weight" not in file.tensors:
        what = "there is no tensor token_embd.weight, the embedding of the tokens"
        raise WeightsError(what, where=file.path, next_step="give the file of the whole model")
    return file.tensors["token_embd.weight"].shape[0]


class _Metadata:
    """The metadata of one file under one prefix: present, and of the type that is asked for."""

    def __init__(self, file: GgufFile, prefix: str) -> None:
        self.file, self.prefix = file, prefix
        self.asked: set[str] = set()

    def check_rest(self) -> None:
        """
        Raises:
            WeightsError: keys under the prefix that nothing has asked for, that are not unused,
                and that are not at their neutral value.
        """
        own = {
            key.removeprefix(f"{self.prefix}."): value
            for key, value in self.file.metadata.items()
            if key.startswith(f"{self.prefix}.")
        }
        rest = not_read(own, self.asked, _NEUTRAL, _UNUSED)
        if rest:
            raise WeightsError(
                f"a {self.prefix} with {', '.join(rest)} is not supported: it would be passed over",
                where=self.file.path,
                next_step="take the model in Hugging Face's layout, or another one",
            )

    def get(self, key: str, kind: type, default: object = _REQUIRED) -> Any:
        self.asked.add(key)
        value = self.file.metadata.get(f"{self.prefix}.{key}", default)
        if value is _REQUIRED:
            raise WeightsError(
                f"the metadata key {self.prefix}.{key} is missing",
                where=self.file.path,
                next_step=_CONVERT,
            )
        if value is default:
            return value
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self.wrong(key, f"one {kind.__name__} was expected")
        return _shortest(value) if kind is float else value

    def count(self, key: str, default: object = _REQUIRED) -> int:
        value = self.get(key, int, default)
        if value < 1:
            raise self.wrong(key, "it must be at least 1")
        return value

    def wrong(self, key: str, why: str) -> WeightsError:
        name = f"{self.prefix}.{key}"
        value = repr(self.file.metadata[name])
        value = value if len(value) < 60 else value[:57] + "..."
        where = f"{self.file.path}: {name}"
        return WeightsError(f"{name} is {value}; {why}", where=where, next_step=_CONVERT)


def _shortest(value: float) -> float:
    """1e-05, where float32 made 9.999999747378752e-06 of it."""
    import numpy as np

    return float(str(np.float32(value))) if np.float32(value) == value else value
