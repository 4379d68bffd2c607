"""CLIP: both towers, their projections and the scale."""

from modelzoo.weights.table import Head, Table, Value, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.image_processing import CLIP_MEAN, CLIP_STD, reader, writer
from modelzoo.weights.tables.shared.towers import FIXED, IGNORED, TOWER_LAYERS, TOWERS, values

_SIZES = {"num_hidden_layers": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}

CLIP = Table(
    model_type="clip",
    architecture="contrastive",
    prefix="",
    rules=rules(
        TOWERS,
        same("vision_model.embeddings.class_embedding", "image/positions/class_token"),
        layer_norm("vision_model.pre_layrnorm", "image/embedding_norm"),  # so it is spelled
        layer_norm("vision_model.post_layernorm", "image/pooled_norm"),
        linear("visual_projection", "image_projection"),
        linear("text_projection", "text_projection"),
        same("logit_scale", "logit_scale"),
    ),
    layer_rules=(),
    part_rules=TOWER_LAYERS,
    values=(
        Value("projection_dim", "embed_dim", 512),
        *values(
            image={
                **_SIZES,
                "hidden_size": 768,
                "num_attention_heads": 12,
                "intermediate_size": 3072,
                "image_size": 224,
                "patch_size": 32,
            },
            text={
                **_SIZES,
                "hidden_size": 512,
                "num_attention_heads": 8,
                "intermediate_size": 2048,
                "vocab_size": 49_408,
                "max_position_embeddings": 77,
            },
        ),
    ),
    fixed={
        **FIXED,
        "image.model.cls_token": True,
        "image.model.patch_bias": False,
        "image.model.embedding_norm": True,
        "image.model.pooling": "cls",
        "image.model.norm": "pooled",
        "text.architecture": "gpt",
        "text.model.norm": "layer",
        "text.model.norm_position": "pre",
        "text.model.positions": "learned",
    },
    heads={"contrastive": Head(("CLIPModel",))},
    ignored=IGNORED,
    unused=("text_config.projection_dim", "vision_config.projection_dim"),
    read=lambda config, names: {"text.model.dropout": 0.0},
    read_media=reader(
        "image.model.",
        image_mean=CLIP_MEAN,
        image_std=CLIP_STD,
        resize="crop",
        resize_to=None,
        interpolation="bicubic",
    ),
    write_media=writer("CLIPImageProcessor", "image.model."),
    roles={"cls": "bos", "sep": "eos"},
)
