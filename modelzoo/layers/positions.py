"""Where a token stands: learned, sine, rotary and relative positions.

B batch, T tokens, S keys, D width. Positions are int32 (bfloat16 cannot count above 256).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from modelzoo.errors import RecipeError, nearest
from modelzoo.layers.backend.lookup import lookup
from modelzoo.layers.dense import normal
from modelzoo.signature import Tensor

# What each way to stretch rotary positions needs to know.
ROTARY_SCALINGS = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_length"),
}


class LearnedPositions(keras.layers.Layer):
    """A trained vector a position (Gehring et al. 2017).

    Args:
        max_length: positions that can be told apart.
        hidden_dim: width of a vector.
        offset: rows before position 0 (BART keeps 2).

    Call: positions (B or 1, T) int32 -> (B or 1, T, D).
    """

    def __init__(self, max_length, hidden_dim, offset=0, initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.max_length, self.hidden_dim, self.offset = max_length, hidden_dim, offset
        self.initializer_range = initializer_range

    def build(self, input_shape=None) -> None:
        self.embeddings = self.add_weight(
            shape=(self.max_length + self.offset, self.hidden_dim),
            initializer=normal(self.initializer_range),
            name="embeddings",
        )
        self.built = True

    def call(self, positions) -> Tensor:
        return lookup(self.embeddings, positions + self.offset)


def sine_positions(positions, hidden_dim: int, dtype="float32") -> Tensor:
    """Sines at even and cosines at odd indices (Vaswani et al. 2017, 3.5).

    (B or 1, T) int32 -> (B or 1, T, hidden_dim).
    """
    half = hidden_dim // 2
    rates = ops.exp(ops.arange(half, dtype="float32") * (-math.log(10000.0) / half))
    angles = ops.expand_dims(ops.cast(positions, "float32"), -1) * rates
    pairs = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)  # (…, half, 2)
    return ops.cast(ops.reshape(pairs, (*angles.shape[:-1], 2 * half)), dtype)


def rotary_rates(
    head_dim: int, theta: float, scaling: Mapping | None = None, fraction: float = 1.0
) -> np.ndarray:
    """How fast each pair of a head turns, radians a position: (head_dim / 2,) float32.

    Args:
        scaling: reads longer texts than the model was trained on. `{"type": "linear", "factor": 8}`
            divides all rates (Chen et al. 2023). `{"type": "llama3", "factor": 32,
            "low_freq_factor": 1, "high_freq_factor": 4, "original_max_length": 8192}` divides
            those that turn less than `low_freq_factor` times in the original length, leaves those
            above `high_freq_factor`, and blends between (Llama 3.1).
        fraction: the share of a head whose pairs turn, the first ones; the others have rate 0.

    Raises:
        RecipeError: another type, or a number of it is missing.

    Example:
        >>> rotary_rates(4, 10_000.0, {"type": "linear", "factor": 2}).tolist()
        [0.5, 0.004999999888241291]
    """
    turning = int(head_dim * fraction)
    rates = theta ** (-np.arange(0, turning, 2, dtype="float64") / turning)
    if scaling is not None:
        kind = scaling.get("type")
        if kind not in ROTARY_SCALINGS:
            raise RecipeError(
                f"rotary_scaling has the type {kind!r}, not one of {', '.join(ROTARY_SCALINGS)}",
                did_you_mean=nearest(str(kind), ROTARY_SCALINGS),
            )
        missing = [key for key in ROTARY_SCALINGS[kind] if key not in scaling]
        if missing:
            raise RecipeError(f"rotary_scaling {kind} needs {', '.join(missing)}")
        slow = rates / scaling["factor"]
        share = np.zeros_like(rates)  # of the unscaled rate
        if kind == "llama3":
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            turns = scaling["original_max_length"] * rates / (2 * math.pi)
            share = np.clip((turns - low) / (high - low), 0, 1)
        rates = (1 - share) * slow + share * rates
    return np.pad(rates, (0, head_dim // 2 - len(rates))).astype("float32")


def rotary_angles(positions, rates) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions (Su et al. 2021), in float32.

    (B or 1, T) int32 and `rotary_rates` -> two of (B or 1, 1, T, head_dim). The first half of the
    sines is negative: what `rotate` would else have to do for each layer.
    """
    angles = ops.expand_dims(ops.cast(positions, "float32"), -1) * rates
    cos, sin = ops.expand_dims(ops.cos(angles), 1), ops.expand_dims(ops.sin(angles), 1)
    return ops.concatenate([cos, cos], axis=-1), ops.concatenate([-sin, sin], axis=-1)


def rotate(x, angles) -> Tensor:
    """Turn (B, heads, T, head_dim) by `rotary_angles`; the halves are the pairs (as in Llama)."""
    cos, sin = angles
    low, high = ops.split(x, 2, axis=-1)
    swapped = ops.concatenate([high, low], axis=-1)
    return x * ops.cast(cos, x.dtype) + swapped * ops.cast(sin, x.dtype)


class RelativeBias(keras.layers.Layer):
    """T5's learned bias on attention scores (Raffel et al. 2020, 2.1).

    Distances fall into buckets: exact when small, logarithmic up to `max_distance`, one beyond.

    Args:
        bidirectional: keys after the query have buckets of their own (encoders).

    Call: query positions (B or 1, T) and the number of keys S -> (B or 1, heads, T, S).
    """

    def __init__(
        self, num_heads, num_buckets=32, max_distance=128, bidirectional=True, stddev=0.02, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_heads, self.num_buckets, self.max_distance = num_heads, num_buckets, max_distance
        self.bidirectional, self.stddev = bidirectional, stddev

    def build(self, input_shape=None) -> None:
        self.embeddings = self.add_weight(
            shape=(self.num_buckets, self.num_heads),
            initializer=normal(self.stddev),
            name="embeddings",
        )
        self.built = True

    def call(self, query_positions, num_keys) -> Tensor:
        keys = ops.reshape(ops.arange(num_keys, dtype="int32"), (1, 1, num_keys))
        distance = keys - ops.expand_dims(query_positions, -1)  # (B, T, S), negative = before
        bias = ops.take(self.embeddings, self._bucket(distance), axis=0)  # (B, T, S, heads)
        return ops.cast(ops.transpose(bias, (0, 3, 1, 2)), "float32")  # as all biases

    def _bucket(self, distance):
        buckets, offset = self.num_buckets, 0
        if self.bidirectional:
            buckets //= 2
            offset = ops.cast(distance > 0, "int32") * buckets
            distance = ops.abs(distance)
        else:
            distance = ops.maximum(-distance, 0)
        exact = buckets // 2
        log_ratio = ops.log(ops.cast(ops.maximum(distance, 1), "float32") / exact)
        log_ratio = log_ratio / math.log(self.max_distance / exact)
        far = exact + ops.cast(log_ratio * (buckets - exact), "int32")
        far = ops.minimum(far, buckets - 1)
        return offset + ops.where(distance < exact, distance, far)
