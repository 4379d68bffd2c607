"""BART."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, rules, same
from modelzoo.weights.tables.shared.sides import layer


def _side(side: str) -> tuple:
    return rules(
        same("embed_positions.weight", "positions/embeddings"),
        layer_norm("layernorm_embedding", "norm"),
        theirs=f"model.{side}.",
        ours=f"{side}_embedding/",
    )


def _read(config, names) -> dict:
    for key in ("attention_heads", "ffn_dim"):
        if config.get(f"encoder_{key}") != config.get(f"decoder_{key}"):
            raise WeightsError(f"a BART whose two sides have other {key} is not supported")
    return {"num_decoder_layers": config.get("decoder_layers") or config["encoder_layers"]}


def _write(values) -> dict:
    return {
        "decoder_layers": values["num_decoder_layers"],
        "decoder_attention_heads": values["num_heads"],
        "decoder_ffn_dim": values["ffn_dim"],
        "is_encoder_decoder": True,
    }


BART = Table(
    model_type="bart",
    architecture="bart",
    prefix="model.",
    rules=rules(
        same("model.shared.weight", "encoder_embedding/tokens/embeddings"),
        _side("encoder"),
        _side("decoder"),
    ),
    layer_rules=layer("encoder"),
    decoder_rules=layer("decoder"),
    values=(
        Value("vocab_size", "vocab_size"),
        Value("d_model", "hidden_dim"),
        Value("encoder_layers", "num_layers"),
        Value("encoder_attention_heads", "num_heads"),
        Value("encoder_ffn_dim", "ffn_dim"),
        Value("max_position_embeddings", "max_length"),
        Value("dropout", "dropout", 0.1),
        Value("attention_dropout", "attention_dropout", 0.0),
        activation("activation_function", default="gelu"),
    ),
    assumed={
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "normalize_before": False,
        "add_final_layer_norm": False,
        "static_position_embeddings": False,
        "normalize_embedding": True,
        "extra_pos_embeddings": 2,
    },
    aliases={
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
    },
    neutral={"force_bos_token_to_be_generated": False},
    unused=("num_hidden_layers", "classif_dropout"),
    heads={
        "seq2seq-lm": Head(
            ("BartForConditionalGeneration",),
            copies={
                "model.encoder.embed_tokens.weight": "model.shared.weight",
                "model.decoder.embed_tokens.weight": "model.shared.weight",
                "lm_head.weight": "model.shared.weight",
                "final_logits_bias": None,  # zeros
            },
        )
    },
    read=_read,
    write=_write,
)
