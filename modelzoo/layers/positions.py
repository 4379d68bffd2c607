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
from modelzoo.recipe.ranges import ROTARY_SCALINGS
from modelzoo.signature import Tensor

# Fixed positions: sines at even and cosines at odd indices (Vaswani et al. 2017), all sines before
# all cosines (Marian, Pegasus), and the same with the rates of tensor2tensor (M2M-100).
SINES = ("sine", "sine_halves", "sine_tensor2tensor")


class LearnedPositions(keras.layers.Layer):
    """A trained vector a position (Gehring et al. 2017).

    Args:
        max_length: number of different positions.
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


def sine_positions(positions, hidden_dim: int, dtype="float32", kind: str = "sine") -> Tensor:
    """Sines and cosines of positions (Vaswani et al. 2017, 3.5): (B or 1, T, hidden_dim).

    Args:
        positions: (B or 1, T) int32.
        kind: one of `SINES`.
    """
    half = hidden_dim // 2
    # The slowest pair turns at 1 / 10,000 in tensor2tensor, and a little faster in the paper.
    steps = half - 1 if kind == "sine_tensor2tensor" else half
    rates = ops.exp(ops.arange(half, dtype="float32") * (-math.log(10000.0) / steps))
    angles = ops.expand_dims(ops.cast(positions, "float32"), -1) * rates
    waves = [ops.sin(angles), ops.cos(angles)]
    if kind != "sine":
        return ops.cast(ops.concatenate(waves, axis=-1), dtype)
    pairs = ops.stack(waves, axis=-1)  # (…, half, 2)
    return ops.cast(ops.reshape(pairs, (*angles.shape[:-1], 2 * half)), dtype)


def rotary_rates(
    head_dim: int,
    theta: float,
    scaling: Mapping | None = None,
    fraction: float = 1.0,
    max_length: int | None = None,
) -> np.ndarray:
    """How fast each pair of a head turns, radians a position: (head_dim / 2,) float32.

    Args:
        scaling: reads longer texts than the model was trained on, which had `original_max_length`
            tokens at most. By its `type`:
            `"linear"` divides all rates by `factor` (Chen et al. 2023).
            `"dynamic"` leaves them as they are up to the original length.
            `"llama3"` divides those that turn less than `low_freq_factor` times in the original
            length, leaves those above `high_freq_factor`, and blends between (Llama 3.1).
            `"yarn"` blends between `beta_slow` (1) and `beta_fast` (32) turns, evenly over the
            pairs (Peng et al. 2023, 3.2); `truncate` rounds the ends to whole pairs (by default).
            `"longrope"` divides each pair by a number of its own, from `long_factor` if the model
            reads more than the original length and from `short_factor` if not (Ding et al. 2024).
        fraction: the share of a head whose pairs turn, the first ones; the others have rate 0.
        max_length: tokens that the model reads, for `"dynamic"` and `"longrope"`; `None` stands for
            the original length.

    The rates are constants of a model. Code that computes them from the length of each text gives
    the same for `"longrope"` where the text and `max_length` are both above the original length,
    or neither is.

    Raises:
        RecipeError: another type, a number that it lacks or does not know, `"dynamic"` for a model
            that reads more than the original length, or a list for another number of pairs.

    Example:
        >>> rotary_rates(4, 10_000.0, {"type": "linear", "factor": 2}).tolist()
        [0.5, 0.004999999888241291]
    """
    turning = int(head_dim * fraction)
    rates = theta ** (-np.arange(0, turning, 2, dtype="float64") / turning)
    if scaling is not None:
        _check_scaling(scaling)
        rates = _stretched(rates, scaling, max_length)
    return np.pad(rates, (0, head_dim // 2 - len(rates))).astype("float32")


def _check_scaling(scaling: Mapping) -> None:
    kind = scaling.get("type")
    if kind not in ROTARY_SCALINGS:
        raise RecipeError(
            f"rotary_scaling has the type {kind!r}, not one of {', '.join(ROTARY_SCALINGS)}",
            did_you_mean=nearest(str(kind), ROTARY_SCALINGS),
        )
    needed, optional = ROTARY_SCALINGS[kind]
    missing = [key for key in needed if key not in scaling]
    if missing:
        raise RecipeError(f"rotary_scaling {kind} needs {', '.join(missing)}")
    unknown = [key for key in scaling if key not in ("type", *needed, *optional)]
    if unknown:
        raise RecipeError(
            f"rotary_scaling {kind} does not know {', '.join(unknown)}",
            did_you_mean=nearest(unknown[0], (*needed, *optional)),
            next_step=f"it has {', '.join((*needed, *optional))}",
        )


def _stretched(rates: np.ndarray, scaling: Mapping, max_length: int | None) -> np.ndarray:
    kind, factor, original = (scaling.get(k) for k in ("type", "factor", "original_max_length"))
    is_longer = max_length is not None and original is not None and max_length > original
    if kind == "dynamic":
        if is_longer:
            raise RecipeError(
                f"dynamic rotary_scaling has other rates for each length above {original} tokens, "
                f"and max_length is {max_length}: a graph has one set",
                next_step=f"take a max_length of {original} or less, or scale by yarn",
            )
        return rates
    if kind == "longrope":
        name = "long_factor" if is_longer else "short_factor"
        if len(scaling[name]) != len(rates):
            raise RecipeError(
                f"rotary_scaling has {len(scaling[name])} numbers in {name}, and {len(rates)} "
                "pairs of a head turn"
            )
        return rates / np.asarray(scaling[name], "float64")
    share = np.zeros_like(rates)  # of the unscaled rate
    if kind == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = original * rates / (2 * math.pi)
        share = np.clip((turns - low) / (high - low), 0, 1)
    elif kind == "yarn":
        share = 1 - _yarn_ramp(rates, scaling)
    return (1 - share) * rates / factor + share * rates


def _yarn_ramp(rates: np.ndarray, scaling: Mapping) -> np.ndarray:
    """0 for pairs that turn often in the original length, 1 for those that hardly turn."""
    original = scaling["original_max_length"]
    per_pair = math.log(rates[0] / rates[1]) if len(rates) > 1 else 1.0

    def pair_with(turns):
        return math.log(original / (turns * 2 * math.pi)) / per_pair

    first, last = pair_with(scaling.get("beta_fast", 32)), pair_with(scaling.get("beta_slow", 1))
    if scaling.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * len(rates) - 1)
    last += 0.001 * (first == last)
    return np.clip((np.arange(len(rates)) - first) / (last - first), 0, 1)


def rotary_attention_factor(scaling: Mapping | None) -> float:
    """What the cosines and sines of rotary positions are multiplied by.

    `attention_factor`, if `scaling` has one. Else YaRN takes `0.1 ln(factor) + 1` (Peng et al.
    2023, 3.4), LongRoPE `sqrt(1 + ln(factor) / ln(original length))`, and all others 1.

    Example:
        >>> round(rotary_attention_factor({"type": "yarn", "factor": 4}), 4)
        1.1386
    """
    if scaling is None or "attention_factor" in scaling:
        return 1.0 if scaling is None else float(scaling["attention_factor"])
    kind, factor = scaling["type"], scaling["factor"]
    if kind not in ("yarn", "longrope") or factor <= 1:
        return 1.0
    if kind == "yarn":
        return 0.1 * math.log(factor) + 1
    return math.sqrt(1 + math.log(factor) / math.log(scaling["original_max_length"]))


def rotary_angles(positions, rates, attention_factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions (Su et al. 2021), in float32.

    (B or 1, T) int32 and `rotary_rates` -> two of (B or 1, 1, T, head_dim). The first half of the
    sines is negative: what `rotate` would else have to do for each layer. Pairs that turn are
    longer by `attention_factor`.
    """
    angles = ops.expand_dims(ops.cast(positions, "float32"), -1) * rates
    cos, sin = ops.expand_dims(ops.cos(angles), 1), ops.expand_dims(ops.sin(angles), 1)
    if attention_factor != 1:
        longer = np.where(rates > 0, attention_factor, 1).astype("float32")
        cos, sin = cos * longer, sin * longer
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


def relative_places(height: int, width: int) -> np.ndarray:
    """Which row of a table of (2 h - 1)(2 w - 1) holds the bias of two places of a grid.

    Returns: (h w, h w) int32, a row for each query.

    Example:
        >>> relative_places(1, 2).tolist()
        [[1, 0], [2, 1]]
    """
    rows, columns = (part.reshape(-1) for part in np.mgrid[:height, :width])
    down, right = rows[:, None] - rows[None, :], columns[:, None] - columns[None, :]
    return ((down + height - 1) * (2 * width - 1) + right + width - 1).astype("int32")
