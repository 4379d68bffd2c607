"""SigLIP: both towers, the image tower's attention pooling, scale and bias."""

import math

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Rule, Table, Value, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.image_processing import HALF, reader, writer
from modelzoo.weights.tables.shared.towers import FIXED, IGNORED, TOWER_LAYERS, TOWERS, values

_SIZES = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
_PROBE = "image/attention_pooling"
_THREE = tuple(f"{_PROBE}/attention/{name}" for name in ("query", "key", "value"))


def _read(config, names) -> dict:
    text, width = config.get("text_config", {}), config.get("vision_config", {}).get("hidden_size")
    if text.get("projection_size", width) != width:
        raise WeightsError("a SigLIP whose towers end in different widths is not supported")
    if not any(name.startswith("vision_model.head.") for name in names):
        raise WeightsError("a SigLIP without the head of its image tower is not supported")
    return {"text.model.dropout": 0.0, "initial_scale": math.log(10), "initial_bias": -10.0}


def _write(values) -> dict:
    if values["embed_dim"] != values["image.model.hidden_dim"]:
        raise WeightsError("a SigLIP compares its image tower's own vectors, without a projection")
    return {"text_config.projection_size": values["embed_dim"]}


SIGLIP = Table(
    model_type="siglip",
    architecture="contrastive",
    prefix="",
    rules=rules(
        TOWERS,
        layer_norm("vision_model.post_layernorm", "image/stack/final_norm"),
        same("vision_model.head.probe", f"{_PROBE}/probe", ones=2),
        [
            Rule(
                "vision_model.head.attention.in_proj_weight",
                tuple(f"{path}/kernel" for path in _THREE),
                transpose=True,
            ),
            Rule(
                "vision_model.head.attention.in_proj_bias", tuple(f"{path}/bias" for path in _THREE)
            ),
        ],
        linear("vision_model.head.attention.out_proj", f"{_PROBE}/attention/output"),
        layer_norm("vision_model.head.layernorm", f"{_PROBE}/norm"),
        linear("vision_model.head.mlp.fc1", f"{_PROBE}/ffn/up"),
        linear("vision_model.head.mlp.fc2", f"{_PROBE}/ffn/down"),
        linear("text_model.head", "text_projection"),
        same("logit_scale", "logit_scale", ones=1),
        same("logit_bias", "logit_bias", ones=1),
    ),
    layer_rules=(),
    part_rules=TOWER_LAYERS,
    values=(
        Value("vision_config.hidden_size", "embed_dim", 768),
        *values(
            image={**_SIZES, "image_size": 224, "patch_size": 16},
            text={**_SIZES, "vocab_size": 32_000, "max_position_embeddings": 64},
        ),
    ),
    fixed={
        **FIXED,
        "image.model.cls_token": False,
        "image.model.patch_bias": True,
        "image.model.embedding_norm": False,
        "image.model.pooling": "attention",
        "image.model.norm": "sequence",
        "image.projection": "none",
        "text.architecture": "bert",
        "text.model.norm_position": "pre",
        "text.model.num_segments": 0,
        "text.model.position_offset": 0,
        "text.model.pooler": False,
        "text.padding": "visible",
        "text.projection_bias": True,
    },
    heads={"contrastive": Head(("SiglipModel",), options={"loss": "sigmoid"})},
    ignored=IGNORED,
    neutral={"vision_use_head": True},
    read=_read,
    write=_write,
    read_media=reader(
        "image.model.", image_mean=HALF, image_std=HALF, resize="squash", interpolation="bicubic"
    ),
    write_media=writer("SiglipImageProcessor", "image.model."),
    roles={"sep": "eos"},
)
