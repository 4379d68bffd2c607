"""Captions by prefix: image vectors, projected, are the first tokens that a decoder reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    image: dict,
    decoder: dict,
    projector: Literal["linear", "mlp"] = "linear",
    projector_bias: bool = True,
    pixel_shuffle: int = 1,
    image_token: int | None = None,
) -> keras.Model:
    """Build a decoder that reads images as tokens (Liu et al. 2023, LLaVA; Marafioti et al. 2025).

    Args:
        image: the part `[model.image]`: what reads the image, frozen or not.
        decoder: the part `[model.decoder]`, of the architecture `gpt`. Its `max_length` has room
            for the image's tokens and the text's.
        projector, projector_bias, pixel_shuffle, image_token: see `PrefixDecoder`.

    Returns: a `PrefixDecoder`. Inputs `images` (B, H, W, 3), `token_ids` and `padding_mask` (B, T);
    output (B, T, hidden_dim).

    Example:
        >>> image = {"architecture": "vit", "model": {"num_layers": 1, "hidden_dim": 32,
        ...     "num_heads": 2, "image_size": 32, "patch_size": 8}}
        >>> text = {"architecture": "gpt", "model": {"num_layers": 1, "hidden_dim": 32,
        ...     "num_heads": 2, "vocab_size": 99}}
        >>> build(image=image, decoder=text, pixel_shuffle=2).image_tokens
        4
    """
    from modelzoo.architectures.parts import build_part, own_options
    from modelzoo.backbones.prefix import PrefixDecoder
    from modelzoo.errors import RecipeError

    own_options("image", image, {})
    own_options("decoder", decoder, {})
    if pixel_shuffle < 1:
        raise RecipeError(f"pixel_shuffle must be at least 1, not {pixel_shuffle}")
    text = build_part("decoder", decoder)
    if not hasattr(text, "stack") or not hasattr(text, "step"):
        raise RecipeError(
            f"model.decoder is a {type(text).__name__}, and a prefix needs a decoder",
            next_step='take a recipe of the architecture "gpt" under [model.decoder]',
        )
    return PrefixDecoder(
        build_part("image", image),
        text,
        projector=projector,
        projector_bias=projector_bias,
        pixel_shuffle=pixel_shuffle,
        image_token=image_token,
    )
