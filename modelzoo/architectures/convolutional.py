"""Small convolutional networks for devices: MobileNetV3, EfficientNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    network: Literal[
        "mobilenet-v3-small", "mobilenet-v3-large", "efficientnet-b0", "efficientnet-v2-b0"
    ] = "mobilenet-v3-small",
    image_size: int | tuple[int, int] = 224,
    width: float = 1.0,
    norm_momentum: float | None = None,
    resize: Literal["squash", "crop", "pad"] = "squash",
    resize_to: int | None = None,
    interpolation: Literal["bicubic", "bilinear", "nearest"] = "bilinear",
) -> keras.Model:
    """Build a network of `keras.applications` without its classifier.

    MobileNetV3 (Howard et al. 2019), EfficientNet (Tan and Le 2019), EfficientNetV2 (Tan and Le
    2021).

    Args:
        image_size: a side in pixels, or [height, width]; 32 or more.
        width: factor on the channels (MobileNetV3).
        norm_momentum: of batch normalisation. Default: the network's own. For MobileNetV3 that is
            0.999, too slow for a training of less than thousands of steps: take 0.9.
        resize: `"squash"` an image to the model's size, `"crop"` its middle after the shorter side
            is `resize_to` (default: filled exactly), or `"pad"` it with black.

    Returns: a `Convolutional`. Input `images` (B, height, width, 3), 0 to 255; outputs `sequence`
    (B, places, hidden_dim) and `pooled` (B, hidden_dim).

    Example:
        >>> build(image_size=64).count_params()
        1529968
    """
    parameters = dict(locals())
    from modelzoo.backbones.convolutional import Convolutional

    return Convolutional(**parameters)
