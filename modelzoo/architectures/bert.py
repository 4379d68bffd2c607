"""BERT and its descendants: a bidirectional encoder, post-norm, with learned positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 30_522,
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    ffn_dim: int | None = None,
    max_length: int = 512,
    position_offset: int = 0,
    num_segments: int = 2,
    pooler: bool = True,
    embedding_dim: int | None = None,
    relative_buckets: int = 0,
    share_layers: bool = False,
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"] = "gelu",
    norm_position: Literal["pre", "post"] = "post",
    norm_epsilon: float = 1e-12,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build a BERT encoder (Devlin et al. 2019).

    Args:
        ffn_dim: width of the feed-forward layer. Default: `4 * hidden_dim`.
        position_offset: rows of the position table before position 0 (RoBERTa: 2).
        num_segments: sentence A and B embeddings; 0 for none (DistilBERT, Sanh et al. 2019).
        pooler: a dense tanh layer over the first token, for next-sentence prediction and
            classification.
        embedding_dim: width of the embedding tables; a dense layer widens their sum to
            `hidden_dim` (ALBERT, Lan et al. 2020; ELECTRA, Clark et al. 2020). Default:
            `hidden_dim`, without that layer.
        relative_buckets: relative positions besides the learned ones, shared by all layers, in this
            number of buckets; 0 for none (MPNet, Song et al. 2020: 32).
        share_layers: all layers have the same weights (ALBERT).
        norm_position: `"pre"` normalises what enters each sublayer and what leaves the last one,
            and not the embeddings (the text tower of SigLIP, Zhai et al. 2023).
        initializer_range: standard deviation of the initial weights. Narrow models leave the
            plateau of the unigram loss sooner with about `hidden_dim ** -0.5`.

    Returns: an `Encoder`. Inputs `token_ids`, `padding_mask`, `segment_ids`, each (B, T); outputs
    `sequence` (B, T, hidden_dim) and `pooled` (B, hidden_dim).

    Example:
        >>> encoder = build(num_layers=2, hidden_dim=128, num_heads=2)
        >>> encoder.count_params()
        4385920
    """
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from modelzoo.backbones.encoder import Encoder
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(parameters)
    return Encoder(
        config,
        embedding_norm=norm_position == "post",
        final_norm=norm_position == "pre",
        **rest,
    )
