"""ALBERT: one layer for all, after narrow embeddings."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import (
    ACTIVATIONS,
    Head,
    Table,
    Value,
    activation,
    layer_norm,
    linear,
    rules,
    same,
)
from modelzoo.weights.tables.shared.encoders import (
    ASSUMED,
    EMBEDDINGS,
    IGNORED,
    SIZES,
    span_head,
    token_head,
)

_LAYER = rules(
    linear("attention.query", "attention/query"),
    linear("attention.key", "attention/key"),
    linear("attention.value", "attention/value"),
    linear("attention.dense", "attention/output"),
    layer_norm("attention.LayerNorm", "attention_norm"),
    linear("ffn", "ffn/up"),
    linear("ffn_output", "ffn/down"),
    layer_norm("full_layer_layer_norm", "ffn_norm"),
    theirs="encoder.albert_layer_groups.0.albert_layers.0.",
    ours="stack/block_0/",
)


def _read(config, names) -> dict:
    width = config.get("embedding_size", 128)
    if width == config["hidden_size"]:
        raise WeightsError(
            f"an albert with embedding_size = hidden_size = {width} is not supported: it has a "
            "layer between the two all the same"
        )
    return {"embedding_dim": width, "pooler": "albert.pooler.weight" in names}


def _write(values) -> dict:
    if values["embedding_dim"] is None:
        raise WeightsError("an albert has an embedding_dim unlike hidden_dim, and this model none")
    return {"embedding_size": values["embedding_dim"]}


ALBERT = Table(
    model_type="albert",
    architecture="bert",
    prefix="albert.",
    rules=rules(
        rules(EMBEDDINGS, theirs="embeddings."),
        linear("encoder.embedding_hidden_mapping_in", "embedding/projection"),
        _LAYER,
        linear("pooler", "pooler"),
        theirs="albert.",
    ),
    layer_rules=(),
    values=(
        *(value for value in SIZES if value.ours not in ("activation", "dropout")),
        Value("hidden_dropout_prob", "dropout", 0.0),
        activation("hidden_act", ACTIVATIONS, "gelu_new"),
        Value("max_position_embeddings", "max_length"),
        Value("type_vocab_size", "num_segments", 2),
    ),
    fixed={"position_offset": 0, "relative_buckets": 0, "share_layers": True},
    assumed={**ASSUMED, "num_hidden_groups": 1, "inner_group_num": 1},
    neutral={
        "tie_word_embeddings": True,
        "net_structure_type": 0,
        "gap_size": 0,
        "num_memory_blocks": 0,
        "down_scale_factor": 1,
    },
    heads={
        "masked-lm": Head(
            ("AlbertForPreTraining", "AlbertForMaskedLM"),
            rules(
                linear("predictions.dense", "transform"),
                layer_norm("predictions.LayerNorm", "norm"),
                same("predictions.bias", "decoder_bias"),
                # Whether two sentences stand in their order: class 0 says so, as BERT's.
                linear("sop_classifier.classifier", "nsp"),
            ),
            copies={
                "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
                "predictions.decoder.bias": "predictions.bias",
            },
            read=lambda config, names: {
                "next_sentence": any(name.startswith("sop_classifier.") for name in names)
            },
        ),
        "text-classification": Head(
            ("AlbertForSequenceClassification",),
            rules(linear("classifier", "classifier")),
            options={"pooling": None},
        ),
        "text-embedding": Head(("AlbertModel",)),
        "question-answering": span_head("AlbertForQuestionAnswering"),
        "token-classification": token_head("AlbertForTokenClassification"),
    },
    ignored=IGNORED,
    read=_read,
    write=_write,
)
