"""BERT, RoBERTa and DistilBERT."""

from modelzoo.weights.table import (
    Head,
    Table,
    Value,
    activation,
    layer_norm,
    linear,
    rules,
    same,
)

_SIZES = (
    Value("vocab_size", "vocab_size"),
    Value("hidden_size", "hidden_dim"),
    Value("num_hidden_layers", "num_layers"),
    Value("num_attention_heads", "num_heads"),
    Value("intermediate_size", "ffn_dim"),
    Value("hidden_dropout_prob", "dropout", 0.1),
    Value("attention_probs_dropout_prob", "attention_dropout", 0.1),
    Value("initializer_range", "initializer_range", 0.02),
    Value("layer_norm_eps", "norm_epsilon", 1e-12),
    activation("hidden_act", default="gelu"),
)
_EMBEDDINGS = rules(
    same("word_embeddings.weight", "tokens/embeddings"),
    same("position_embeddings.weight", "positions/embeddings"),
    same("token_type_embeddings.weight", "segments/embeddings"),
    layer_norm("LayerNorm", "norm"),
    ours="embedding/",
)
_LAYER = rules(
    linear("attention.self.query", "attention/query"),
    linear("attention.self.key", "attention/key"),
    linear("attention.self.value", "attention/value"),
    linear("attention.output.dense", "attention/output"),
    layer_norm("attention.output.LayerNorm", "attention_norm"),
    linear("intermediate.dense", "ffn/up"),
    linear("output.dense", "ffn/down"),
    layer_norm("output.LayerNorm", "ffn_norm"),
    ours="stack/block_{i}/",
)
_ASSUMED = {"position_embedding_type": "absolute", "is_decoder": False}
_IGNORED = (r".*embeddings\.position_ids",)
# Of heads that are not here, as the multilingual BERT has them.
_UNUSED = (
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
)


def _encoder(prefix: str) -> dict:
    """The rules of a BERT whose names begin with `prefix`."""
    return {
        "prefix": prefix,
        "rules": rules(
            rules(_EMBEDDINGS, theirs="embeddings."),
            linear("pooler.dense", "pooler"),
            theirs=prefix,
        ),
        "layer_rules": rules(_LAYER, theirs=prefix + "encoder.layer.{i}."),
        "ignored": _IGNORED,
        "unused": _UNUSED,
        "neutral": {"add_cross_attention": False, "tie_word_embeddings": True},
        "read": lambda config, names: {
            "pooler": any(name.endswith("pooler.dense.weight") for name in names)
        },
    }


BERT = Table(
    model_type="bert",
    architecture="bert",
    **_encoder("bert."),
    values=(
        *_SIZES,
        Value("max_position_embeddings", "max_length"),
        Value("type_vocab_size", "num_segments", 2),
    ),
    fixed={"position_offset": 0},
    assumed=_ASSUMED,
    heads={
        "masked-lm": Head(
            ("BertForPreTraining", "BertForMaskedLM"),
            rules(
                linear("cls.predictions.transform.dense", "transform"),
                layer_norm("cls.predictions.transform.LayerNorm", "norm"),
                same("cls.predictions.bias", "decoder_bias"),
                linear("cls.seq_relationship", "nsp"),
            ),
            copies={
                "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
                "cls.predictions.decoder.bias": "cls.predictions.bias",
            },
        ),
        "text-classification": Head(
            ("BertForSequenceClassification",), rules(linear("classifier", "classifier"))
        ),
        "text-embedding": Head(("BertModel",)),
    },
)

ROBERTA = Table(
    model_type="roberta",
    architecture="bert",
    **_encoder("roberta."),
    values=(
        *_SIZES,
        Value("max_position_embeddings", "max_length", shift=-2),  # two rows before position 0
        Value("type_vocab_size", "num_segments", 1),
    ),
    fixed={"position_offset": 2},
    assumed={**_ASSUMED, "pad_token_id": 1},
    heads={
        "masked-lm": Head(
            ("RobertaForMaskedLM",),
            rules(
                linear("lm_head.dense", "transform"),
                layer_norm("lm_head.layer_norm", "norm"),
                same("lm_head.bias", "decoder_bias"),
            ),
            copies={
                "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
                "lm_head.decoder.bias": "lm_head.bias",
            },
        ),
        "text-classification": Head(
            ("RobertaForSequenceClassification",),
            rules(
                linear("classifier.dense", "hidden"),
                linear("classifier.out_proj", "classifier"),
            ),
            options={"hidden_activation": "tanh"},
        ),
        "text-embedding": Head(("RobertaModel",)),
    },
)

DISTILBERT = Table(
    model_type="distilbert",
    architecture="bert",
    prefix="distilbert.",
    rules=rules(_EMBEDDINGS, theirs="distilbert.embeddings."),
    layer_rules=rules(
        linear("attention.q_lin", "attention/query"),
        linear("attention.k_lin", "attention/key"),
        linear("attention.v_lin", "attention/value"),
        linear("attention.out_lin", "attention/output"),
        layer_norm("sa_layer_norm", "attention_norm"),
        linear("ffn.lin1", "ffn/up"),
        linear("ffn.lin2", "ffn/down"),
        layer_norm("output_layer_norm", "ffn_norm"),
        theirs="distilbert.transformer.layer.{i}.",
        ours="stack/block_{i}/",
    ),
    values=(
        Value("vocab_size", "vocab_size"),
        Value("dim", "hidden_dim"),
        Value("n_layers", "num_layers"),
        Value("n_heads", "num_heads"),
        Value("hidden_dim", "ffn_dim"),
        Value("max_position_embeddings", "max_length"),
        Value("dropout", "dropout", 0.1),
        Value("attention_dropout", "attention_dropout", 0.1),
        Value("initializer_range", "initializer_range", 0.02),
        activation("activation", default="gelu"),
    ),
    fixed={"num_segments": 0, "pooler": False, "norm_epsilon": 1e-12, "position_offset": 0},
    assumed={"sinusoidal_pos_embds": False},
    aliases={
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    },
    neutral={"tie_weights_": True, "tie_word_embeddings": True},
    heads={
        "masked-lm": Head(
            ("DistilBertForMaskedLM",),
            rules(
                linear("vocab_transform", "transform"),
                layer_norm("vocab_layer_norm", "norm"),
                same("vocab_projector.bias", "decoder_bias"),
            ),
            copies={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
        ),
        "text-classification": Head(
            ("DistilBertForSequenceClassification",),
            rules(linear("pre_classifier", "hidden"), linear("classifier", "classifier")),
            options={"hidden_activation": "relu"},
        ),
        "text-embedding": Head(("DistilBertModel",)),
    },
    ignored=_IGNORED,
)
