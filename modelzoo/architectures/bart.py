"""BART: a post-norm encoder-decoder with learned positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 50_265,
    num_layers: int = 6,
    num_decoder_layers: int | None = None,
    hidden_dim: int = 768,
    num_heads: int = 12,
    ffn_dim: int | None = None,
    max_length: int = 1024,
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu",
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
) -> keras.Model:
    """Build a BART (Lewis et al. 2020).

    Args:
        num_decoder_layers: default: `num_layers`.
        ffn_dim: default: `4 * hidden_dim`.
        max_length: positions of either side; each table keeps two rows more before position 0.

    Returns: an `EncoderDecoder`. Inputs `token_ids`, `padding_mask` (B, S), `decoder_token_ids`,
    `decoder_padding_mask` (B, T); output (B, T, hidden_dim).

    Example:
        >>> build(num_layers=1, hidden_dim=64, num_heads=2, vocab_size=256).count_params()
        264704
    """
    num_decoder_layers = num_layers if num_decoder_layers is None else num_decoder_layers
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from modelzoo.backbones.encoder_decoder import EncoderDecoder
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(parameters, norm_position="post")
    return EncoderDecoder(config, position_offset=2, embedding_norm=True, final_norm=False, **rest)
