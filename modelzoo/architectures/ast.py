"""AST, the Audio Spectrogram Transformer: sound as a picture of its spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    ffn_dim: int | None = None,
    num_columns: int = 1024,
    num_mels: int = 128,
    patch_size: int = 16,
    time_stride: int = 10,
    frequency_stride: int = 10,
    sample_rate: int = 16_000,
    mean: float = -4.2677393,
    deviation: float = 4.5689974,
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu",
    norm_epsilon: float = 1e-12,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build an AST (Gong et al. 2021).

    Args:
        ffn_dim: default: `4 * hidden_dim`.
        num_columns: of the spectrogram, one every 10 ms; 1024 are 10.255 s at 16 kHz.
        num_mels: bands of the spectrogram, from 20 Hz to half the rate.
        patch_size: columns and bands of a patch; a stride below it makes patches overlap.
        mean, deviation: of the training data's spectrograms, AudioSet's by default; the input has
            a deviation of one half.

    Returns: an `AudioTransformer`. Inputs `audio` (B, N) in [-1, 1], `num_samples` (B,); outputs
    `sequence` (B, 2 + patches, hidden_dim), `pooled` (B, hidden_dim).

    Raises:
        RecipeError: a patch does not fit into the spectrogram.

    Example:
        >>> build(num_layers=2, hidden_dim=64, num_heads=2, num_columns=128).count_params()
        126016
    """
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from dataclasses import replace

    from modelzoo.backbones.audio import AudioTransformer
    from modelzoo.errors import RecipeError
    from modelzoo.layers.config import TransformerConfig
    from modelzoo.layers.frontends.mel import KALDI

    if patch_size > min(num_columns, num_mels):
        raise RecipeError(
            f"patches of {patch_size} do not fit into {num_columns} columns of {num_mels} bands"
        )
    frame, hop = sample_rate * 25 // 1000, sample_rate // 100
    mel = replace(
        KALDI,
        sample_rate=sample_rate,
        frame_length=frame,
        hop=hop,
        fft_length=1 << (frame - 1).bit_length(),
        high_hz=sample_rate / 2,
        num_mels=num_mels,
        mean=mean,
        deviation=2 * deviation,
    )
    config, rest = TransformerConfig.of(
        parameters, "sample_rate", "num_mels", "mean", "deviation", norm_position="pre"
    )
    return AudioTransformer(config, mel=mel, **rest)
