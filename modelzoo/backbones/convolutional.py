"""Small convolutional networks for devices, from `keras.applications`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
from keras import ops

from modelzoo.backbones.base import Backbone
from modelzoo.backbones.image_inputs import image_input, image_processing, sides
from modelzoo.errors import RecipeError, nearest
from modelzoo.signature import Tensor

# name -> the function of keras.applications, and the layer over the pooled features if there is one
NETWORKS = {
    "mobilenet-v3-small": ("MobileNetV3Small", "conv_2"),
    "mobilenet-v3-large": ("MobileNetV3Large", "conv_2"),
    "efficientnet-b0": ("EfficientNetB0", None),
    "efficientnet-v2-b0": ("EfficientNetV2B0", None),
}
SMALLEST = 32  # pixels: the networks halve a side five times


@keras.saving.register_keras_serializable("modelzoo")
class Convolutional(Backbone):
    """MobileNetV3 (Howard et al. 2019), EfficientNet (Tan and Le 2019) or EfficientNetV2 (2021).

    Args:
        network: one of `NETWORKS`.
        width: factor on the channels; MobileNetV3 alone has others than 1.
        norm_momentum: of what batch normalisation remembers. Default: the network's own, 0.999 for
            MobileNetV3, which takes thousands of steps to forget how it began.

    The rescaling of the pixels is the network's own, and inside it.

    Call: `{"images": (B, H, W, 3)}` or the images alone, uint8 or float, 0 to 255 -> `sequence`
    (B, h * w, hidden_dim), the places of the last map row by row, and `pooled` (B, hidden_dim),
    what a published classifier reads.
    """

    def __init__(
        self,
        network: str,
        image_size=224,
        width: float = 1.0,
        norm_momentum: float | None = None,
        resize: str = "squash",
        resize_to: int | None = None,
        interpolation: str = "bilinear",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        self.image_size = sides(image_size)
        self._check(network, width, norm_momentum)
        self.config, self.max_length = None, None
        self.processing = {
            "image": image_processing(self.image_size, resize, resize_to, interpolation)
        }
        name, last = NETWORKS[network]
        with _policy(self.dtype_policy):
            whole = self._published(name, width)
        pool = [x for x in whole.layers if isinstance(x, keras.layers.GlobalAveragePooling2D)][-1]

        # === Layers ===
        self.features = keras.Model(whole.input, pool.input, name="features")
        self.last = None if last is None else whole.get_layer(last)
        self.hidden_dim = int(pool.input.shape[-1] if self.last is None else self.last.filters)
        if norm_momentum is not None:
            for layer in self.features.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.momentum = norm_momentum
        self.built = True

    def _published(self, name: str, width: float) -> keras.Model:
        options = {} if width == 1.0 else {"alpha": width}
        return getattr(keras.applications, name)(
            weights=None,
            include_top=True,  # for the layer before the logits; they themselves are left out
            classes=2,
            input_shape=(*self.image_size, 3),
            classifier_activation=None,
            **options,
        )

    def _check(self, network, width, norm_momentum) -> None:
        if network not in NETWORKS:
            raise RecipeError(
                f"network {network!r} is not one of {', '.join(NETWORKS)}",
                did_you_mean=nearest(str(network), NETWORKS),
            )
        if min(self.image_size) < SMALLEST:
            raise RecipeError(
                f"image_size must be at least {SMALLEST} for {network}, not {min(self.image_size)}",
                next_step=f"--set image_size={SMALLEST}: smaller images are made larger",
            )
        if width <= 0 or (width != 1.0 and not network.startswith("mobilenet")):
            raise RecipeError(f"{network} has no width {width}, only MobileNetV3 has others than 1")
        if norm_momentum is not None and not 0 <= norm_momentum < 1:
            raise RecipeError(f"norm_momentum must lie in [0, 1), not {norm_momentum}")

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        images = ops.cast(image_input(inputs, self.image_size), "float32")
        maps = self.features(images, training=training)
        pooled = ops.mean(maps, axis=(1, 2), keepdims=True)
        places = maps.shape[1] * maps.shape[2]
        return {
            "sequence": ops.reshape(self._head(maps), (-1, places, self.hidden_dim)),
            "pooled": ops.reshape(self._head(pooled), (-1, self.hidden_dim)),
        }

    def _head(self, maps):
        return maps if self.last is None else keras.activations.hard_silu(self.last(maps))


@contextmanager
def _policy(policy) -> Iterator[None]:
    """`keras.applications` knows no other policy than the global one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
