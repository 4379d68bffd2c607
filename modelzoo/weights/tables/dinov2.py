"""DINOv2: layer scale, a plain or a gated feed-forward layer, class token and mean side by side."""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.errors import WeightsError
from modelzoo.weights.table import ACTIVATIONS, Head, Table, Value, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.image_processing import CLIP_MEAN, CLIP_STD, reader, writer
from modelzoo.weights.tables.shared.vision import (
    ATTENTION,
    EMBEDDINGS,
    PLAIN,
    UNUSED_OF_BACKBONES,
    VALUES,
    layers,
)

_OWN = ("gated", "layer_scale")


def _width(hidden: int, ratio: float, gated: bool) -> int:
    """Of the feed-forward layer: two thirds where it is gated, up to a multiple of 8."""
    whole = int(hidden * ratio)
    return (int(whole * 2 / 3) + 7) // 8 * 8 if gated else whole


def _read(config, names) -> dict:
    gated, act = config.get("use_swiglu_ffn", False), config.get("hidden_act", "gelu")
    width = _width(config.get("hidden_size", 768), config.get("mlp_ratio", 4), gated)
    act = Value("hidden_act", "activation", "gelu", ACTIVATIONS).read({"hidden_act": act}, "DINOv2")
    return {"gated": gated, "ffn_dim": width, "activation": "silu" if gated else act}


def _write(values: Mapping) -> dict:
    hidden, gated, act = values["hidden_dim"], values["gated"], values["activation"]
    if gated and act != "silu":
        raise WeightsError(f"the gate of a DINOv2 goes through silu, and this one through {act}")
    wanted = values["ffn_dim"]
    fits = [ratio for ratio in range(1, 17) if _width(hidden, ratio, gated) == wanted]
    if not fits:
        raise WeightsError(f"a DINOv2 has no mlp_ratio for ffn_dim = {wanted} of {hidden}")
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "mlp_ratio": fits[0],
        "use_swiglu_ffn": gated,
        "hidden_act": "gelu" if gated else names[act],
        "use_mask_token": False,
    }


DINOV2 = Table(
    model_type="dinov2",
    architecture="vit",
    prefix="dinov2.",
    rules=rules(EMBEDDINGS, theirs="dinov2."),
    layer_rules=layers(
        "dinov2.",
        layer_norm("norm1", "attention_norm"),
        ATTENTION,
        same("layer_scale1.lambda1", "attention_layer_scale"),
        layer_norm("norm2", "ffn_norm"),
        linear("mlp.fc1", "ffn/up"),
        linear("mlp.fc2", "ffn/down"),
        # A gated one has these in place of both, the gate first.
        linear("mlp.weights_in", "ffn/gate", "ffn/up"),
        linear("mlp.weights_out", "ffn/down"),
        same("layer_scale2.lambda1", "ffn_layer_scale"),
    ),
    values=(
        *(value for value in VALUES if value.theirs not in ("patch_size", "layer_norm_eps")),
        Value("patch_size", "patch_size", 14),
        Value("layer_norm_eps", "norm_epsilon", 1e-6),
        Value("layerscale_value", "layer_scale", 1.0),
    ),
    # The backbone alone too: what their classifier is put on. Its own pooled output is the first
    # half.
    fixed={**{key: v for key, v in PLAIN.items() if key not in _OWN}, "pooling": "cls_mean"},
    assumed={"num_channels": 3, "qkv_bias": True},
    heads={
        "image-classification": Head(
            ("Dinov2ForImageClassification",), rules(linear("classifier", "classifier"))
        )
    },
    unused=UNUSED_OF_BACKBONES,
    ignored=(r"dinov2\.embeddings\.mask_token",),
    read=_read,
    write=_write,
    # It takes images of any size, with interpolated positions: those that its processor makes.
    read_media=reader(
        sized=True,
        image_mean=CLIP_MEAN,
        image_std=CLIP_STD,
        resize="crop",
        resize_to=None,
        interpolation="bicubic",
    ),
    write_media=writer("BitImageProcessor"),
)
