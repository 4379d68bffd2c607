"""ModernBERT: an encoder with rotary positions, local layers, gated feed-forward and no biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 50_368,
    num_layers: int = 22,
    hidden_dim: int = 768,
    num_heads: int = 12,
    ffn_dim: int = 1152,
    max_length: int = 8192,
    attention_pattern: tuple[Literal["global", "local"], ...] = ("global", "local", "local"),
    sliding_window: int = 128,
    rotary_theta: float = 160_000.0,
    rotary_local_theta: float = 10_000.0,
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu",
    attention_bias: bool = False,
    ffn_bias: bool = False,
    norm_bias: bool = False,
    norm_epsilon: float = 1e-5,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> keras.Model:
    """Build a ModernBERT encoder (Warner et al. 2024).

    Args:
        max_length: rotary positions themselves know no limit.
        attention_pattern: the kinds of the layers, repeated; a local one sees
            `sliding_window // 2` tokens on either side.
        rotary_theta, rotary_local_theta: bases of the rotary positions in global and local layers.

    Returns: an `Encoder`. Inputs `token_ids` and `padding_mask`, each (B, T); output `sequence`
    (B, T, hidden_dim).

    Example:
        >>> build(num_layers=7, hidden_dim=256, num_heads=4, ffn_dim=384).count_params()
        16797440
    """
    parameters = dict(locals())
    from modelzoo.backbones.encoder import Encoder
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(
        parameters,
        first_attention_norm=False,  # the embeddings are normalised
        gated=True,
        residual_init_scale=(2 * max(num_layers, 1)) ** -0.5,
    )
    return Encoder(config, positions="none", embedding_norm=True, **rest)
