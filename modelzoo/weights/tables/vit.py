"""ViT."""

from modelzoo.weights.table import Head, Table, linear, rules
from modelzoo.weights.tables.shared.image_processing import HALF, reader, writer
from modelzoo.weights.tables.shared.vision import EMBEDDINGS, LAYER, PLAIN, UNUSED, layers, sized

VIT = Table(
    model_type="vit",
    architecture="vit",
    prefix="vit.",
    rules=rules(EMBEDDINGS, theirs="vit."),
    layer_rules=layers("vit.", LAYER),
    values=sized(),
    fixed=PLAIN,
    assumed={"num_channels": 3, "qkv_bias": True},
    heads={
        "image-classification": Head(
            ("ViTForImageClassification",), rules(linear("classifier", "classifier"))
        )
    },
    unused=UNUSED,
    ignored=(r"vit\.pooler\..*",),  # over the class token, for no task here
    read_media=reader(image_mean=HALF, image_std=HALF, resize="squash", interpolation="bilinear"),
    write_media=writer("ViTImageProcessor"),
)
