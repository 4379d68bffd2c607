"""BERT and DistilBERT."""

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
from modelzoo.weights.tables.shared.encoders import (
    ASSUMED,
    EMBEDDINGS,
    IGNORED,
    PLAIN,
    SIZES,
    encoder,
    span_head,
    token_head,
)

BERT = Table(
    model_type="bert",
    architecture="bert",
    **encoder("bert."),
    values=(
        *SIZES,
        Value("max_position_embeddings", "max_length"),
        Value("type_vocab_size", "num_segments", 2),
    ),
    fixed={"position_offset": 0, **PLAIN},
    assumed=ASSUMED,
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
            ("BertForSequenceClassification",),
            rules(linear("classifier", "classifier")),
            options={"pooling": None},
        ),
        "text-embedding": Head(("BertModel",)),
        "question-answering": span_head("BertForQuestionAnswering"),
        "token-classification": token_head("BertForTokenClassification"),
    },
)

DISTILBERT = Table(
    model_type="distilbert",
    architecture="bert",
    prefix="distilbert.",
    rules=rules(EMBEDDINGS, theirs="distilbert.embeddings."),
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
    fixed={
        "num_segments": 0,
        "pooler": False,
        "norm_epsilon": 1e-12,
        "position_offset": 0,
        **PLAIN,
    },
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
            options={"hidden_activation": "relu", "pooling": None},
        ),
        "text-embedding": Head(("DistilBertModel",)),
        "question-answering": Head(
            ("DistilBertForQuestionAnswering",),
            rules(linear("qa_outputs", "spans")),
            values=(Value("qa_dropout", "dropout", 0.1),),
        ),
        "token-classification": token_head("DistilBertForTokenClassification"),
    },
    ignored=IGNORED,
    unused=("sinusoidal_pos_embds",),  # how the table of positions began; it is stored
)
