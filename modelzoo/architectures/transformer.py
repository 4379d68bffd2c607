"""The Transformer of 2017: sine positions, post-norm, ReLU, one table for all three uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 37_000,
    num_layers: int = 6,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 512,
    num_heads: int = 8,
    ffn_dim: int = 2048,
    max_length: int = 512,
    dropout: float = 0.1,
) -> keras.Model:
    """Build a Transformer (Vaswani et al. 2017).

    Args:
        num_decoder_layers: default: `num_layers`.
        max_length: longest source and target; sine positions themselves know no limit.

    Returns: an `EncoderDecoder`. Inputs `token_ids`, `padding_mask` (B, S), `decoder_token_ids`,
    `decoder_padding_mask` (B, T); output (B, T, hidden_dim).

    Example:
        >>> model = build(num_layers=1, hidden_dim=64, num_heads=2, ffn_dim=128, vocab_size=256)
        >>> model.count_params()
        100096
    """
    num_decoder_layers = num_layers if num_decoder_layers is None else num_decoder_layers
    parameters = dict(locals())
    from modelzoo.backbones.encoder_decoder import EncoderDecoder
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(
        parameters,
        norm_position="post",
        activation="relu",
        initializer_range=hidden_dim**-0.5,  # the table is scaled up on its way in (3.4)
    )
    return EncoderDecoder(
        config, positions="sine", embedding_scale=hidden_dim**0.5, final_norm=False, **rest
    )
