"""BART and its relatives: encoder-decoders with learned or sine positions, pre- or post-norm."""

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
    positions: Literal["learned", "sine", "sine_halves", "sine_tensor2tensor"] = "learned",
    position_offset: int = 2,
    norm_position: Literal["pre", "post"] = "post",
    embedding_norm: bool = True,
    scale_embedding: bool = False,
    logit_bias: bool = False,
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu",
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
) -> keras.Model:
    """Build a BART (Lewis et al. 2020), or a Marian, Pegasus, mBART, M2M-100 or Blenderbot.

    Args:
        num_decoder_layers: default: `num_layers`.
        ffn_dim: default: `4 * hidden_dim`.
        max_length: positions of either side.
        positions: a learned table for each side, or fixed ones; see `layers.positions.SINES`.
        position_offset: what position 0 is counted as: a learned table has this number of rows
            before it.
        norm_position: `"pre"` normalises what enters each sublayer, and what leaves each stack
            (Pegasus, Zhang et al. 2020; mBART, Liu et al. 2020).
        embedding_norm: normalise the sum of token and position.
        scale_embedding: token vectors by `hidden_dim ** 0.5`.
        logit_bias: a trained number for each token, added to its logit (Marian, Junczys-Dowmunt et
            al. 2018).

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

    config, rest = TransformerConfig.of(parameters, "scale_embedding")
    return EncoderDecoder(
        config,
        embedding_scale=hidden_dim**0.5 if scale_embedding else 1.0,
        final_norm=norm_position == "pre",
        **rest,
    )
