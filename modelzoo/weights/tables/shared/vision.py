"""What ViT, DeiT, DINOv2 and BEiT have in common: names of a layer and of the embeddings, sizes."""

from __future__ import annotations

from typing import Any

from modelzoo.weights.table import Rule, Value, activation, layer_norm, linear, rules, same

# What a plain vision transformer has of ours.
PLAIN: dict[str, Any] = {
    "cls_token": True,
    "distillation_token": False,
    "positions": "learned",
    "relative_positions": "none",
    "patch_bias": True,
    "patch_frames": 1,
    "embedding_norm": False,
    "pooling": "cls",
    "norm": "sequence",
    "gated": False,
    "layer_scale": None,
    "attention_bias": True,
    "attention_key_bias": True,
}
VALUES = (
    Value("image_size", "image_size", 224),
    Value("patch_size", "patch_size", 16),
    Value("hidden_size", "hidden_dim", 768),
    Value("num_hidden_layers", "num_layers", 12),
    Value("num_attention_heads", "num_heads", 12),
    Value("layer_norm_eps", "norm_epsilon", 1e-12),
    Value("hidden_dropout_prob", "dropout", 0.0),
    Value("attention_probs_dropout_prob", "attention_dropout", 0.0),
    Value("initializer_range", "initializer_range", 0.02),
)
# Of a head for masked pixels, and of the pooler, for no task here.
UNUSED = ("encoder_stride", "pooler_output_size", "pooler_act")
# Of a feature pyramid, of training, and of the mask token, which is ignored.
UNUSED_OF_BACKBONES = (
    "apply_layernorm",
    "drop_path_rate",
    "out_features",
    "out_indices",
    "reshape_hidden_states",
    "stage_names",
    "use_mask_token",
)

ATTENTION = rules(
    linear("attention.attention.query", "attention/query"),
    linear("attention.attention.key", "attention/key"),
    linear("attention.attention.value", "attention/value"),
    linear("attention.output.dense", "attention/output"),
)
LAYER = rules(
    layer_norm("layernorm_before", "attention_norm"),
    ATTENTION,
    layer_norm("layernorm_after", "ffn_norm"),
    linear("intermediate.dense", "ffn/up"),
    linear("output.dense", "ffn/down"),
)
EMBEDDINGS = rules(
    same("embeddings.cls_token", "positions/class_token", ones=2),
    same("embeddings.position_embeddings", "positions/embeddings", ones=1, grid=True),
    # Theirs is (out, channels, H, W), ours turned round whole.
    linear("embeddings.patch_embeddings.projection", "patches"),
    layer_norm("layernorm", "stack/final_norm"),
)


def sized(*more: Value) -> tuple[Value, ...]:
    """`VALUES` with the feed-forward layer of most model types, and more."""
    return (
        *VALUES,
        Value("intermediate_size", "ffn_dim", 3072),
        activation("hidden_act", default="gelu"),
        *more,
    )


def layers(prefix: str, *groups: list[Rule] | tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Rules of each layer, under the names that all of them have."""
    return rules(*groups, theirs=f"{prefix}encoder.layer.{{i}}.", ours="stack/block_{i}/")
