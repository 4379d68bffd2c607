"""A plain convolutional network that a laptop trains in minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    image_size: int | tuple[int, int] = 48,
    widths: tuple[int, ...] = (32, 64, 128, 192),
    dropout: float = 0.0,
    norm_momentum: float = 0.9,
    resize: Literal["squash", "crop", "pad"] = "squash",
    resize_to: int | None = None,
    interpolation: Literal["bicubic", "bilinear", "nearest"] = "bicubic",
) -> keras.Model:
    """Build a network of strided convolutions alone (Springenberg et al. 2015).

    Args:
        image_size: a side, or (H, W).
        widths: channels after each convolution, which halves the image.
        norm_momentum: of what batch normalisation remembers.
        resize, resize_to, interpolation: how other images are brought to this size; see
            `architectures.vit`.

    Returns: a `ConvNet`. Input `images` (B, H, W, 3), 0 to 255; outputs `sequence`
    (B, T, widths[-1]) and `pooled` (B, widths[-1]).

    Example:
        >>> build(widths=(8, 16)).count_params()
        1464
    """
    parameters = dict(locals())
    from modelzoo.backbones.convnet import ConvNet

    return ConvNet(**parameters)
