"""ViT."""

from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.image_processing import HALF, reader, writer

_LAYER = rules(
    layer_norm("layernorm_before", "attention_norm"),
    linear("attention.attention.query", "attention/query"),
    linear("attention.attention.key", "attention/key"),
    linear("attention.attention.value", "attention/value"),
    linear("attention.output.dense", "attention/output"),
    layer_norm("layernorm_after", "ffn_norm"),
    linear("intermediate.dense", "ffn/up"),
    linear("output.dense", "ffn/down"),
    theirs="vit.encoder.layer.{i}.",
    ours="stack/block_{i}/",
)

VIT = Table(
    model_type="vit",
    architecture="vit",
    prefix="vit.",
    rules=rules(
        same("embeddings.cls_token", "positions/class_token", ones=2),
        same("embeddings.position_embeddings", "positions/embeddings", ones=1, grid=True),
        # Theirs is (out, channels, H, W), ours turned round whole.
        linear("embeddings.patch_embeddings.projection", "patches"),
        layer_norm("layernorm", "stack/final_norm"),
        theirs="vit.",
    ),
    layer_rules=_LAYER,
    values=(
        Value("image_size", "image_size", 224),
        Value("patch_size", "patch_size", 16),
        Value("hidden_size", "hidden_dim"),
        Value("num_hidden_layers", "num_layers"),
        Value("num_attention_heads", "num_heads"),
        Value("intermediate_size", "ffn_dim"),
        Value("layer_norm_eps", "norm_epsilon", 1e-12),
        Value("hidden_dropout_prob", "dropout", 0.0),
        Value("attention_probs_dropout_prob", "attention_dropout", 0.0),
        Value("initializer_range", "initializer_range", 0.02),
        activation("hidden_act", default="gelu"),
    ),
    fixed={
        "cls_token": True,
        "patch_bias": True,
        "patch_frames": 1,
        "embedding_norm": False,
        "pooling": "cls",
        "norm": "sequence",
        "attention_bias": True,
    },
    assumed={"num_channels": 3, "qkv_bias": True},
    heads={
        "image-classification": Head(
            ("ViTForImageClassification",), rules(linear("classifier", "classifier"))
        )
    },
    unused=("encoder_stride", "pooler_output_size", "pooler_act"),
    ignored=(r"vit\.pooler\..*",),  # over the class token, for no task here
    read_media=reader(image_mean=HALF, image_std=HALF, resize="squash", interpolation="bilinear"),
    write_media=writer("ViTImageProcessor"),
)
