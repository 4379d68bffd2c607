"""BEiT: layer scale, keys without a bias, and distances of patches in place of positions."""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Table, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.image_processing import HALF, reader, writer
from modelzoo.weights.tables.shared.vision import (
    EMBEDDINGS,
    LAYER,
    PLAIN,
    UNUSED_OF_BACKBONES,
    layers,
    sized,
)

_BIAS = "relative_position_bias.relative_position_bias_table"
_OWN = ("positions", "relative_positions", "pooling", "norm", "layer_scale")


def _read(config, names) -> dict:
    shared = config.get("use_shared_relative_position_bias", False)
    each = config.get("use_relative_position_bias", False)
    if shared and each:
        raise WeightsError("a BEiT whose layers have a relative bias of their own and a shared one")
    scale, mean = config.get("layer_scale_init_value", 0.1), config.get("use_mean_pooling", True)
    learned = config.get("use_absolute_position_embeddings", False)
    return {
        "positions": "learned" if learned else "none",
        "relative_positions": "shared" if shared else "each" if each else "none",
        "layer_scale": scale if scale > 0 else None,
        "pooling": "mean" if mean else "cls",
        "norm": "pooled" if mean else "sequence",
    }


def _write(values: Mapping) -> dict:
    pooled = (values["pooling"], values["norm"])
    if pooled not in (("mean", "pooled"), ("cls", "sequence")):
        raise WeightsError(
            "a BEiT normalises the mean of its patches, or the sequence and takes its class token; "
            f"this model has pooling = {pooled[0]!r} and norm = {pooled[1]!r}"
        )
    return {
        "use_absolute_position_embeddings": values["positions"] == "learned",
        "use_relative_position_bias": values["relative_positions"] == "each",
        "use_shared_relative_position_bias": values["relative_positions"] == "shared",
        "layer_scale_init_value": values["layer_scale"] or 0.0,
        "use_mean_pooling": pooled[0] == "mean",
        "use_mask_token": False,
    }


BEIT = Table(
    model_type="beit",
    architecture="vit",
    prefix="beit.",
    rules=rules(
        EMBEDDINGS,
        same(f"encoder.{_BIAS}", "relative_bias/table"),
        layer_norm("pooler.layernorm", "pooled_norm"),
        theirs="beit.",
    ),
    layer_rules=(
        *layers(
            "beit.",
            LAYER,
            same("lambda_1", "attention_layer_scale"),
            same("lambda_2", "ffn_layer_scale"),
        ),
        *same(f"beit.encoder.layer.{{i}}.attention.attention.{_BIAS}", "relative_bias_{i}/table"),
    ),
    values=sized(),
    fixed={
        **{key: value for key, value in PLAIN.items() if key not in _OWN},
        "attention_key_bias": False,
    },
    assumed={"num_channels": 3},
    heads={
        "image-classification": Head(
            ("BeitForImageClassification",), rules(linear("classifier", "classifier"))
        )
    },
    unused=(
        *UNUSED_OF_BACKBONES,
        "add_fpn",
        "auxiliary_channels",
        "auxiliary_concat_input",
        "auxiliary_loss_weight",
        "auxiliary_num_convs",
        "pool_scales",
        "semantic_loss_ignore_index",
        "use_auxiliary_head",
        "vocab_size",
    ),
    ignored=(r"beit\.embeddings\.mask_token", r".*\.relative_position_index"),
    read=_read,
    write=_write,
    read_media=reader(image_mean=HALF, image_std=HALF, resize="squash", interpolation="bicubic"),
    write_media=writer("BeitImageProcessor"),
)
