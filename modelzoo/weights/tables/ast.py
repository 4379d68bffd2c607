"""AST, the Audio Spectrogram Transformer."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import (
    Head,
    Rule,
    Table,
    Value,
    activation,
    layer_norm,
    linear,
    rules,
    same,
)
from modelzoo.weights.tables.shared.image_processing import check_media_keys
from modelzoo.weights.tables.shared.vision import LAYER, layers

_PREFIX = "audio_spectrogram_transformer."


def _read_media(config) -> dict:
    """The statistics that a spectrogram is normalised by."""
    keys = {"mean": "mean", "std": "deviation", "sampling_rate": "sample_rate"}
    # The sizes are those of config.json; a batch of one length needs no mask.
    sizes = ("num_mel_bins", "max_length", "padding_side", "return_attention_mask")
    neutral = {"feature_size": 1, "padding_value": 0.0, "do_normalize": True}
    check_media_keys(config, tuple(keys), sizes, neutral)
    if config.get("do_normalize") is False:
        raise WeightsError(
            "do_normalize = False is not supported", where="preprocessor_config.json"
        )
    return {ours: config[theirs] for theirs, ours in keys.items() if theirs in config}


def _write_media(values) -> dict:
    return {
        "feature_extractor_type": "ASTFeatureExtractor",
        "feature_size": 1,
        "do_normalize": True,
        "mean": values["mean"],
        "std": values["deviation"],
        "sampling_rate": values["sample_rate"],
        "num_mel_bins": values["num_mels"],
        "max_length": values["num_columns"],
    }


AST = Table(
    model_type="audio-spectrogram-transformer",
    architecture="ast",
    prefix=_PREFIX,
    rules=rules(
        same("embeddings.cls_token", "patches/class_token"),
        same("embeddings.distillation_token", "patches/distillation_token"),
        same("embeddings.position_embeddings", "patches/positions"),
        # Theirs is (out, 1, bands, columns), ours turned round whole: (columns, bands, 1, out).
        # Time and frequency change places, as in our spectrograms.
        [
            Rule(
                "embeddings.patch_embeddings.projection.weight",
                ("patches/projection/kernel",),
                axes=(3, 2, 1, 0),
            )
        ],
        same("embeddings.patch_embeddings.projection.bias", "patches/projection/bias"),
        layer_norm("layernorm", "stack/final_norm"),
        theirs=_PREFIX,
    ),
    layer_rules=layers(_PREFIX, LAYER),
    values=(
        Value("hidden_size", "hidden_dim", 768),
        Value("num_hidden_layers", "num_layers", 12),
        Value("num_attention_heads", "num_heads", 12),
        Value("intermediate_size", "ffn_dim", 3072),
        Value("max_length", "num_columns", 1024),
        Value("num_mel_bins", "num_mels", 128),
        Value("patch_size", "patch_size", 16),
        Value("time_stride", "time_stride", 10),
        Value("frequency_stride", "frequency_stride", 10),
        Value("layer_norm_eps", "norm_epsilon", 1e-12),
        Value("hidden_dropout_prob", "dropout", 0.0),
        Value("attention_probs_dropout_prob", "attention_dropout", 0.0),
        activation("hidden_act", default="gelu"),
    ),
    assumed={"qkv_bias": True},
    read_media=_read_media,
    write_media=_write_media,
    heads={
        "audio-classification": Head(
            ("ASTForAudioClassification",),
            rules(
                layer_norm("classifier.layernorm", "norm"),
                linear("classifier.dense", "classifier"),
            ),
            options={"norm_epsilon": 1e-12},
        )
    },
)
