"""BART and its relatives: mBART, Marian, Pegasus, M2M-100 (NLLB) and Blenderbot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.sides import layer

_BIAS = "final_logits_bias"
_TIED = {
    "model.encoder.embed_tokens.weight": "model.shared.weight",
    "model.decoder.embed_tokens.weight": "model.shared.weight",
    "lm_head.weight": "model.shared.weight",
}


def _side(side: str) -> tuple:
    """Positions and norms of a side, all that a relative may have."""
    return rules(
        same("embed_positions.weight", f"{side}_embedding/positions/embeddings"),
        layer_norm("layernorm_embedding", f"{side}_embedding/norm"),
        layer_norm("layer_norm", f"{side}/final_norm"),
        theirs=f"model.{side}.",
    )


def _head(name: str) -> dict[str, Head]:
    """The one head of most of them, whose logits have a bias of zeros."""
    return {"seq2seq-lm": Head((name,), copies={**_TIED, _BIAS: None})}


def _values(kind: str, scaled: bool) -> tuple:
    """Their keys; the defaults of `activation_function` and `scale_embedding` differ."""
    return (
        Value("vocab_size", "vocab_size"),
        Value("d_model", "hidden_dim"),
        Value("encoder_layers", "num_layers"),
        Value("encoder_attention_heads", "num_heads"),
        Value("encoder_ffn_dim", "ffn_dim"),
        Value("max_position_embeddings", "max_length"),
        Value("dropout", "dropout", 0.1),
        Value("attention_dropout", "attention_dropout", 0.0),
        Value("scale_embedding", "scale_embedding", scaled),
        activation("activation_function", default=kind),
    )


def _assumed(pre: bool, norm: bool, static: bool) -> dict[str, Any]:
    """What files of fairseq's time say of the kind of model, besides its model type."""
    return {
        "tie_word_embeddings": True,
        "normalize_before": pre,
        "add_final_layer_norm": pre,
        "normalize_embedding": norm,
        "static_position_embeddings": static,
    }


def _read(config, names, name: str) -> dict:
    for key in ("attention_heads", "ffn_dim"):
        if config.get(f"encoder_{key}") != config.get(f"decoder_{key}"):
            raise WeightsError(f"a {name} whose two sides have other {key} is not supported")
    return {"num_decoder_layers": config.get("decoder_layers") or config["encoder_layers"]}


def _read_marian(config, names) -> dict:
    size = config.get("decoder_vocab_size")
    if size not in (None, config["vocab_size"]):
        raise WeightsError(f"a Marian with decoder_vocab_size = {size}, unlike vocab_size")
    return {**_read(config, names, "Marian"), "logit_bias": _BIAS in names}


def _write(values) -> dict:
    return {
        "decoder_layers": values["num_decoder_layers"],
        "decoder_attention_heads": values["num_heads"],
        "decoder_ffn_dim": values["ffn_dim"],
        "is_encoder_decoder": True,
    }


def _sines(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The positions that both sides of a Marian or Pegasus store: sines, then cosines."""
    rates = 10_000.0 ** (-np.arange(0, values["hidden_dim"], 2) / values["hidden_dim"])
    angles = np.outer(np.arange(values["max_length"]), rates)
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype("float32")
    return {f"model.{side}.embed_positions.weight": table for side in ("encoder", "decoder")}


def _read_classifier(config, names) -> dict:
    start, end = (config.get(f"{role}_token_id", 2) for role in ("decoder_start", "eos"))
    if None not in (start, end) and start != end:
        raise WeightsError(
            f"a BART classifier with decoder_start_token_id = {start} is not supported, only with "
            f"the eos_token_id, {end}",
            where="config.json",
        )
    return {}


_CLASSIFIER = Head(
    ("BartForSequenceClassification",),
    rules(
        linear("classification_head.dense", "hidden"),
        linear("classification_head.out_proj", "classifier"),
    ),
    copies=dict(list(_TIED.items())[:2]),
    options={"hidden_activation": "tanh", "pooling": None},
    read=_read_classifier,
)

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
    values=_values("gelu", scaled=False),
    fixed={
        "positions": "learned",
        "position_offset": 2,
        "norm_position": "post",
        "embedding_norm": True,
        "logit_bias": False,
    },
    assumed={**_assumed(pre=False, norm=True, static=False), "extra_pos_embeddings": 2},
    aliases={
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
        "num_hidden_layers": "encoder_layers",
    },
    neutral={"force_bos_token_to_be_generated": False},
    unused=("num_hidden_layers", "classif_dropout"),
    heads={**_head("BartForConditionalGeneration"), "text-classification": _CLASSIFIER},
    read=partial(_read, name="BART"),
    write=_write,
)

MBART = replace(
    BART,
    model_type="mbart",
    fixed={**BART.fixed, "norm_position": "pre"},
    assumed=_assumed(pre=True, norm=True, static=False),
    heads=_head("MBartForConditionalGeneration"),
    read=partial(_read, name="mBART"),
)

_PRE_NORM = {**BART.fixed, "norm_position": "pre", "embedding_norm": False}

BLENDERBOT = replace(
    BART,
    model_type="blenderbot",
    fixed={**_PRE_NORM, "position_offset": 0},
    assumed={
        **_assumed(pre=True, norm=False, static=False),
        "extra_pos_embeddings": 0,
        "layernorm_variant": "prelayernorm",
    },
    unused=(*BART.unused, "do_blenderbot_90_layernorm"),
    heads=_head("BlenderbotForConditionalGeneration"),
    read=partial(_read, name="Blenderbot"),
)

# NLLB has the same model type.
M2M_100 = replace(
    BART,
    model_type="m2m_100",
    values=_values("relu", scaled=True),
    fixed={**_PRE_NORM, "positions": "sine_tensor2tensor"},
    assumed=_assumed(pre=True, norm=False, static=True),
    heads=_head("M2M100ForConditionalGeneration"),
    read=partial(_read, name="M2M-100"),
)

PEGASUS = replace(
    BART,
    model_type="pegasus",
    fixed={**_PRE_NORM, "positions": "sine_halves", "position_offset": 0},
    assumed=_assumed(pre=True, norm=False, static=True),
    unused=(*BART.unused, "extra_pos_embeddings"),
    heads=_head("PegasusForConditionalGeneration"),
    read=partial(_read, name="Pegasus"),
    derived=_sines,
)

MARIAN = replace(
    BART,
    model_type="marian",
    fixed={
        "positions": "sine_halves",
        "position_offset": 0,
        "norm_position": "post",
        "embedding_norm": False,
    },
    assumed={
        **_assumed(pre=False, norm=False, static=True),
        "share_encoder_decoder_embeddings": True,
    },
    unused=(*BART.unused, "extra_pos_embeddings"),
    heads={
        "seq2seq-lm": Head(
            ("MarianMTModel",), rules(same(_BIAS, "logit_bias", ones=1)), copies=_TIED
        )
    },
    read=_read_marian,
    by_names=("logit_bias",),
    derived=_sines,
)
