"""From pixels to what a vision model computes with, inside the graph."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.signature import Tensor

HALF = (0.5, 0.5, 0.5)


class ImageNormalization(keras.layers.Layer):
    """`(image / 255 - mean) / std`, a number of each a channel.

    It has no weights: its two constants stay float32 whatever the model is quantized to.

    Call: images (..., C), any number type, 0 to 255 -> (..., C) in the compute dtype, worked out in
    float32.

    Raises:
        RecipeError: a deviation of 0, or means and deviations of different numbers of channels.

    Example:
        >>> layer = ImageNormalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        >>> layer(np.array([[0, 255, 51]], "uint8")).numpy().round(3).tolist()
        [[-1.0, 1.0, -0.6000000238418579]]
    """

    def __init__(self, mean: Sequence[float] = HALF, std: Sequence[float] = HALF, **kwargs):
        super().__init__(autocast=False, **kwargs)  # half precision does not hold 256 levels
        if len(mean) != len(std) or not mean:
            raise RecipeError(f"there are {len(mean)} means and {len(std)} deviations of channels")
        if min(std) <= 0:
            raise RecipeError(f"image_std must be above 0, not {list(std)}")
        self.mean, self.std = tuple(mean), tuple(std)
        mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
        self._factor = (1 / (255 * std)).astype("float32")
        self._offset = (-mean / std).astype("float32")
        self.build()  # it has no weights to wait for

    def build(self, input_shape=None) -> None:
        self.built = True

    def call(self, images) -> Tensor:
        x = ops.cast(images, "float32") * self._factor + self._offset
        return ops.cast(x, self.compute_dtype)

    def compute_output_spec(self, images) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, self.compute_dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "mean": list(self.mean), "std": list(self.std)}
