"""One vector of a sequence: its mean, its first or last token, the largest of each number.

B batch, T tokens, D width. Padding counts in none of them.
"""

from __future__ import annotations

from keras import ops

from modelzoo.layers.masks import HIDDEN
from modelzoo.signature import Tensor


def last_token(x, padding_mask) -> Tensor:
    """(B, T, D) -> (B, D) at the last real token, whichever side is padded."""
    if padding_mask is None:
        return x[:, -1]
    length = x.shape[1] if x.shape[1] is not None else ops.shape(x)[1]
    count = ops.expand_dims(ops.arange(length, dtype="int32"), 0)
    places = ops.cast(padding_mask, "int32") * count
    last = ops.expand_dims(ops.max(places, axis=1, keepdims=True), -1)
    return ops.squeeze(ops.take_along_axis(x, last, axis=1), 1)


def mean_token(x, padding_mask) -> Tensor:
    """(B, T, D) -> (B, D), the mean over the real tokens."""
    if padding_mask is None:
        return ops.mean(x, axis=1)
    weights = ops.expand_dims(ops.cast(padding_mask, x.dtype), -1)
    return ops.sum(x * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1e-9)


def max_token(x, padding_mask) -> Tensor:
    """(B, T, D) -> (B, D), the largest of each number over the real tokens."""
    if padding_mask is not None:
        real = ops.expand_dims(ops.cast(padding_mask, "bool"), -1)
        x = ops.where(real, x, ops.cast(HIDDEN, x.dtype))
    return ops.max(x, axis=1)


POOLINGS = {
    "mean": mean_token,
    "cls": lambda x, padding_mask: x[:, 0],
    "max": max_token,
    "last": last_token,
}
# Of the vectors of an image's patches, and of a video's frames; "attention" is a trained query.
IMAGE_POOLINGS = ("cls", "mean", "attention", "cls_mean", "cls_distillation")
FRAME_POOLINGS = ("mean", "attention")


def unit(x) -> Tensor:
    """(…, D) of length 1; zeros stay zeros.

    Example:
        >>> unit(ops.array([[3.0, 4.0]])).shape[1]
        2
    """
    return x / ops.sqrt(ops.maximum(ops.sum(x * x, axis=-1, keepdims=True), 1e-24))
