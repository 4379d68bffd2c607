"""Whisper."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.image_processing import check_media_keys
from modelzoo.weights.tables.shared.sides import layer

_AS_HEARD = {
    "sampling_rate": 16_000,
    "hop_length": 160,
    "n_fft": 400,
    "padding_value": 0.0,
    "dither": 0.0,
}


def _read(config, names) -> dict:
    for key in ("attention_heads", "ffn_dim"):
        if config.get(f"encoder_{key}") != config.get(f"decoder_{key}"):
            raise WeightsError(f"a Whisper whose two sides have other {key} is not supported")
    return {
        "num_decoder_layers": config.get("decoder_layers") or config["encoder_layers"],
        "num_columns": 2 * config.get("max_source_positions", 1500),
    }


def _write(values) -> dict:
    return {
        "decoder_layers": values["num_decoder_layers"],
        "decoder_attention_heads": values["num_heads"],
        "decoder_ffn_dim": values["ffn_dim"],
        "max_source_positions": values["num_columns"] // 2,
        "is_encoder_decoder": True,
    }


def _read_media(config) -> dict:
    """Nothing: what a Whisper hears is always made alike, which is checked."""
    sizes = ("feature_size", "chunk_length", "nb_max_frames", "n_samples", "num_mel_bins")
    unused = (*sizes, "mel_filters", "padding_side", "return_attention_mask")
    check_media_keys(config, (), unused, _AS_HEARD)
    return {}


def _write_media(values) -> dict:
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": values["num_mels"],
        "sampling_rate": 16_000,
        "hop_length": 160,
        "n_fft": 400,
        "chunk_length": values["num_columns"] // 100,
        "nb_max_frames": values["num_columns"],
        "n_samples": 160 * values["num_columns"],
    }


WHISPER = Table(
    model_type="whisper",
    architecture="whisper",
    prefix="model.",
    rules=rules(
        linear("model.encoder.conv1", "stem/first"),
        linear("model.encoder.conv2", "stem/second"),
        same("model.encoder.embed_positions.weight", "stem/positions"),
        layer_norm("model.encoder.layer_norm", "encoder/final_norm"),
        same("model.decoder.embed_tokens.weight", "decoder_embedding/tokens/embeddings"),
        same("model.decoder.embed_positions.weight", "decoder_embedding/positions/embeddings"),
        layer_norm("model.decoder.layer_norm", "decoder/final_norm"),
    ),
    layer_rules=layer("encoder"),
    decoder_rules=layer("decoder"),
    values=(
        Value("vocab_size", "vocab_size"),
        Value("d_model", "hidden_dim"),
        Value("encoder_layers", "num_layers"),
        Value("encoder_attention_heads", "num_heads"),
        Value("encoder_ffn_dim", "ffn_dim"),
        Value("max_target_positions", "max_length", 448),
        Value("num_mel_bins", "num_mels", 80),
        Value("dropout", "dropout", 0.0),
        Value("attention_dropout", "attention_dropout", 0.0),
        activation("activation_function", default="gelu"),
    ),
    assumed={"scale_embedding": False, "tie_word_embeddings": True},
    aliases={
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
    },
    # Of training, of another head, and of the timestamps of words.
    unused=(
        "num_hidden_layers",
        "apply_spec_augment",
        "mask_time_prob",
        "mask_time_length",
        "mask_time_min_masks",
        "mask_feature_prob",
        "mask_feature_length",
        "mask_feature_min_masks",
        "use_weighted_layer_sum",
        "classifier_proj_size",
        "median_filter_width",
        "forced_decoder_ids",
    ),
    heads={
        "speech-to-text": Head(
            ("WhisperForConditionalGeneration",),
            copies={"proj_out.weight": "model.decoder.embed_tokens.weight"},
        )
    },
    read=_read,
    write=_write,
    read_media=_read_media,
    write_media=_write_media,
)
