"""What the numbers of a `[model]` table may be, by the name of their key.

An architecture's signature says types. What no type says is the same wherever a name is used: a
size is not negative, a dropout is a share. A plugin's own names are free.
"""

from __future__ import annotations

import math

__all__ = ["ROTARY_SCALINGS", "out_of_range"]

# Ways to stretch rotary positions: the numbers that each needs, and those that it may have.
ROTARY_SCALINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "linear": (("factor",), ()),
    "dynamic": (("factor", "original_max_length"), ()),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor", "original_max_length"), ()),
    "yarn": (
        ("factor", "original_max_length"),
        ("attention_factor", "beta_fast", "beta_slow", "truncate"),
    ),
    "longrope": (
        ("factor", "original_max_length", "short_factor", "long_factor"),
        ("attention_factor",),
    ),
}

_INDEX = 2**31 - 1  # shapes are 32-bit numbers on devices
_SIZES = """vocab_size hidden_dim hidden_dims ffn_dim embed_dim embedding_dim head_dim max_length
    num_columns num_samples num_steps sample_rate hop"""
_FROM_ZERO = "image_token image_summary position_offset"
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_SIZES.split(), (1, _INDEX)),
    **dict.fromkeys(_FROM_ZERO.split(), (0, _INDEX)),
    # Layers take their time to build, tables of these sizes are computed.
    **dict.fromkeys(("num_layers", "num_decoder_layers", "num_segments"), (0, 10_000)),
    **dict.fromkeys(("num_heads", "num_kv_heads", "depths", "num_frames"), (1, 10_000)),
    **dict.fromkeys(("image_size", "resize_to", "patch_size", "patch_frames"), (1, 2**16)),
    **dict.fromkeys(("num_mels", "frequency_stride", "time_stride", "widths"), (1, 2**16)),
    "relative_buckets": (0, 2**16),
    **dict.fromkeys(("frame_length", "pixel_shuffle"), (1, 2**16)),
    **dict.fromkeys(("relative_max_distance", "sliding_window"), (1, _INDEX)),
    **dict.fromkeys(("dropout", "attention_dropout", "rotary_fraction", "norm_momentum"), (0, 1)),
    **dict.fromkeys(("norm_epsilon", "initializer_range"), (0, 1e6)),
    **dict.fromkeys(("logit_softcap", "attention_softcap", "rotary_theta"), (0, 1e30)),
    "window": (1, 128),  # of Swin: a table of its fourth power
    "side": (1, 2**14),
    "seconds": (0, 86_400),
}


def out_of_range(key: str, value: object) -> str | None:
    """What the number under `key`, or each of a list, should have been; `None` where it is right.

    >>> out_of_range("hidden_dim", -128), out_of_range("num_layers", 12)
    ('from 1 to 2,147,483,647', None)
    """
    if isinstance(value, list):
        return next((wrong for one in value if (wrong := out_of_range(key, one))), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value):
        return "a finite number"
    least, most = _RANGES.get(key, (-math.inf, math.inf))
    return None if least <= value <= most else f"from {least:,} to {most:,}"
