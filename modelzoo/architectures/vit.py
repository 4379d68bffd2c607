"""Vision transformers: ViT, DeiT, DINOv2, BEiT, and the image towers of CLIP and SigLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    image_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    ffn_dim: int | None = None,
    cls_token: bool = True,
    distillation_token: bool = False,
    patch_bias: bool = True,
    patch_frames: int = 1,
    positions: Literal["learned", "none"] = "learned",
    relative_positions: Literal["none", "shared", "each"] = "none",
    embedding_norm: bool = False,
    pooling: Literal["cls", "mean", "attention", "cls_mean", "cls_distillation"] = "cls",
    norm: Literal["sequence", "pooled", "none"] = "sequence",
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"] = "gelu",
    gated: bool = False,
    layer_scale: float | None = None,
    attention_bias: bool = True,
    attention_key_bias: bool | None = None,
    norm_epsilon: float = 1e-6,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    initializer_range: float = 0.02,
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    resize: Literal["squash", "crop", "pad"] = "squash",
    resize_to: int | None = None,
    interpolation: Literal["bicubic", "bilinear", "nearest"] = "bicubic",
) -> keras.Model:
    """Build a vision transformer (Dosovitskiy et al. 2021).

    The defaults are ViT-B/16. CLIP's image tower (Radford et al. 2021) is `patch_bias=False,
    embedding_norm=True, norm="pooled", activation="quick_gelu"`, SigLIP's (Zhai et al. 2023)
    `cls_token=False, pooling="attention", activation="gelu_tanh"`, DINOv2's (Oquab et al. 2023)
    `layer_scale=1.0, pooling="cls_mean"`. DeiT (Touvron et al. 2021) has a `distillation_token`,
    BEiT (Bao et al. 2021) `positions="none", relative_positions="each", layer_scale=0.1,
    attention_key_bias=False`.

    Args:
        image_size: a side in pixels, or [height, width].
        patch_size: a patch's side; the last pixels that fill no patch are not looked at.
        ffn_dim: width of the feed-forward layer. Default: `4 * hidden_dim`.
        cls_token: a trained token before the patches.
        distillation_token: a second one after it.
        patch_bias: of the linear layer over the patches.
        patch_frames: frames of a film that its kernel sees at once; a still image is repeated.
        positions: a trained vector for each place, or none.
        relative_positions: a trained bias on attention for each distance of two patches, one table
            for all layers or one for each.
        embedding_norm: normalise what enters the first block.
        pooling: what stands for the image: the class token, the mean of the patches, what a
            trained query finds by attention, or two vectors side by side: class token and mean,
            or both trained tokens.
        norm: normalise the whole `"sequence"` at the end, only what is `"pooled"`, or nothing.
        gated: a second projection in the feed-forward layer, as in SwiGLU.
        layer_scale: what a trained factor on each number of a sublayer's output begins at.
        attention_key_bias: of the keys' projection. Default: `attention_bias`.
        image_mean, image_std: of red, green and blue, between 0 and 1.
        resize: `"squash"` an image to the model's size, or with `resize_to` to a square of that
            side whose middle is cut out; `"crop"` its middle after the shorter side is `resize_to`
            (default: filled exactly); or `"pad"` it with black.

    Returns: a `VisionEncoder`. Input `images` (B, height, width, 3), 0 to 255; outputs `sequence`
    (B, T, hidden_dim) and `pooled` (B, hidden_dim), twice as wide for two vectors.

    Example:
        >>> build(num_layers=2, hidden_dim=192, num_heads=3).count_params()
        1075776
    """
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from modelzoo.backbones.vision import VisionEncoder
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(parameters, norm="layer")
    return VisionEncoder(config, norm=norm, **rest)
