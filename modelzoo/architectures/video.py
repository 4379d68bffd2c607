"""Videos: an image encoder for each frame, and attention over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    image: dict,
    num_frames: int = 8,
    num_layers: int = 0,
    num_heads: int = 4,
    ffn_dim: int | None = None,
    pooling: Literal["mean", "attention"] = "attention",
    norm_epsilon: float = 1e-6,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build an encoder of videos over one of images.

    Each frame is seen by itself, then all of them together: the mean (Karpathy et al. 2014), one
    trained query, or blocks over time, the factorised encoder of ViViT (Arnab et al. 2021).

    Args:
        image: the part `[model.image]`: what reads a frame, frozen or not.
        num_frames: that the model sees of a video, at even distances.
        num_layers: blocks over time.
        num_heads, ffn_dim: of what is over time, as wide as the image part. Default of `ffn_dim`:
            four times that width.
        pooling: `"mean"` of the frames, or what a trained query finds in them by `"attention"`.

    Returns: a `VideoEncoder`. Input `frames` (B, frames, height, width, 3), 0 to 255; outputs
    `sequence` (B, frames, hidden_dim) and `pooled` (B, hidden_dim).

    Example:
        >>> image = {"architecture": "vit", "model": {"num_layers": 1, "hidden_dim": 32,
        ...     "num_heads": 2, "image_size": 32, "patch_size": 16}}
        >>> video = build(image=image, num_frames=4)
        >>> video.processing["video"], video.count_params()
        ({'num_frames': 4}, 50368)
    """
    parameters = dict(locals())
    from modelzoo.architectures.parts import build_part, own_options
    from modelzoo.backbones.video import VideoEncoder, frame_width
    from modelzoo.layers.config import TransformerConfig

    own_options("image", image, {})
    part = build_part("image", image)
    width = frame_width(part)
    config, rest = TransformerConfig.of(
        parameters, "image", hidden_dim=width, ffn_dim=ffn_dim or 4 * width
    )
    return VideoEncoder(config, image=part, **rest)
