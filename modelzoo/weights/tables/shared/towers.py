"""What CLIP and SigLIP have in common: two towers, an encoder each, named alike."""

from __future__ import annotations

from typing import Any

from modelzoo.weights.table import ACTIVATIONS, Rule, Value, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.sides import attention
from modelzoo.weights.tables.shared.vision import PLAIN


def _layer(theirs: str, ours: str) -> tuple[Rule, ...]:
    return rules(
        layer_norm("layer_norm1", "attention_norm"),
        attention("self_attn", "attention"),
        layer_norm("layer_norm2", "ffn_norm"),
        linear("mlp.fc1", "ffn/up"),
        linear("mlp.fc2", "ffn/down"),
        theirs=f"{theirs}.encoder.layers.{{i}}.",
        ours=f"{ours}/stack/block_{{i}}/",
    )


TOWERS = rules(
    # Theirs is (out, channels, H, W), ours turned round whole.
    linear("vision_model.embeddings.patch_embedding", "image/patches"),
    same(
        "vision_model.embeddings.position_embedding.weight",
        "image/positions/embeddings",
        grid=True,
    ),
    same("text_model.embeddings.token_embedding.weight", "text/embedding/tokens/embeddings"),
    same("text_model.embeddings.position_embedding.weight", "text/embedding/positions/embeddings"),
    layer_norm("text_model.final_layer_norm", "text/stack/final_norm"),
)
TOWER_LAYERS = {
    "image.model.num_layers": _layer("vision_model", "image"),
    "text.model.num_layers": _layer("text_model", "text"),
}
IGNORED = (r"(vision|text)_model\.embeddings\.position_ids",)


def values(image: dict[str, Any], text: dict[str, Any]) -> tuple[Value, ...]:
    """The keys of both towers.

    Args:
        image, text: their key -> what it is where their file leaves it out.
    """
    found = []
    for theirs, ours, defaults, own in (
        ("vision_config", "image", image, ("image_size", "patch_size")),
        ("text_config", "text", text, ("vocab_size", "max_position_embeddings")),
    ):
        names = {
            "hidden_size": "hidden_dim",
            "num_hidden_layers": "num_layers",
            "num_attention_heads": "num_heads",
            "intermediate_size": "ffn_dim",
            "layer_norm_eps": "norm_epsilon",
            "attention_dropout": "attention_dropout",
            "hidden_act": "activation",
            **{key: "max_length" if key.startswith("max") else key for key in own},
        }
        for key, name in names.items():
            known = ACTIVATIONS if key == "hidden_act" else None
            default = defaults.get(key, 0.0 if key == "attention_dropout" else ...)
            found.append(Value(f"{theirs}.{key}", f"{ours}.model.{name}", default, known))
    return tuple(found)


# What both have of ours that no key of theirs changes.
FIXED = {
    "image.architecture": "vit",
    **{
        f"image.model.{key}": value
        for key, value in PLAIN.items()
        if key not in ("cls_token", "patch_bias", "embedding_norm", "pooling", "norm")
    },
    "text.pooling": "last",
    "scale": "shared",
}
