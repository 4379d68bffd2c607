"""What BERT, RoBERTa, ELECTRA, MPNet and others have in common."""

from dataclasses import replace

from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, linear, rules, same

SIZES = (
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
EMBEDDINGS = rules(
    same("word_embeddings.weight", "tokens/embeddings"),
    same("position_embeddings.weight", "positions/embeddings"),
    same("token_type_embeddings.weight", "segments/embeddings"),
    layer_norm("LayerNorm", "norm"),
    ours="embedding/",
)
LAYER = rules(
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
ASSUMED = {"position_embedding_type": "absolute", "is_decoder": False}
IGNORED = (r".*embeddings\.position_ids",)
# What the architecture has besides, and only ALBERT, ELECTRA and MPNet make use of.
PLAIN = {"embedding_dim": None, "relative_buckets": 0, "share_layers": False}
# Of heads that are not here, as the multilingual BERT has them.
UNUSED = (
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
)


def encoder(prefix: str) -> dict:
    """The rules of a BERT whose names begin with `prefix`."""
    return {
        "prefix": prefix,
        "rules": rules(
            rules(EMBEDDINGS, theirs="embeddings."),
            linear("pooler.dense", "pooler"),
            theirs=prefix,
        ),
        "layer_rules": rules(LAYER, theirs=prefix + "encoder.layer.{i}."),
        "ignored": IGNORED,
        "unused": UNUSED,
        "neutral": {"add_cross_attention": False, "tie_word_embeddings": True},
        "read": _read,
    }


def _read(config, names) -> dict:
    return {"pooler": any(name.endswith("pooler.dense.weight") for name in names)}


def read_without_pooler(config, names) -> dict:
    """As for BERT, but a classifier over the first token passes over a pooler in its file."""
    kinds = config.get("architectures") or ()
    classifies = any(kind.endswith("ForSequenceClassification") for kind in kinds)
    return {"pooler": not classifies and _read(config, names)["pooler"]}


def with_reranking(table: Table) -> Table:
    """A table whose classifiers of texts are cross-encoders too: one label, the same head."""
    head = table.heads.get("text-classification")
    return replace(table, heads={**table.heads, "reranking": head}) if head else table


def lm_head(name: str, backbone: str) -> Head:
    """RoBERTa's head for masked words."""
    return Head(
        (name,),
        rules(
            linear("lm_head.dense", "transform"),
            layer_norm("lm_head.layer_norm", "norm"),
            same("lm_head.bias", "decoder_bias"),
        ),
        copies={
            "lm_head.decoder.weight": f"{backbone}.embeddings.word_embeddings.weight",
            "lm_head.decoder.bias": "lm_head.bias",
        },
    )


def token_head(name: str) -> Head:
    """A linear layer over each token."""
    return Head((name,), rules(linear("classifier", "classifier")))


def span_head(name: str) -> Head:
    """The head for answers in a text: a start and an end for each token."""
    return Head((name,), rules(linear("qa_outputs", "spans")))


def classification_head(name: str, activation: str = "tanh") -> Head:
    """RoBERTa's classifier: a layer more, over the first token."""
    return Head(
        (name,),
        rules(linear("classifier.dense", "hidden"), linear("classifier.out_proj", "classifier")),
        options={"hidden_activation": activation, "pooling": None},
    )
