"""Captions by cross-attention: an image encoder, and a decoder that looks at what it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    image: dict,
    vocab_size: int = 32_000,
    num_layers: int = 6,
    hidden_dim: int = 512,
    num_heads: int = 8,
    num_kv_heads: int | None = None,
    head_dim: int | None = None,
    ffn_dim: int | None = None,
    max_length: int = 128,
    positions: Literal["learned", "sine", "rotary", "none"] = "learned",
    rotary_theta: float = 10_000.0,
    norm: Literal["layer", "rms", "rms_unit_offset"] = "layer",
    norm_epsilon: float = 1e-5,
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"] = "gelu",
    gated: bool = False,
    tie_embeddings: bool = True,
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
    image_positions: bool = False,
    image_summary: int = 0,
) -> keras.Model:
    """Build an image encoder with a decoder that attends to it (Xu et al. 2015; Yu et al. 2022).

    Args:
        image: the part `[model.image]`: what reads the image, frozen or not.
        hidden_dim: of the decoder. Where the image part is of another width, a projection lies
            between the two.
        num_kv_heads, head_dim, ffn_dim, positions, norm, gated: as in the architecture `gpt`.
        max_length: tokens of a caption and its prompt; the image takes none of them.
        image_positions: tell the places of the image apart by a trained vector each, as a
            convolution needs it whose map says what is there and not where.
        image_summary: number of further vectors, each a projection of all places side by side.

    Returns: a `Captioner`. Inputs `images` (B, H, W, 3), `token_ids` and `padding_mask` (B, T);
    output (B, T, hidden_dim).

    Example:
        >>> image = {"architecture": "vit", "model": {"num_layers": 1, "hidden_dim": 32,
        ...     "num_heads": 2, "image_size": 32, "patch_size": 16}}
        >>> build(image=image, num_layers=1, hidden_dim=32, num_heads=2, vocab_size=99).vocab_size
        99
    """
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from modelzoo.architectures.parts import build_part, own_options
    from modelzoo.backbones.captioner import Captioner
    from modelzoo.layers.config import TransformerConfig

    own_options("image", image, {})
    config, rest = TransformerConfig.of(
        parameters,
        "image",
        rotary_theta=rotary_theta if positions == "rotary" else None,
        residual_init_scale=(3 * max(num_layers, 1)) ** -0.5,  # three sublayers write to it
    )
    return Captioner(config, image=build_part("image", image), **rest)
