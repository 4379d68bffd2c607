"""The position-wise half of a transformer block."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.dense import projection
from modelzoo.signature import Tensor


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function of a name in `layers.config.ACTIVATIONS`."""
    return {
        "gelu": lambda x: ops.gelu(x, approximate=False),
        "gelu_tanh": lambda x: ops.gelu(x, approximate=True),
        "quick_gelu": lambda x: x * ops.sigmoid(1.702 * x),
        "relu": ops.relu,
        "silu": ops.silu,
    }[name]


class FeedForward(keras.layers.Layer):
    """`down(act(up(x)))`, or gated `down(act(gate(x)) * up(x))` (Shazeer 2020).

    Call: (B, T, hidden_dim) -> (B, T, hidden_dim).
    """

    def __init__(self, config: TransformerConfig, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.activation = activation(config.activation)
        stddev = config.initializer_range
        self.up = self._dense(config.ffn_dim, stddev, "up")
        self.gate = self._dense(config.ffn_dim, stddev, "gate") if config.gated else None
        self.down = self._dense(config.hidden_dim, stddev * config.residual_init_scale, "down")
        self.dropout = keras.layers.Dropout(config.dropout, dtype=self.dtype_policy)

    def _dense(self, units, stddev, name):
        bias, policy = self.config.ffn_bias, self.dtype_policy
        return projection(units, stddev, use_bias=bias, dtype=policy, name=name)

    def build(self, input_shape=None) -> None:
        for layer in (self.up, self.gate):
            if layer is not None:
                layer.build((None, None, self.config.hidden_dim))
        self.down.build((None, None, self.config.ffn_dim))
        self.built = True

    def call(self, x, training=None) -> Tensor:
        if self.gate is None:
            hidden = self.activation(self.up(x))
        else:
            hidden = self.activation(self.gate(x)) * self.up(x)
        return self.down(self.dropout(hidden, training=training))
