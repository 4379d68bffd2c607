"""ELECTRA: discriminators, and the generators that they are trained with."""

from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.encoders import (
    ASSUMED,
    PLAIN,
    SIZES,
    classification_head,
    encoder,
    span_head,
    token_head,
)


def _read(config, names) -> dict:
    width = config.get("embedding_size", 128)
    return {"embedding_dim": None if width == config["hidden_size"] else width}


def _write(values) -> dict:
    return {"embedding_size": values["embedding_dim"] or values["hidden_dim"]}


_ENCODER = encoder("electra.")

ELECTRA = Table(
    **{
        **_ENCODER,
        "model_type": "electra",
        "architecture": "bert",
        "rules": rules(
            _ENCODER["rules"], linear("electra.embeddings_project", "embedding/projection")
        ),
        # What says of a token whether the generator put it there, and of tasks that are not here.
        "ignored": (*_ENCODER["ignored"], r"discriminator_predictions\..*"),
        "unused": ("summary_type", "summary_use_proj", "summary_activation"),
        "read": _read,
    },
    values=(
        *(value for value in SIZES if value.ours != "activation"),
        # Two of its heads have this one in any case.
        activation("hidden_act", {"gelu": "gelu"}, "gelu"),
        Value("max_position_embeddings", "max_length"),
        Value("type_vocab_size", "num_segments", 2),
    ),
    fixed={
        "position_offset": 0,
        "pooler": False,
        **{key: value for key, value in PLAIN.items() if key != "embedding_dim"},
    },
    assumed=ASSUMED,
    write=_write,
    heads={
        "masked-lm": Head(
            ("ElectraForMaskedLM",),
            rules(
                linear("generator_predictions.dense", "transform"),
                layer_norm("generator_predictions.LayerNorm", "norm"),
                same("generator_lm_head.bias", "decoder_bias"),
            ),
            copies={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
        ),
        "text-classification": classification_head("ElectraForSequenceClassification", "gelu"),
        "text-embedding": Head(("ElectraModel", "ElectraForPreTraining")),
        "question-answering": span_head("ElectraForQuestionAnswering"),
        "token-classification": token_head("ElectraForTokenClassification"),
    },
)
