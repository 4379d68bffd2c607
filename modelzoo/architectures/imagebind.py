"""The towers of ImageBind for sound, depth, heat and motion; `vit` and `gpt` are the other two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    signal: Literal["audio", "depth", "thermal", "imu"] = "audio",
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    image_size: int = 224,
    num_columns: int = 204,
    num_mels: int = 128,
    num_steps: int = 2000,
    norm_epsilon: float = 1e-6,
    dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build one of the smaller towers of ImageBind (Girdhar et al. 2023).

    Args:
        signal: `"audio"` is cut into patches of 16 x 16 every 10 bands and columns of its
            spectrogram, `"depth"` and `"thermal"` images into patches of 16 x 16, and six channels
            of a motion sensor, `"imu"`, into stretches of 8 steps.
        image_size: a side of depth and thermal images.
        num_columns, num_mels: of a spectrogram; 204 columns are 2.055 s at 16 kHz.
        num_steps: of the motion sensor.

    Returns: a `SensorEncoder`. Input `audio` (B, N), `depth` or `thermal` (B, image_size,
    image_size), or `imu` (B, 6, num_steps); outputs `sequence` and `pooled` (B, hidden_dim).

    Example:
        >>> build(signal="imu", num_layers=6, hidden_dim=512, num_heads=8).count_params()
        19076096
    """
    parameters = dict(locals())
    from dataclasses import replace

    from modelzoo.backbones.imagebind import SensorEncoder
    from modelzoo.layers.config import TransformerConfig
    from modelzoo.layers.frontends.mel import KALDI

    config, rest = TransformerConfig.of(
        parameters,
        *("signal", "image_size", "num_columns", "num_mels", "num_steps"),
        ffn_dim=4 * hidden_dim,
        attention_extra_token=True,
    )
    size, patch, stride, mel = (image_size, image_size), (16, 16), (16, 16), None
    if signal == "audio":
        size, stride = (num_mels, num_columns), (10, 10)
        mel = replace(KALDI, num_mels=num_mels, mean=-4.268, deviation=9.138)
    elif signal == "imu":
        size, patch, stride = (6, num_steps), (6, 8), (6, 8)
    return SensorEncoder(config, size=size, patch=patch, stride=stride, mel=mel, **rest)
