"""A plain convolutional network, for images that are few and small."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import Backbone
from modelzoo.backbones.image_inputs import image_input, image_processing, sides
from modelzoo.errors import RecipeError
from modelzoo.layers.frontends.images import HALF, ImageNormalization
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class ConvNet(Backbone):
    """3 x 3 convolutions that halve the image each time (Springenberg et al. 2015).

    Args:
        image_size: a side, or (H, W).
        widths: channels after each convolution; each has batch normalisation and SiLU.
        norm_momentum: of what batch normalisation remembers.

    Call: `{"images": (B, H, W, 3)}` or the images alone, uint8 or float, 0 to 255 -> `sequence`
    (B, h * w, widths[-1]), the places of the last map row by row, and `pooled`, their mean.

    Attributes:
        num_positions: h * w.
    """

    def __init__(
        self,
        image_size=48,
        widths=(32, 64, 128, 192),
        dropout: float = 0.0,
        norm_momentum: float = 0.9,
        resize: str = "squash",
        resize_to: int | None = None,
        interpolation: str = "bicubic",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        if not widths or min(widths) < 1:
            raise RecipeError(f"widths must be one number or more, each above 0, not {widths}")
        policy = self.dtype_policy
        self.image_size, self.hidden_dim = sides(image_size), int(widths[-1])
        self.config, self.max_length = None, None
        self.processing = {
            "image": image_processing(self.image_size, resize, resize_to, interpolation)
        }
        height, width = (-(-side // 2 ** len(widths)) for side in self.image_size)
        self.num_positions = height * width

        # === Layers ===
        self.normalization = ImageNormalization(HALF, HALF, dtype=policy, name="normalization")
        self.convolutions, self.norms = [], []
        for i, channels in enumerate(widths):
            self.convolutions.append(
                keras.layers.Conv2D(
                    channels,
                    3,
                    strides=2,
                    padding="same",
                    use_bias=False,
                    kernel_initializer="he_normal",
                    dtype=policy,
                    name=f"convolution_{i}",
                )
            )
            self.norms.append(
                keras.layers.BatchNormalization(
                    momentum=norm_momentum, dtype=policy, name=f"norm_{i}"
                )
            )
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.build()

    def build(self, input_shape=None) -> None:
        channels = 3
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build((None, None, None, channels))
            channels = convolution.filters
            norm.build((None, None, None, channels))
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        x = self.normalization(image_input(inputs, self.image_size))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = ops.silu(norm(convolution(x), training=training))
        x = self.dropout(x, training=training)
        x = ops.reshape(x, (-1, self.num_positions, self.hidden_dim))
        return {"sequence": x, "pooled": ops.mean(x, axis=1)}
