"""Small values for every backbone, so that each can be built, trained and exported on a laptop.

Most follow from an argument's name; the backbones whose arguments depend on each other, or are
models themselves, are written out. A table with `class` in it stands for an object of that class.
"""

from __future__ import annotations

from modelzoo_kerashub.index import Backbone
from modelzoo_kerashub.sizes_images import IMAGES
from modelzoo_kerashub.sizes_texts import TEXTS

__all__ = ["LENGTH", "small_values"]

# Tokens of a text in the exported signature; frames and boxes are said in EXPORT.
LENGTH = 16

_BY_NAME = {
    "vocabulary_size": 128,
    "vocab_size": 128,
    "num_layers": 2,
    "num_layers_enc": 2,
    "num_layers_dec": 2,
    "num_heads": 2,
    "num_attention_heads": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 4,
    "head_dim": 8,
    "head_size": 16,
    "hidden_dim": 32,
    "hidden_size": 32,
    "embedding_dim": 16,
    "intermediate_dim": 64,
    "mlp_dim": 64,
    "moe_intermediate_dim": 32,
    "shared_expert_intermediate_dim": 32,
    "shared_expert_intermediate_size": 32,
    "filter_dim": 32,
    "projection_dim": 16,
    "top_k": 2,
    "image_size": 32,
    "image_shape": [32, 32, 3],
    "patch_size": 8,
    "layer_types": ["full_attention", "full_attention"],
}
# What these have a default for, and a small model wants smaller.
_LIMITS = {"max_sequence_length": 64, "image_shape": [32, 32, 3]}
_WRITTEN_OUT = {**IMAGES, **TEXTS}

# [export] of the recipes: what the inputs' own shapes leave open.
EXPORT: dict[str, dict] = {
    # One image and two texts: with one each, both kinds of logits are the same number.
    **{
        f"{prefix}Backbone": {"shapes": {"token_ids": [2, LENGTH]}}
        for prefix in ("CLIP", "MetaCLIP2", "SigLIP")
    },
    "MoonshineBackbone": {
        "shapes": {"encoder_input_values": [1, 2048, 1], "encoder_padding_mask": [1, 2048]}
    },
    "WhisperBackbone": {"shapes": {"encoder_features": [1, 16, 80]}},
    "SAMBackbone": {
        "shapes": {
            "points": [1, 2, 2],
            "labels": [1, 2],
            "boxes": [1, 1, 2, 2],
            "masks": [1, 1, 16, 16, 1],
        }
    },
    "SAM3PromptableConceptBackbone": {"shapes": {"boxes": [1, 1, 5], "box_labels": [1, 1]}},
}


def small_values(backbone: Backbone) -> dict[str, object]:
    """Values for every argument that must be given, and for those that would make it large."""
    written = _WRITTEN_OUT.get(backbone.name, {})
    values = {}
    for argument in backbone.arguments:
        name = argument.name
        plain = name.removeprefix("encoder_").removeprefix("decoder_")
        if name in written:
            values[name] = written[name]
        elif argument.default is not ...:
            if name in _LIMITS:
                values[name] = _LIMITS[name]
        elif name in _BY_NAME or plain in _BY_NAME:
            values[name] = _BY_NAME.get(name, _BY_NAME.get(plain))
    return values
