"""ModernBERT, and Ettin's encoders, which are ModernBERTs."""

from modelzoo.errors import WeightsError
from modelzoo.weights.table import Head, Table, Value, activation, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.rotary import read_layers, write_layers

MODERNBERT = Table(
    model_type="modernbert",
    architecture="modernbert",
    prefix="model.",
    rules=rules(
        same("embeddings.tok_embeddings.weight", "embedding/tokens/embeddings"),
        layer_norm("embeddings.norm", "embedding/norm"),
        layer_norm("final_norm", "stack/final_norm"),
        theirs="model.",
    ),
    layer_rules=rules(
        layer_norm("attn_norm", "attention_norm"),
        linear("attn.Wqkv", "attention/query", "attention/key", "attention/value"),
        linear("attn.Wo", "attention/output"),
        layer_norm("mlp_norm", "ffn_norm"),
        linear("mlp.Wi", "ffn/gate", "ffn/up"),
        linear("mlp.Wo", "ffn/down"),
        theirs="model.layers.{i}.",
        ours="stack/block_{i}/",
    ),
    values=(
        Value("vocab_size", "vocab_size"),
        Value("hidden_size", "hidden_dim"),
        Value("num_hidden_layers", "num_layers"),
        Value("num_attention_heads", "num_heads"),
        Value("intermediate_size", "ffn_dim"),
        Value("max_position_embeddings", "max_length"),
        Value("local_attention", "sliding_window", 128),
        Value("norm_eps", "norm_epsilon", 1e-5),
        Value("norm_bias", "norm_bias", False),
        Value("attention_bias", "attention_bias", False),
        Value("mlp_bias", "ffn_bias", False),
        Value("mlp_dropout", "dropout", 0.0),
        Value("attention_dropout", "attention_dropout", 0.0),
        Value("initializer_range", "initializer_range", 0.02),
        activation("hidden_activation", default="gelu"),
    ),
    neutral={"tie_word_embeddings": True, "position_embedding_type": "absolute"},
    # Of a head; of how it is run and trained.
    unused=(
        "classifier_pooling",
        "deterministic_flash_attn",
        "reference_compile",
        "repad_logits_with_grad",
        "sparse_prediction",
        "sparse_pred_ignore_index",
        "initializer_cutoff_factor",
        "layer_norm_eps",
    ),
    assumed={"classifier_bias": False, "classifier_activation": "gelu", "decoder_bias": True},
    heads={
        "masked-lm": Head(
            ("ModernBertForMaskedLM",),
            rules(
                linear("head.dense", "transform"),
                layer_norm("head.norm", "norm"),
                same("decoder.bias", "decoder_bias"),
            ),
            copies={"decoder.weight": "model.embeddings.tok_embeddings.weight"},
        ),
        "text-classification": Head(
            ("ModernBertForSequenceClassification",),
            rules(
                linear("head.dense", "hidden"),
                layer_norm("head.norm", "norm"),
                linear("classifier", "classifier"),
            ),
            options={"hidden_activation": "gelu", "hidden_bias": False, "hidden_norm": True},
            read=lambda config, names: {"pooling": _POOLINGS[_pooling(config)]},
            write=lambda options: {"classifier_pooling": options.get("pooling") or "cls"},
        ),
        "text-embedding": Head(("ModernBertModel",)),
        "question-answering": Head(
            ("ModernBertForQuestionAnswering",),
            rules(
                linear("head.dense", "transform"),
                layer_norm("head.norm", "norm"),
                linear("classifier", "spans"),
            ),
            options={"transform": True},
            values=(Value("classifier_dropout", "dropout", 0.0),),
        ),
        "token-classification": Head(
            ("ModernBertForTokenClassification",),
            rules(
                linear("head.dense", "hidden"),
                layer_norm("head.norm", "hidden_norm"),
                linear("classifier", "classifier"),
            ),
            options={"hidden_activation": "gelu"},
        ),
    },
    read=lambda config, names: read_layers(config, 160_000.0, 10_000.0, _pattern(config)),
    write=write_layers,
)


_POOLINGS = {"cls": None, "mean": "mean"}


def _pooling(config) -> str:
    pooling = config.get("classifier_pooling", "cls")
    if pooling not in _POOLINGS:
        raise WeightsError(
            f"classifier_pooling {pooling!r} is not supported",
            where="config.json",
            next_step=f"choose one of {', '.join(_POOLINGS)}",
        )
    return pooling


def _pattern(config) -> list[str]:
    return ["global", *["local"] * (config.get("global_attn_every_n_layers", 3) - 1)]
