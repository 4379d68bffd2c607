"""T5: an encoder-decoder with relative positions, RMSNorm and no biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 32_128,
    num_layers: int = 6,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 512,
    num_heads: int = 8,
    head_dim: int = 64,
    ffn_dim: int = 2048,
    max_length: int = 512,
    relative_buckets: int = 32,
    relative_max_distance: int = 128,
    relative_each: bool = False,
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "relu",
    gated: bool = False,
    experts: dict | None = None,
    tie_embeddings: bool = True,
    scale_logits: bool | None = None,
    norm_epsilon: float = 1e-6,
    initializer_range: float | None = None,
    dropout: float = 0.1,
) -> keras.Model:
    """Build a T5 (Raffel et al. 2020), or with a gated tanh-GELU and untied logits a v1.1.

    Args:
        num_decoder_layers: default: `num_layers`.
        max_length: longest source and target; relative positions themselves know no limit.
        experts: split the feed-forward layers into experts (Switch); see `ExpertsConfig`.
        relative_each: each layer has relative positions of its own (UMT5, Chung et al. 2023).
        tie_embeddings: one table for source, target and logits.
        scale_logits: by `hidden_dim ** -0.5`. Default: where the table is tied.
        initializer_range: of the matrices. Default: `hidden_dim ** -0.5`; the table starts at 1.

    Returns: an `EncoderDecoder`. Inputs `token_ids`, `padding_mask` (B, S), `decoder_token_ids`,
    `decoder_padding_mask` (B, T); output (B, T, hidden_dim).

    Example:
        >>> model = build(num_layers=2, hidden_dim=64, num_heads=2, ffn_dim=128, vocab_size=256)
        >>> model.count_params()
        279424
    """
    num_decoder_layers = num_layers if num_decoder_layers is None else num_decoder_layers
    parameters = dict(locals())
    from modelzoo.backbones.encoder_decoder import EncoderDecoder
    from modelzoo.layers.config import TransformerConfig

    scale_logits = tie_embeddings if scale_logits is None else scale_logits
    config, rest = TransformerConfig.of(
        parameters,
        "scale_logits",
        norm="rms",
        attention_bias=False,
        ffn_bias=False,
        attention_scale=1.0,
        attention_dropout=dropout,
        initializer_range=initializer_range or hidden_dim**-0.5,
    )
    return EncoderDecoder(
        config,
        positions="none",
        embedding_range=1.0,
        logit_scale=hidden_dim**-0.5 if scale_logits else 1.0,
        **rest,
    )
