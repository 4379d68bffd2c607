"""Text, images and videos in, text out: one encoder over patches and tokens, one decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 32_000,
    num_layers: int = 6,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 512,
    num_heads: int = 8,
    num_kv_heads: int | None = None,
    head_dim: int | None = None,
    ffn_dim: int | None = None,
    max_length: int = 512,
    positions: Literal["learned", "sine"] = "learned",
    image_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    num_frames: int = 8,
    norm: Literal["layer", "rms", "rms_unit_offset"] = "layer",
    norm_epsilon: float = 1e-5,
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"] = "gelu",
    gated: bool = False,
    attention_bias: bool = True,
    ffn_bias: bool = True,
    experts: dict | None = None,
    tie_embeddings: bool = True,
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
    initializer_range: float = 0.02,
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    resize: Literal["squash", "crop", "pad"] = "squash",
    resize_to: int | None = None,
    interpolation: Literal["bicubic", "bilinear", "nearest"] = "bicubic",
) -> keras.Model:
    """Build an encoder-decoder that reads patches and tokens as one sequence.

    The patches are embedded linearly (Dosovitskiy et al. 2021), those of all frames of a video one
    frame after another (Arnab et al. 2021, 3.1, "uniform frame sampling"), and the tokens follow.
    Encoder and decoder share one token table.

    Args:
        num_decoder_layers: default: `num_layers`.
        num_kv_heads, head_dim, ffn_dim, norm, gated: as in the architecture `gpt`.
        max_length: longest source and target in tokens; frames take none of them.
        positions: of the tokens, counted from the first token. A patch has a trained vector for its
            place and one for its frame.
        image_size: a side of a frame in pixels, or [height, width].
        patch_size: a patch's side; the last pixels that fill no patch are not read.
        num_frames: the most frames of a video; an image is a video of one frame.
        ffn_bias: of the feed-forward layers, and of the layer over the patches.
        experts: split the feed-forward layers into experts; see `ExpertsConfig`.
        image_mean, image_std: of red, green and blue, between 0 and 1.
        resize, resize_to, interpolation: as in the architecture `vit`.

    Returns: a `MultimodalEncoderDecoder`. Inputs `token_ids`, `padding_mask` (B, S), `frames`
    (B, F, height, width, 3), 0 to 255, `frame_mask` (B, F), `decoder_token_ids`,
    `decoder_padding_mask` (B, T); output (B, T, hidden_dim).

    Example:
        >>> model = build(num_layers=1, hidden_dim=64, num_heads=2, vocab_size=256, image_size=32)
        >>> model.processing["video"], model.count_params()
        ({'num_frames': 8}, 249088)
    """
    num_decoder_layers = num_layers if num_decoder_layers is None else num_decoder_layers
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from modelzoo.backbones.multimodal import MultimodalEncoderDecoder
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(parameters)
    return MultimodalEncoderDecoder(config, **rest)
