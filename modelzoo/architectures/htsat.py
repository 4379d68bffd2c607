"""HTSAT: a hierarchical transformer over a spectrogram, the audio tower of CLAP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(
    *,
    width: int = 96,
    depths: tuple[int, ...] = (2, 2, 6, 2),
    num_heads: tuple[int, ...] = (4, 8, 16, 32),
    window: int = 8,
    patch_size: int = 4,
    side: int = 256,
    num_mels: int = 64,
    sample_rate: int = 48_000,
    frame_length: int = 1024,
    hop: int = 480,
    low_hz: float = 50.0,
    high_hz: float = 14_000.0,
    seconds: float = 10.0,
    norm_epsilon: float = 1e-5,
    dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build an HTSAT (Chen et al. 2022) as CLAP has it (Wu et al. 2023), without feature fusion.

    Args:
        width: of the first stage; it doubles from stage to stage.
        depths, num_heads: blocks and heads of each stage.
        side: of the square that the spectrogram is folded into.
        seconds: of sound; what is shorter is repeated, and what is longer is cut by the caller.

    Returns: a `SwinAudio`. Input `audio` (B, N) in [-1, 1]; outputs `sequence` and `pooled`
    (B, 8 * width).

    Example:
        >>> build(width=24, depths=(2, 2), num_heads=(2, 4), side=64, num_mels=32, window=4,
        ...     seconds=1.0).count_params()
        76996
    """
    from modelzoo.backbones.swin import SwinAudio
    from modelzoo.layers.frontends.mel import MelConfig

    mel = MelConfig(
        sample_rate=sample_rate,
        num_mels=num_mels,
        frame_length=frame_length,
        hop=hop,
        fft_length=frame_length,
        centred=True,
        area_norm=True,
        low_hz=low_hz,
        high_hz=high_hz,
        log="decibel",
    )
    return SwinAudio(
        mel,
        round(seconds * sample_rate),
        width,
        depths,
        num_heads,
        window,
        patch_size,
        side,
        norm_epsilon,
        dropout,
        initializer_range,
    )
