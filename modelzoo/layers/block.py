"""One transformer block: attention, optional cross-attention, feed-forward, and their residuals."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.layers.attention import Attention
from modelzoo.layers.cache import LayerCache
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.experts import Experts
from modelzoo.layers.feed_forward import FeedForward
from modelzoo.layers.norms import make_norm
from modelzoo.signature import Tensor


class TransformerBlock(keras.layers.Layer):
    """x + attention, x + cross-attention, x + feed-forward, normalised before, after, or both.

    Where `config.parallel_residual` is set, x + attention + feed-forward, both of the same x.

    Call arguments: as `Attention`, and for decoders over an encoder `memory` (key, value) with its
    `memory_bias`; `padding_mask` (B, T) is for experts. Returns x (B, T, hidden_dim), and with
    `cache` also the new cache.
    """

    def __init__(
        self,
        config: TransformerConfig,
        cross_attention: bool = False,
        attention_norm: bool = True,
        experts: bool = False,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # as Attention, whose bias passes through here
        self.config = config
        policy, where = self.dtype_policy, config.norm_position
        if cross_attention and (config.parallel_residual or where == "output"):
            kind = "parallel_residual" if config.parallel_residual else "norm_position 'output'"
            raise RecipeError(f"a block with cross-attention has no {kind}")
        self.attention_norm = self.attention_post_norm = self.ffn_post_norm = None
        if attention_norm and where != "output":
            self.attention_norm = make_norm(config, dtype=policy, name="attention_norm")
        if where in ("sandwich", "output"):
            self.attention_post_norm = make_norm(config, dtype=policy, name="attention_post_norm")
            self.ffn_post_norm = make_norm(config, dtype=policy, name="ffn_post_norm")
        self.attention = Attention(config, dtype=policy, name="attention")
        self.cross_attention = self.cross_attention_norm = None
        if cross_attention:
            self.cross_attention_norm = make_norm(config, dtype=policy, name="cross_attention_norm")
            self.cross_attention = Attention(config, dtype=policy, name="cross_attention")
        self.ffn_norm = None
        if where != "output" and not config.shared_norm:
            self.ffn_norm = make_norm(config, dtype=policy, name="ffn_norm")
        self.ffn = (Experts if experts else FeedForward)(config, dtype=policy, name="ffn")
        self.attention_layer_scale = self.ffn_layer_scale = None
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)

    def build(self, input_shape=None) -> None:
        shape = (None, None, self.config.hidden_dim)
        for layer in (
            self.attention_norm,
            self.attention,
            self.attention_post_norm,
            self.cross_attention_norm,
            self.cross_attention,
            self.ffn_norm,
            self.ffn,
            self.ffn_post_norm,
        ):
            if layer is not None:
                layer.build(shape)
        if self.config.layer_scale is not None:
            self.attention_layer_scale = self._factor("attention_layer_scale")
            self.ffn_layer_scale = self._factor("ffn_layer_scale")
        self.built = True

    def _factor(self, name):
        start = keras.initializers.Constant(self.config.layer_scale)
        return self.add_weight((self.config.hidden_dim,), start, name=name)

    def call(
        self,
        x,
        bias=None,
        rotary=None,
        memory=None,
        memory_bias=None,
        cache=None,
        start=None,
        padding_mask=None,
        training=None,
    ) -> Tensor | tuple[Tensor, LayerCache]:
        new_cache = None

        def attend(x):
            nonlocal new_cache
            output = self.attention(
                x, bias=bias, rotary=rotary, cache=cache, start=start, training=training
            )
            if cache is not None:
                output, new_cache = output
            return _scaled(output, self.attention_layer_scale)

        def attend_to_memory(x):
            return self.cross_attention(x, bias=memory_bias, memory=memory, training=training)

        def feed_forward(x):
            masked = {"padding_mask": padding_mask} if isinstance(self.ffn, Experts) else {}
            return _scaled(self.ffn(x, training=training, **masked), self.ffn_layer_scale)

        if self.config.parallel_residual:
            normed = x if self.attention_norm is None else self.attention_norm(x)
            fed = feed_forward(normed if self.config.shared_norm else self.ffn_norm(x))
            x = self._added(self._added(x, attend(normed), training), fed, training)
            return x if cache is None else (x, new_cache)
        x = self._residual(x, self.attention_norm, attend, training, self.attention_post_norm)
        if self.cross_attention is not None:
            x = self._residual(x, self.cross_attention_norm, attend_to_memory, training)
        x = self._residual(x, self.ffn_norm, feed_forward, training, self.ffn_post_norm)
        return x if cache is None else (x, new_cache)

    def _residual(self, x, norm, sublayer, training, post_norm=None):
        if self.config.norm_position == "post":
            return norm(self._added(x, sublayer(x), training))
        output = sublayer(x if norm is None else norm(x))
        if post_norm is not None:
            output = post_norm(output)
        return self._added(x, output, training)

    def _added(self, x, output, training):
        if self.config.residual_scale != 1.0:
            output = output * self.config.residual_scale
        return x + self.dropout(output, training=training)


def _scaled(x, factor):
    return x if factor is None else x * ops.cast(factor, x.dtype)
