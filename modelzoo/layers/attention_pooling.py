"""One vector of many by attention: a trained query asks all of them."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.layers.attention import Attention
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.dense import normal
from modelzoo.layers.feed_forward import FeedForward
from modelzoo.layers.masks import padding_bias
from modelzoo.layers.norms import make_norm
from modelzoo.signature import Tensor


class AttentionPooling(keras.layers.Layer):
    """Multi-head attention of one trained query, and a feed-forward block over what it found.

    As in Set Transformers (Lee et al. 2019) and SigLIP (Zhai et al. 2023).

    Call: (B, T, D), and `padding_mask` (B, T) where some of T are padding -> (B, D).

    Example:
        >>> config = TransformerConfig(hidden_dim=8, num_heads=2, ffn_dim=16)
        >>> AttentionPooling(config)(ops.zeros((1, 5, 8))).shape[1]
        8
    """

    def __init__(self, config: TransformerConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)  # as Attention, whose bias passes through here
        self.config = config
        policy = self.dtype_policy
        self.attention = Attention(config, dtype=policy, name="attention")
        self.norm = make_norm(config, dtype=policy, name="norm")
        self.ffn = FeedForward(config, dtype=policy, name="ffn")

    def build(self, input_shape=None) -> None:
        width = self.config.hidden_dim
        self.probe = self.add_weight(
            shape=(width,), initializer=normal(self.config.initializer_range), name="probe"
        )
        for layer in (self.attention, self.norm, self.ffn):
            layer.build((None, None, width))
        self.built = True

    def call(self, x, padding_mask=None, training=None) -> Tensor:
        bias = None if padding_mask is None else padding_bias(padding_mask)
        probe = ops.cast(ops.reshape(self.probe, (1, 1, -1)), self.compute_dtype)
        found = self.attention(
            ops.zeros_like(x[:, :1]) + probe,
            bias=bias,
            memory=self.attention.project_memory(x),
            training=training,
        )
        found = found + self.ffn(self.norm(found), training=training)
        return ops.squeeze(found, 1)
