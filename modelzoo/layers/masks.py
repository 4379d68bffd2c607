"""Who may look at whom, as a bias that is added to the attention scores.

B batch, T queries, S keys. A bias broadcasts to (B, heads, T, S): 0 where a query may look, a large
negative number where it may not, so that the softmax gives an exact zero there.
"""

from __future__ import annotations

from keras import ops

from modelzoo.signature import Tensor

HIDDEN = -1e9  # exp(HIDDEN - max) is exactly 0 in float32, and no row becomes NaN


def bias_from_visible(visible) -> Tensor:
    """(…) bool, True where visible -> (…) float32 bias."""
    return ops.cast(ops.logical_not(visible), "float32") * HIDDEN


def padding_bias(padding_mask) -> Tensor:
    """(B, S) True for real tokens -> (B, 1, 1, S)."""
    visible = ops.cast(padding_mask, "bool")
    return bias_from_visible(ops.expand_dims(ops.expand_dims(visible, 1), 1))


def causal_bias(query_positions, num_keys: int) -> Tensor:
    """(B or 1, T) positions -> (B or 1, 1, T, S): a query sees slot s if s <= its own position."""
    slots = ops.reshape(ops.arange(num_keys, dtype="int32"), (1, 1, num_keys))
    visible = ops.less_equal(slots, ops.expand_dims(query_positions, -1))
    return ops.expand_dims(bias_from_visible(visible), 1)


def window_bias(query_positions, num_keys: int, window: int, causal: bool) -> Tensor:
    """(B or 1, T) positions -> (B or 1, 1, T, S): what is too far away for a sliding window.

    A causal query sees `window` slots, its own among them; else `window // 2` on either side.
    """
    slots = ops.reshape(ops.arange(num_keys, dtype="int32"), (1, 1, num_keys))
    distance = ops.expand_dims(query_positions, -1) - slots
    near = distance < window if causal else ops.abs(distance) <= window // 2
    return ops.expand_dims(bias_from_visible(near), 1)


def add_biases(*biases) -> Tensor | None:
    """The sum of those that are not None, or None."""
    present = [bias for bias in biases if bias is not None]
    return sum(present[1:], present[0]) if present else None
