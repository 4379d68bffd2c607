"""wav2vec 2.0 and HuBERT: sound as its samples, read by convolutions and a transformer."""

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
    num_samples: int = 160_000,
    sample_rate: int = 16_000,
    normalize: bool = True,
    conv_dims: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512),
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2),
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2),
    conv_bias: bool = False,
    feature_norm: Literal["group", "layer"] = "group",
    position_kernel: int = 128,
    position_groups: int = 16,
    norm_position: Literal["post", "pre"] = "post",
    weighted_layers: bool = False,
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu",
    norm_epsilon: float = 1e-5,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build the encoder of wav2vec 2.0 (Baevski et al. 2020), which is HuBERT's (Hsu et al. 2021).

    The defaults are the base model. The large ones after "LV-60" have `feature_norm="layer",
    conv_bias=True, norm_position="pre"`.

    Args:
        ffn_dim: default: `4 * hidden_dim`.
        num_samples: of a window; the weights do not depend on it, the time does. What is shorter
            gives what it gives by itself.
        normalize: bring each sound to mean 0 and variance 1.
        conv_dims, conv_kernels, conv_strides: of each convolution over the samples; a token is as
            many samples as the product of the strides.
        feature_norm: normalise each channel of the first convolution over time (`"group"`), or
            each column after every convolution (`"layer"`).
        weighted_layers: what is pooled is a mean of all layers' outputs, with a trained weight for
            each, as in SUPERB (Yang et al. 2021).
        position_kernel, position_groups: of the convolution that says where a token stands.

    Returns: a `WaveTransformer`. Inputs `audio` (B, N) in [-1, 1], `num_samples` (B,); outputs
    `sequence` (B, tokens, hidden_dim), `pooled` (B, hidden_dim), the mean of real tokens.

    Raises:
        RecipeError: a window that is too short for one token, or lists of different lengths.

    Example:
        >>> build(num_layers=1, hidden_dim=32, num_heads=2, conv_dims=(8, 8), conv_kernels=(10, 3),
        ...     conv_strides=(5, 2), num_samples=800).count_params()
        21712
    """
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from modelzoo.backbones.wave import WaveTransformer
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(parameters)
    return WaveTransformer(config, **rest)
