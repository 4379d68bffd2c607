"""EfficientNet-Lite, for devices whose accelerators know neither swish nor squeeze-and-excite."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(
    *,
    image_size: int = 224,
    width: float = 1.0,
    depth: float = 1.0,
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
) -> keras.Model:
    """Build an EfficientNet-Lite (Liu 2020) without its classifier; the defaults are Lite0.

    Args:
        image_size: a side in pixels.
        width, depth: factors on the channels and on the blocks of EfficientNet-B0 (Tan and Le
            2019). The stem, the first and last stage's depth, and the head keep theirs.

    Returns: input `images` (batch, height, width, 3), 0 to 255; outputs `sequence`
        (batch, places, 1280), the last map row by row, and `pooled` (batch, 1280), their mean.
    """
    from modelzoo_lite.network import EfficientNetLite

    return EfficientNetLite(image_size, width, depth, norm_momentum, norm_epsilon)
