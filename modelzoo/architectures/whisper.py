"""Whisper: thirty seconds of speech to text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 51_865,
    num_layers: int = 4,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 384,
    num_heads: int = 6,
    ffn_dim: int | None = None,
    max_length: int = 448,
    num_mels: int = 80,
    num_columns: int = 3000,
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build a Whisper (Radford et al. 2022).

    Args:
        num_decoder_layers: default: `num_layers`.
        ffn_dim: default: `4 * hidden_dim`.
        max_length: tokens of a window's text, the prompt among them.
        num_mels: bands of the spectrogram.
        num_columns: of the spectrogram, one every 10 ms; even. 3000 are the 30 s of the published
            models; what is shorter is filled up with silence.

    Returns: a `SpeechEncoderDecoder`. Inputs `audio` (B, 160 * num_columns) in [-1, 1] at 16 kHz,
    `token_ids`, `padding_mask` (B, T); output (B, T, hidden_dim).

    Raises:
        RecipeError: an odd number of columns, or of the width.

    Example:
        >>> build(vocab_size=64, num_layers=1, hidden_dim=32, num_heads=2).count_params()
        104928
    """
    num_decoder_layers = num_layers if num_decoder_layers is None else num_decoder_layers
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from dataclasses import replace

    from modelzoo.backbones.speech import SpeechEncoderDecoder
    from modelzoo.errors import RecipeError
    from modelzoo.layers.config import TransformerConfig
    from modelzoo.layers.frontends.mel import WHISPER

    for name, value in (("num_columns", num_columns), ("hidden_dim", hidden_dim)):
        if value % 2 or value < 4:
            raise RecipeError(f"{name} must be even, and 4 or more, not {value}")
    config, rest = TransformerConfig.of(
        parameters, "num_mels", norm_position="pre", attention_key_bias=False
    )
    return SpeechEncoderDecoder(config, mel=replace(WHISPER, num_mels=num_mels), **rest)
