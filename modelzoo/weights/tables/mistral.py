"""Mistral and Ministral: a Llama with a sliding window in all of its layers, or in some."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Table, Value, activation
from modelzoo.weights.tables.llama import (
    FIXED,
    PRE_NORMS,
    SIZES,
    decoder,
    read_heads,
    write_heads,
)
from modelzoo.weights.tables.shared.rotary import (
    read_rotary,
    read_windows,
    write_rotary,
    write_windows,
)

_WINDOW = 4096  # where a file states none, not even null
_VALUES = (
    *SIZES,
    Value("tie_word_embeddings", "tie_embeddings", False),
    activation("hidden_act", default="silu"),
)
_FIXED = {**FIXED, "attention_bias": False}


def _read(config) -> dict:
    return {**read_heads(config, kv_heads=8), **read_rotary(config, 10_000.0)}


def _read_mistral(config, names) -> dict:
    window = config.get("sliding_window", _WINDOW)
    pattern = ["global" if window is None else "local"]
    return {**_read(config), "attention_pattern": pattern, "sliding_window": window}


def _write_mistral(values) -> dict:
    windows = write_windows(values)
    if "full_attention" in windows["layer_types"]:  # a Llama says that as well
        raise WeightsError("a mistral has a sliding window in every layer, and this model has not")
    if (values["rotary_scaling"] or {}).get("type") == "longrope":  # which a phi3 says
        raise WeightsError("a mistral has no longrope")
    window = windows["sliding_window"]
    return {**write_heads(values), **write_rotary(values), "sliding_window": window}


def _read_ministral(config, names) -> dict:
    is_local = config.get("sliding_window", _WINDOW) is not None
    windows = read_windows(config, ["local" if is_local else "global"], window=_WINDOW)
    return {**_read(config), **windows}


def _write_ministral(values) -> dict:
    windows = write_windows(values)
    if len(set(windows["layer_types"])) < 2:
        raise WeightsError("a ministral has local and global layers, and this model only one kind")
    return {**write_heads(values), **write_rotary(values), **windows}


MISTRAL = Table(
    model_type="mistral",
    **decoder(PRE_NORMS, "Mistral"),
    values=_VALUES,
    fixed=_FIXED,
    read=_read_mistral,
    write=_write_mistral,
)

MINISTRAL = Table(
    model_type="ministral",
    **decoder(PRE_NORMS, "Ministral"),
    values=_VALUES,
    fixed=_FIXED,
    read=_read_ministral,
    write=_write_ministral,
)
