"""DeiT: a ViT with a distillation token, and with one head or the mean of two."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Table, linear, rules, same
from modelzoo.weights.tables.shared.image_processing import HALF, reader, writer
from modelzoo.weights.tables.shared.vision import EMBEDDINGS, LAYER, PLAIN, UNUSED, layers, sized

_TWO_HEADS = "DeiTForImageClassificationWithTeacher"
_FIXED = {key: value for key, value in PLAIN.items() if key != "pooling"}


def _distilled(config, names) -> bool:
    return "distillation_classifier.weight" in names


def _write(values) -> dict:
    if values["pooling"] not in ("cls", "cls_distillation"):
        raise WeightsError(f"a deit does not pool by {values['pooling']!r}")
    return {}


DEIT = Table(
    model_type="deit",
    architecture="vit",
    prefix="deit.",
    rules=rules(
        EMBEDDINGS,
        same("embeddings.distillation_token", "positions/distillation_token", ones=2),
        theirs="deit.",
    ),
    layer_rules=layers("deit.", LAYER),
    values=sized(),
    fixed={**_FIXED, "distillation_token": True},
    assumed={"num_channels": 3, "qkv_bias": True},
    heads={
        "image-classification": Head(
            ("DeiTForImageClassification", _TWO_HEADS),
            rules(
                linear("classifier", "classifier"),
                linear("cls_classifier", "class_classifier"),
                linear("distillation_classifier", "distillation_classifier"),
            ),
            read=lambda config, names: {"distilled": True} if _distilled(config, names) else {},
            write=lambda options: {"architectures": [_TWO_HEADS]} if options["distilled"] else {},
        )
    },
    unused=UNUSED,
    ignored=(r"deit\.pooler\..*", r"deit\.embeddings\.mask_token"),
    read=lambda config, names: {
        "pooling": "cls_distillation" if _distilled(config, names) else "cls"
    },
    write=_write,
    read_media=reader(
        image_mean=HALF, image_std=HALF, resize="squash", resize_to=None, interpolation="bicubic"
    ),
    write_media=writer("DeiTImageProcessor"),
)
