"""wav2vec 2.0, and HuBERT, which is the same model under another name."""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.errors import WeightsError
from modelzoo.weights.table import (
    Head,
    Rule,
    Table,
    Value,
    activation,
    conv,
    layer_norm,
    linear,
    rules,
    same,
)
from modelzoo.weights.tables.shared.image_processing import check_media_keys
from modelzoo.weights.tables.shared.sides import attention

_NORMS = {"group": "group", "layer": "layer"}
_BASE = {
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
}
# Of training, of other heads, and what follows from other keys.
_UNUSED = (
    "codevector_dim",
    "contrastive_logits_temperature",
    "ctc_loss_reduction",
    "ctc_zero_infinity",
    "diversity_loss_weight",
    "adapter_kernel_size",
    "adapter_stride",
    "num_adapter_layers",
    "num_codevector_groups",
    "num_codevectors_per_group",
    "num_feat_extract_layers",
    "num_negatives",
    "output_hidden_size",
    "proj_codevector_dim",
    "tdnn_dilation",
    "tdnn_dim",
    "tdnn_kernel",
    "vocab_size",
    "xvector_output_dim",
    "apply_spec_augment",
    "mask_feature_length",
    "mask_feature_min_masks",
    "mask_feature_prob",
    "mask_time_length",
    "mask_time_min_masks",
    "mask_time_prob",
    "gradient_checkpointing",
    "mask_channel_length",
    "mask_channel_min_space",
    "mask_channel_other",
    "mask_channel_prob",
    "mask_channel_selection",
    "mask_time_min_space",
    "mask_time_other",
    "mask_time_selection",
    "no_mask_channel_overlap",
    "no_mask_time_overlap",
)


def _read(config, names) -> dict:
    lists = {key: config.get(key, default) for key, default in _BASE.items()}
    if len({len(value) for value in lists.values()}) > 1:
        raise WeightsError(
            "; ".join(f"{key} has {len(value)} numbers" for key, value in lists.items())
            + ", and each convolution needs one of each"
        )
    stable = config.get("do_stable_layer_norm", False)
    return {
        "conv_dims": list(lists["conv_dim"]),
        "conv_kernels": list(lists["conv_kernel"]),
        "conv_strides": list(lists["conv_stride"]),
        "norm_position": "pre" if stable else "post",
    }


def _write(values: Mapping) -> dict:
    return {
        "conv_dim": list(values["conv_dims"]),
        "conv_kernel": list(values["conv_kernels"]),
        "conv_stride": list(values["conv_strides"]),
        "num_feat_extract_layers": len(values["conv_dims"]),
        "do_stable_layer_norm": values["norm_position"] == "pre",
        # Without the vector of what is masked in training.
        "apply_spec_augment": False,
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
    }


def _read_media(config: Mapping) -> dict:
    # The window is as long as the caller says; what is real in it is known without a mask.
    sizes = ("padding_side", "return_attention_mask", "max_length", "tokenizer_class")
    check_media_keys(
        config, ("do_normalize", "sampling_rate"), sizes, {"feature_size": 1, "padding_value": 0.0}
    )
    keys = {"do_normalize": "normalize", "sampling_rate": "sample_rate"}
    kinds = {"do_normalize": bool, "sampling_rate": int}
    for key, value in config.items():
        if key in kinds and type(value) is not kinds[key]:
            where = "preprocessor_config.json"
            raise WeightsError(f"{key} {value!r} is not supported", where=where)
    return {ours: config[theirs] for theirs, ours in keys.items() if theirs in config}


def _write_media(values: Mapping) -> dict:
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "sampling_rate": values["sample_rate"],
        "do_normalize": values["normalize"],
        "return_attention_mask": values["feature_norm"] == "layer",
    }


def _positions(theirs: str) -> list[Rule]:
    """A length and a direction for each tap, under both names that PyTorch has had for them."""
    pairs = {
        "parametrizations.weight.original0": "parametrizations.weight.original1",
        "weight_g": "weight_v",
    }
    found = same(f"{theirs}.bias", "positions/bias")
    for length, direction in pairs.items():
        found += [
            Rule(f"{theirs}.{length}", ("positions/length",), ones=2),
            Rule(f"{theirs}.{direction}", ("positions/direction",), axes=(2, 1, 0)),
        ]
    return found


def _backbone(prefix: str) -> tuple[Rule, ...]:
    return rules(
        layer_norm("feature_projection.layer_norm", "features_norm"),
        linear("feature_projection.projection", "projection"),
        _positions("encoder.pos_conv_embed.conv"),
        # Before the layers, or after them where these normalise what enters.
        layer_norm("encoder.layer_norm", "embedding_norm"),
        layer_norm("encoder.layer_norm", "stack/final_norm"),
        theirs=prefix,
    )


def _table(model_type: str, kind: str, assumed: Mapping, written_as: str | None = None) -> Table:
    prefix = f"{model_type}."
    layer = rules(
        attention("attention", "attention"),
        linear("feed_forward.intermediate_dense", "ffn/up"),
        linear("feed_forward.output_dense", "ffn/down"),
        layer_norm("layer_norm", "attention_norm"),
        layer_norm("final_layer_norm", "ffn_norm"),
        theirs=f"{prefix}encoder.layers.{{i}}.",
        ours="stack/block_{i}/",
    )
    features = rules(
        conv("conv", "conv_{i}", dims=1),
        layer_norm("layer_norm", "norm_{i}"),
        theirs=f"{prefix}feature_extractor.conv_layers.{{i}}.",
        ours="features/",
    )
    return Table(
        model_type=model_type,
        architecture="wav2vec2",
        prefix=prefix,
        rules=rules(same("layer_weights", "layer_weights"), _backbone(prefix)),
        layer_rules=layer,
        part_rules={"conv_dims": features},
        values=(
            Value("hidden_size", "hidden_dim", 768),
            Value("num_hidden_layers", "num_layers", 12),
            Value("num_attention_heads", "num_heads", 12),
            Value("intermediate_size", "ffn_dim", 3072),
            Value("layer_norm_eps", "norm_epsilon", 1e-5),
            Value("hidden_dropout", "dropout", 0.1),
            Value("attention_dropout", "attention_dropout", 0.1),
            Value("initializer_range", "initializer_range", 0.02),
            Value("conv_bias", "conv_bias", False),
            Value("use_weighted_layer_sum", "weighted_layers", False),
            Value("feat_extract_norm", "feature_norm", "group", _NORMS),
            Value("num_conv_pos_embeddings", "position_kernel", 128),
            Value("num_conv_pos_embedding_groups", "position_groups", 16),
            activation("hidden_act", default="gelu"),
        ),
        assumed={"feat_extract_activation": "gelu", **assumed},
        heads={
            "audio-classification": Head(
                (f"{kind}ForSequenceClassification",),
                rules(linear("projector", "projector"), linear("classifier", "classifier")),
                values=(Value("classifier_proj_size", "projection_dim", 256),),
            )
        },
        unused=_UNUSED,
        ignored=(rf"{model_type}\.masked_spec_embed",),  # what is masked in training
        read=_read,
        write=_write,
        read_media=_read_media,
        write_media=_write_media,
        written_as=written_as,
    )


WAV2VEC2 = _table("wav2vec2", "Wav2Vec2", {"add_adapter": False, "adapter_attn_dim": None})
HUBERT = _table(
    "hubert",
    "Hubert",
    {"feat_proj_layer_norm": True, "conv_pos_batch_norm": False},
    written_as="wav2vec2",
)
