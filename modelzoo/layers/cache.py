"""The key/value cache of a decoder: what a token leaves behind for those after it.

Slot equals position. Keys are (B, kv_heads, S, head_dim), values (B, kv_heads, head_dim, S): each
is read along its last axis when one token attends, and no layer's cache is copied for another's.
A cache is a flat dict of named tensors, so that a device sees the same names.
"""

from __future__ import annotations

from keras import ops

KEY_AXIS, VALUE_AXIS = 2, 3  # where S stands


def cache_names(layer: int) -> tuple[str, str]:
    return f"kv_cache_k_{layer}", f"kv_cache_v_{layer}"


def write_cache(cache, update, start, axis: int):
    """Write `update` into `cache` from slot `start` on, along `axis`.

    Args:
        cache: (B, heads, …) with S slots along `axis`.
        update: the same with T slots; `start + T <= S` is for the caller to keep.
        start: (B,) int32, first slot of each row.
    Returns: the new cache.
    """
    if cache.shape[0] == 1:
        index = [0] * len(cache.shape)
        index[axis] = start[0]
        return ops.slice_update(cache, index, ops.cast(update, cache.dtype))
    # Rows start at different slots: slot s takes token s - start, where there is one.
    num_slots, num_new = cache.shape[axis], update.shape[axis]
    source = ops.arange(num_slots, dtype="int32") - ops.expand_dims(start, -1)  # (B, S)
    shape = [-1, 1, 1, 1]
    shape[axis] = num_slots
    written = ops.reshape((source >= 0) & (source < num_new), shape)
    gathered = ops.take_along_axis(
        update, ops.reshape(ops.clip(source, 0, num_new - 1), shape), axis=axis
    )
    return ops.where(written, ops.cast(gathered, cache.dtype), cache)
