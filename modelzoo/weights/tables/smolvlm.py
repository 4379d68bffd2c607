"""SmolVLM: a SigLIP image tower without its head, a projection, a Llama."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.weights.table import (
    ACTIVATIONS,
    Head,
    Table,
    Value,
    layer_norm,
    linear,
    rms_norm,
    rules,
    same,
)
from modelzoo.weights.tables.llama import (
    FIXED,
    PRE_NORMS,
    SIZES,
    SUBLAYERS,
    read_heads,
    write_heads,
)
from modelzoo.weights.tables.shared.image_processing import (
    INTERPOLATIONS,
    RESAMPLE,
    check_media_keys,
    read_statistics,
)
from modelzoo.weights.tables.shared.rotary import (
    read_rotary,
    write_full_layers,
    write_rotary,
)
from modelzoo.weights.tables.shared.towers import TOWER_LAYERS
from modelzoo.weights.tables.shared.vision import PLAIN

_MEDIA = ("do_normalize", "image_mean", "image_std", "do_rescale", "rescale_factor", "resample")
# The whole image is looked at, at the size of the tower.
_SIZES = ("size", "max_image_size", "do_image_splitting", "do_pad")
_IMAGE, _TEXT = "image.model.", "decoder.model."
# The chat template of these checkpoints, for one image that is not cut into tiles.
TEMPLATE = (
    "<|im_start|>User:<fake_token_around_image><global-img>{image}<fake_token_around_image>"
    "{prompt}<end_of_utterance>\nAssistant:"
)

_TEXT_LAYER = rules(
    SUBLAYERS,
    PRE_NORMS,
    theirs="model.text_model.layers.{i}.",
    ours="decoder/stack/block_{i}/",
)


def _read(config: Mapping, names) -> dict:
    text = config.get("text_config", {})
    own = {**read_heads(text), **read_rotary(text, 10_000.0)}
    return {_TEXT + key: value for key, value in own.items()}


def _write(values: Mapping) -> dict:
    own = {key.removeprefix(_TEXT): v for key, v in values.items() if key.startswith(_TEXT)}
    text = {
        "model_type": "llama",
        **write_heads(own),
        "tie_word_embeddings": own["tie_embeddings"],
        **write_rotary(own),
        **write_full_layers(own),
    }
    found = {f"text_config.{key}": value for key, value in text.items()}
    return {**found, "vision_config.model_type": "smolvlm_vision"}


def _read_media(config: Mapping) -> dict:
    """Of the whole image; theirs is resized by Lanczos, which ours has not."""
    check_media_keys(config, _MEDIA, _SIZES, {"do_convert_rgb": True})
    interpolation = INTERPOLATIONS.get(config.get("resample", 3), "bicubic")
    found: dict[str, Any] = {"resize": "squash", "interpolation": interpolation}
    found |= read_statistics(config, {})
    return {_IMAGE + key: value for key, value in found.items()}


def _write_media(values: Mapping) -> dict:
    size = values[_IMAGE + "image_size"]
    return {
        "image_processor_type": "SmolVLMImageProcessor",
        "do_image_splitting": False,
        "do_resize": True,
        "size": {"longest_edge": size},
        "max_image_size": {"longest_edge": size},
        "resample": RESAMPLE[values[_IMAGE + "interpolation"]],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(values[_IMAGE + "image_mean"]),
        "image_std": list(values[_IMAGE + "image_std"]),
        "do_pad": False,
    }


SMOLVLM = Table(
    model_type="smolvlm",
    architecture="prefix",
    prefix="model.",
    rules=rules(
        # Theirs is (out, channels, H, W), ours turned round whole.
        linear("model.vision_model.embeddings.patch_embedding", "image/patches"),
        same(
            "model.vision_model.embeddings.position_embedding.weight", "image/positions/embeddings"
        ),
        layer_norm("model.vision_model.post_layernorm", "image/stack/final_norm"),
        linear("model.connector.modality_projection.proj", "projector"),
        same("model.text_model.embed_tokens.weight", "decoder/embedding/tokens/embeddings"),
        rms_norm("model.text_model.norm", "decoder/stack/final_norm"),
        linear("lm_head", "decoder/head"),
    ),
    layer_rules=(),
    part_rules={
        "image.model.num_layers": rules(TOWER_LAYERS["image.model.num_layers"], theirs="model."),
        "decoder.model.num_layers": _TEXT_LAYER,
    },
    values=(
        Value("image_token_id", "image_token"),
        Value("scale_factor", "pixel_shuffle", 2),
        Value("tie_word_embeddings", _TEXT + "tie_embeddings", False),
        Value("vision_config.image_size", _IMAGE + "image_size", 224),
        Value("vision_config.patch_size", _IMAGE + "patch_size", 32),
        Value("vision_config.hidden_size", _IMAGE + "hidden_dim", 1152),
        Value("vision_config.num_hidden_layers", _IMAGE + "num_layers", 12),
        Value("vision_config.num_attention_heads", _IMAGE + "num_heads", 16),
        Value("vision_config.intermediate_size", _IMAGE + "ffn_dim", 3072),
        Value("vision_config.layer_norm_eps", _IMAGE + "norm_epsilon", 1e-6),
        Value("vision_config.hidden_act", _IMAGE + "activation", "gelu_pytorch_tanh", ACTIVATIONS),
        *(
            Value(f"text_config.{size.theirs}", _TEXT + size.ours, size.default)
            for size in SIZES
            if size.ours != "attention_dropout"
        ),
        Value("text_config.hidden_act", _TEXT + "activation", "silu", ACTIVATIONS),
    ),
    fixed={
        "projector": "linear",
        "projector_bias": False,
        "image.architecture": "vit",
        **{_IMAGE + key: value for key, value in PLAIN.items()},
        _IMAGE + "cls_token": False,
        _IMAGE + "pooling": "mean",
        "decoder.architecture": "gpt",
        **{_TEXT + key: value for key, value in FIXED.items()},
        _TEXT + "attention_bias": False,
        _TEXT + "attention_dropout": 0.0,
    },
    heads={
        "captioning": Head(("SmolVLMForConditionalGeneration",), options={"template": TEMPLATE})
    },
    ignored=(r".*rotary_emb\.inv_freq",),
    read=_read,
    write=_write,
    read_media=_read_media,
    write_media=_write_media,
)
