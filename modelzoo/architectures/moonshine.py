"""Moonshine: speech to text from raw samples, in windows as long as one likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 32_768,
    num_layers: int = 6,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 288,
    num_heads: int = 8,
    ffn_dim: int | None = None,
    max_length: int = 194,
    num_samples: int = 160_000,
    rotary_theta: float = 10_000.0,
    rotary_fraction: float = 0.9,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build a Moonshine (Jeffries et al. 2024).

    Args:
        num_decoder_layers: default: `num_layers`.
        ffn_dim: default: `4 * hidden_dim`; the decoder's is gated.
        max_length: tokens of a window's text.
        num_samples: of a window, at 16 kHz; the weights do not depend on it, the time does. What
            is shorter gives what it gives by itself.
        rotary_fraction: the share of a head that positions turn.

    Returns: a `SpeechEncoderDecoder`. Inputs `audio` (B, num_samples) in [-1, 1], `num_samples`
    (B,), `token_ids`, `padding_mask` (B, T); output (B, T, hidden_dim).

    Raises:
        RecipeError: a window that is too short for one token.

    Example:
        >>> build(vocab_size=64, num_layers=1, hidden_dim=32, num_heads=2).count_params()
        60192
    """
    num_decoder_layers = num_layers if num_decoder_layers is None else num_decoder_layers
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from dataclasses import replace

    from modelzoo.backbones.speech import SpeechEncoderDecoder
    from modelzoo.errors import RecipeError
    from modelzoo.layers.config import TransformerConfig
    from modelzoo.layers.frontends.wave_stem import conv_lengths

    if conv_lengths(num_samples)[-1] < 1:
        raise RecipeError(f"num_samples {num_samples} are too few for one token of 24 ms")
    encoder, rest = TransformerConfig.of(
        parameters, norm_position="pre", norm_bias=False, attention_bias=False, activation="gelu"
    )
    decoder = replace(encoder, activation="silu", gated=True)
    return SpeechEncoderDecoder(decoder, encoder_config=encoder, positions="none", **rest)
