"""Multi-head and grouped-query attention, with and without a cache.

B batch, T queries, S keys, H heads, K key/value heads, D head_dim.
"""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.layers.cache import KEY_AXIS, VALUE_AXIS, LayerCache
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.dense import normal, projection
from modelzoo.layers.norms import make_qk_norm
from modelzoo.layers.positions import rotate
from modelzoo.signature import Tensor


class Attention(keras.layers.Layer):
    """Scaled dot-product attention (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).

    Call arguments:
        x: (B, T, hidden_dim), the queries, and the keys and values too unless `memory` is given.
        bias: broadcasts to (B, H, T, S), added to the scores (masks, relative positions).
        rotary: angles for the T positions, or None.
        memory: (key, value) from `project_memory`, for cross-attention.
        cache: a `LayerCache` of S slots; the T new ones are written from slot `start` (B,) on.

    Returns: (B, T, hidden_dim), and with `cache` a pair of that and the new cache.
    """

    def __init__(self, config: TransformerConfig, **kwargs):
        # Keras would cast `bias` to half precision, where float16 has no room for it.
        super().__init__(autocast=False, **kwargs)
        self.config = config
        width = config.size_per_head
        # Unscaled attention (T5) keeps its scores small through the query's initial weights.
        query_range = config.initializer_range * (config.score_scale * width**0.5) ** -1
        self.query = self._dense(config.num_heads * width, query_range, "query")
        self.key = self._dense(
            config.kv_heads * width, config.initializer_range, "key", config.attention_key_bias
        )
        self.value = self._dense(config.kv_heads * width, config.initializer_range, "value")
        self.query_norm = self.key_norm = None
        if config.qk_norm:
            self.query_norm = make_qk_norm(config, dtype=self.dtype_policy, name="query_norm")
            self.key_norm = make_qk_norm(config, dtype=self.dtype_policy, name="key_norm")
        output_range = config.initializer_range * config.residual_init_scale
        output_bias = config.attention_output_bias
        self.output_projection = self._dense(config.hidden_dim, output_range, "output", output_bias)
        self.dropout = keras.layers.Dropout(config.attention_dropout, dtype=self.dtype_policy)

    def _dense(self, units, stddev, name, bias=None):
        policy = self.dtype_policy
        bias = self.config.attention_bias if bias is None else bias
        return projection(units, stddev, use_bias=bias, dtype=policy, name=name)

    def build(self, input_shape=None) -> None:
        config = self.config
        for layer in (self.query, self.key, self.value):
            layer.build((None, None, config.hidden_dim))
        heads = ((self.query_norm, config.num_heads), (self.key_norm, config.kv_heads))
        for norm, count in heads:
            if norm is not None:
                joint, width = config.qk_norm_heads == "joint", config.size_per_head
                norm.build((None, None, count * width) if joint else (None, None, count, width))
        self.output_projection.build((None, None, config.num_heads * config.size_per_head))
        if config.attention_extra_token:
            shape, start = (config.kv_heads, config.size_per_head), config.initializer_range
            self.extra_key = self.add_weight(shape, normal(start), name="extra_key")
            self.extra_value = self.add_weight(shape, normal(start), name="extra_value")
        self.built = True

    def call(
        self, x, bias=None, rotary=None, memory=None, cache=None, start=None, training=None
    ) -> Tensor | tuple[Tensor, LayerCache]:
        query = self._split(self.query(x), self.config.num_heads, (0, 2, 1, 3), self.query_norm)
        if rotary is not None:
            query = rotate(query, rotary)
        key, value = memory if memory is not None else self.project_memory(x, rotary)
        slots = LayerCache(key, value) if cache is None else cache.written(key, value, start)
        weights = self._weights(query, slots, bias)
        mixed = self._mix(self.dropout(weights, training=training), slots)
        output = self.output_projection(mixed)
        return output if cache is None else (output, slots)

    def project_memory(self, x, rotary=None) -> tuple[Tensor, Tensor]:
        """(B, S, hidden_dim) -> key (B, K, S, D) and value (B, K, D, S), as a cache holds them."""
        key = self._split(self.key(x), self.config.kv_heads, (0, 2, 1, 3), self.key_norm)
        value = self._split(self.value(x), self.config.kv_heads, (0, 2, 3, 1))
        if self.config.attention_extra_token:
            key = _with_extra(key, self.extra_key, KEY_AXIS)
            value = _with_extra(value, self.extra_value, VALUE_AXIS)
        return (key if rotary is None else rotate(key, rotary)), value

    def _split(self, x, heads, order, norm=None):
        """(B, T, heads * D) -> (B, heads, T, D) or another order, normalised."""
        joint = self.config.qk_norm_heads == "joint"
        if norm is not None and joint:
            x = norm(x)
        length = x.shape[1] if x.shape[1] is not None else ops.shape(x)[1]
        x = ops.reshape(x, (-1, length, heads, self.config.size_per_head))
        return ops.transpose(x if norm is None or joint else norm(x), order)

    def _weights(self, query, slots, bias):
        """Softmax of the scores, (B, H, T, S)."""
        config = self.config
        key = ops.cast(slots.key, query.dtype)
        scores = ops.matmul(self._group(query) * config.score_scale, ops.swapaxes(key, 2, 3))
        if slots.key_scale is not None:  # a slot's factor is one number for all its products
            row = (-1, config.kv_heads, 1, key.shape[KEY_AXIS])
            scores = scores * ops.cast(ops.reshape(slots.key_scale, row), scores.dtype)
        scores = ops.cast(self._ungroup(scores), "float32")  # where the bias fits
        if config.attention_softcap is not None:
            scores = config.attention_softcap * ops.tanh(scores / config.attention_softcap)
        if bias is not None:
            scores = scores + bias
        return ops.cast(ops.softmax(scores, axis=-1), self.compute_dtype)

    def _mix(self, weights, slots):
        """(B, H, T, S) over the values (B, K, D, S) of the slots -> (B, T, H * D)."""
        weights, value = self._group(weights), ops.cast(slots.value, weights.dtype)
        if slots.value_scale is not None:
            weights = weights * ops.cast(slots.value_scale, weights.dtype)
        mixed = ops.matmul(weights, ops.swapaxes(value, 2, 3))
        mixed = ops.transpose(self._ungroup(mixed), (0, 2, 1, 3))
        width = self.config.num_heads * self.config.size_per_head
        length = mixed.shape[1] if mixed.shape[1] is not None else ops.shape(mixed)[1]
        return ops.reshape(mixed, (-1, length, width))

    # The heads of a group lie side by side, so a group's queries fold into its time axis for free.
    def _group(self, x):
        """(B, H, T, …) -> (B, K, H/K * T, …)."""
        return self._regroup(x, self.config.kv_heads, self.config.num_heads)

    def _ungroup(self, x):
        """(B, K, H/K * T, …) -> (B, H, T, …)."""
        return self._regroup(x, self.config.num_heads, self.config.kv_heads)

    def _regroup(self, x, to_heads, from_heads):
        if to_heads == from_heads:
            return x
        shape = ops.shape(x)
        return ops.reshape(x, (-1, to_heads, shape[2] * from_heads // to_heads, shape[3]))


def _with_extra(x, extra, axis):
    """Keys or values with one more, a trained (K, D), at the end of their time axis."""
    extra = ops.expand_dims(ops.expand_dims(ops.cast(extra, x.dtype), 0), axis)  # (1, K, 1, D)
    one = x[:, :, :1] if axis == KEY_AXIS else x[..., :1]
    return ops.concatenate([x, ops.zeros_like(one) + extra], axis=axis)
