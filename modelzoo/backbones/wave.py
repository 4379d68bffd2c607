"""A transformer over raw samples: wav2vec 2.0 and HuBERT."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import Backbone, transformer_config
from modelzoo.layers.dense import projection
from modelzoo.layers.frontends.wave_features import ConvPositions, WaveFeatures
from modelzoo.layers.norms import make_norm
from modelzoo.layers.pooling import mean_token
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class WaveTransformer(Backbone):
    """Convolutions over samples, positions by a convolution, a stack that sees all of a sound.

    A sound that is filled up with silence gives what it gives by itself.

    Call: `{"audio": (B, N), "num_samples": (B,)}`, the second optional, or the audio alone, with
    N = `num_samples` of `processing` -> `{"sequence": (B, T, hidden_dim), "pooled": (B,
    hidden_dim)}`: the mean of the real tokens, with `weighted_layers` of all layers' outputs.

    Args:
        config: a `TransformerConfig`; `norm_position` "post" normalises before the stack, "pre"
            after it.
        num_samples: N.
        conv_dims, conv_kernels, conv_strides, feature_norm, conv_bias, normalize: of the
            convolutions; see `WaveFeatures`.
        position_kernel, position_groups: see `ConvPositions`.
        sample_rate: of the sounds.
        weighted_layers: pool a mean of what enters the stack and what leaves each layer, with a
            trained weight for each (SUPERB, Yang et al. 2021), and not the sequence.
    """

    def __init__(
        self,
        config,
        num_layers: int,
        num_samples: int,
        conv_dims,
        conv_kernels,
        conv_strides,
        feature_norm: str = "group",
        conv_bias: bool = False,
        normalize: bool = True,
        position_kernel: int = 128,
        position_groups: int = 16,
        sample_rate: int = 16_000,
        weighted_layers: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        self.config = config = transformer_config(config)
        policy, stddev = self.dtype_policy, config.initializer_range
        self.hidden_dim, self.max_length = config.hidden_dim, None
        self.num_layers, self.weighted_layers = num_layers, weighted_layers
        self.num_samples, self.features_dim = num_samples, conv_dims[-1] if conv_dims else 0
        sound = {"sample_rate": sample_rate, "num_samples": num_samples, "padding": "zeros"}
        self.processing = {"audio": sound}

        # === Layers ===
        self.features = WaveFeatures(
            num_samples,
            conv_dims,
            conv_kernels,
            conv_strides,
            feature_norm,
            conv_bias,
            normalize,
            stddev,
            dtype=policy,
            name="features",
        )
        self.features_norm = make_norm(config, dtype=policy, name="features_norm")
        self.projection = projection(config.hidden_dim, stddev, dtype=policy, name="projection")
        self.positions = ConvPositions(
            config.hidden_dim, position_kernel, position_groups, dtype=policy, name="positions"
        )
        self.embedding_norm = None
        if config.norm_position == "post":
            self.embedding_norm = make_norm(config, dtype=policy, name="embedding_norm")
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.stack = TransformerStack(
            config,
            num_layers,
            final_norm=self.embedding_norm is None,
            dtype=policy,
            name="stack",
        )
        self.build()

    def build(self, input_shape=None) -> None:
        self.features.build()
        self.features_norm.build((None, None, self.features_dim))
        self.projection.build((None, None, self.features_dim))
        self.positions.build()
        if self.embedding_norm is not None:
            self.embedding_norm.build((None, None, self.hidden_dim))
        self.stack.build()
        if self.weighted_layers:
            self.layer_weights = self.add_weight(
                (self.num_layers + 1,), "zeros", name="layer_weights"
            )
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        inputs = inputs if isinstance(inputs, dict) else {"audio": inputs}
        features, real = self.features(inputs["audio"], inputs.get("num_samples"))
        x = self.projection(self.features_norm(features))
        if real is not None:  # positions must not see what follows a sound
            x = x * ops.expand_dims(ops.cast(real, x.dtype), -1)
        x = x + self.positions(x)
        x = x if self.embedding_norm is None else self.embedding_norm(x)
        x = self.dropout(x, training=training)
        x, hidden = self.stack(x, padding_mask=real, every=True, training=training)
        if not self.weighted_layers:
            return {"sequence": x, "pooled": mean_token(x, real)}
        pooled = ops.stack([mean_token(one, real) for one in hidden], axis=1)
        weights = ops.reshape(ops.softmax(ops.cast(self.layer_weights, "float32")), (1, -1, 1))
        return {"sequence": x, "pooled": ops.sum(pooled * ops.cast(weights, x.dtype), axis=1)}
