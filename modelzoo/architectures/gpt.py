"""GPT-style decoders: GPT-1, GPT-2, GPT-3 and, with other values, the modern ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import keras


def build(
    *,
    vocab_size: int = 50_257,
    num_layers: int = 12,
    hidden_dim: int = 768,
    num_heads: int = 12,
    num_kv_heads: int | None = None,
    head_dim: int | None = None,
    ffn_dim: int | None = None,
    max_length: int = 1024,
    positions: Literal["learned", "sine", "rotary", "relative", "none"] = "learned",
    rotary_theta: float = 10_000.0,
    rotary_local_theta: float | None = None,
    rotary_fraction: float = 1.0,
    rotary_pattern: tuple[bool, ...] = (True,),
    rotary_scaling: dict | None = None,
    attention_pattern: tuple[Literal["global", "local"], ...] = ("global",),
    sliding_window: int | None = None,
    attention_scale: float | None = None,
    attention_softcap: float | None = None,
    qk_norm: bool = False,
    qk_norm_heads: Literal["shared", "separate", "joint"] = "shared",
    qk_norm_bias: bool | None = None,
    norm: Literal["layer", "rms", "rms_unit_offset"] = "layer",
    norm_position: Literal["pre", "post", "sandwich", "output"] = "pre",
    norm_bias: bool = True,
    norm_scale: bool = True,
    final_norm: bool | None = None,
    parallel_residual: bool = False,
    shared_norm: bool = False,
    residual_scale: float = 1.0,
    norm_epsilon: float = 1e-5,
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"] = "gelu_tanh",
    gated: bool = False,
    attention_bias: bool = True,
    attention_output_bias: bool | None = None,
    ffn_bias: bool = True,
    experts: dict | None = None,
    tie_embeddings: bool = True,
    head_bias: bool = False,
    embedding_dim: int | None = None,
    embedding_scale: float = 1.0,
    scale_embeddings: bool = False,
    position_offset: int = 0,
    logit_scale: float = 1.0,
    logit_softcap: float | None = None,
    dropout: float = 0.1,
    attention_dropout: float = 0.1,
) -> keras.Model:
    """Build a causal decoder (Radford et al. 2018, 2019; Brown et al. 2020).

    Args:
        num_kv_heads: key/value heads for grouped-query attention. Default: `num_heads`.
        head_dim: width of a head. Default: `hidden_dim / num_heads`.
        ffn_dim: width of the feed-forward layer. Default: `4 * hidden_dim`.
        positions: `"rotary"` and `"relative"` (32 T5 buckets) live in attention.
        rotary_local_theta, rotary_fraction, rotary_pattern, attention_pattern, sliding_window,
        attention_scale, attention_softcap, qk_norm, qk_norm_heads, qk_norm_bias, norm, norm_bias,
        norm_scale, parallel_residual, shared_norm, residual_scale, attention_output_bias: see
            `TransformerConfig`.
        experts: split the feed-forward layers into experts; see `ExpertsConfig`.
        rotary_scaling: see `layers.positions.rotary_rates`. `{"type": "longrope", ...}` takes its
            long factors if `max_length` is above its `original_max_length`, else its short ones.
        norm_position: `"post"` for GPT-1, which has no final norm; `"pre"` from GPT-2 on;
            `"sandwich"` for Gemma 3; `"output"` for OLMo 2.
        final_norm: normalise what leaves the last block. Default: unless `norm_position` is
            `"post"`.
        gated: a gated feed-forward layer, as in Llama with `activation="silu"`.
        head_bias: of an untied head (GPT-J, Phi).
        embedding_dim: width of the token table, projected to `hidden_dim` and back (OPT-350M).
            Default: `hidden_dim`.
        embedding_scale: factor on token vectors (Granite).
        scale_embeddings: multiply token vectors by `sqrt(hidden_dim)` (Gemma).
        position_offset: rows of the table of learned positions before position 0 (OPT: 2).
        logit_scale: factor on logits (Granite, Cohere).
        logit_softcap: keep logits within it, `cap * tanh(logit / cap)` (Gemma 2).

    Returns: a `Decoder`. Inputs `token_ids` and `padding_mask` (B, T); output (B, T, hidden_dim).

    Example:
        >>> build(num_layers=2, hidden_dim=64, num_heads=4, vocab_size=256).count_params()
        182016
    """
    ffn_dim = ffn_dim or 4 * hidden_dim
    parameters = dict(locals())
    from modelzoo.backbones.decoder import Decoder
    from modelzoo.layers.config import TransformerConfig

    config, rest = TransformerConfig.of(
        parameters,
        "scale_embeddings",
        "embedding_scale",
        "final_norm",
        rotary_theta=rotary_theta if positions == "rotary" else None,
        residual_init_scale=(2 * max(num_layers, 1)) ** -0.5,  # Radford et al. 2019, 2.3
    )
    return Decoder(
        config,
        final_norm=norm_position != "post" if final_norm is None else final_norm,
        embedding_scale=embedding_scale * (hidden_dim**0.5 if scale_embeddings else 1.0),
        relative_buckets=32 if positions == "relative" else 0,
        **rest,
    )
