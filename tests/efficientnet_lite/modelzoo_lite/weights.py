"""Checkpoints of the model type efficientnet_lite: the names of the published PyTorch weights."""

from modelzoo.weights.table import Head, Table, Value, batch_norm, conv, depthwise, linear, rules

_MOST = 40  # blocks, of which a model has its own: Lite4 has 30


def _block(i):
    theirs, ours = f"_blocks.{i}._", f"block_{i}_"
    return rules(
        conv(f"{theirs}expand_conv", f"{ours}expand"),
        batch_norm(f"{theirs}bn0", f"{ours}expand_norm"),
        depthwise(f"{theirs}depthwise_conv", f"{ours}depthwise"),
        batch_norm(f"{theirs}bn1", f"{ours}depthwise_norm"),
        conv(f"{theirs}project_conv", f"{ours}project"),
        batch_norm(f"{theirs}bn2", f"{ours}project_norm"),
    )


TABLE = Table(
    model_type="efficientnet_lite",
    architecture="lite/efficientnet-lite",
    prefix="",
    rules=rules(
        conv("_conv_stem", "stem"),
        batch_norm("_bn0", "stem_norm"),
        *(_block(i) for i in range(_MOST)),
        conv("_conv_head", "head"),
        batch_norm("_bn1", "head_norm"),
    ),
    layer_rules=(),
    values=(
        Value("image_size", "image_size", 224),
        Value("width_coefficient", "width", 1.0),
        Value("depth_coefficient", "depth", 1.0),
        Value("batch_norm_epsilon", "norm_epsilon", 1e-3),
    ),
    heads={
        "image-classification": Head(
            ("EfficientNetLiteForImageClassification",), rules=rules(linear("_fc", "classifier"))
        )
    },
)
