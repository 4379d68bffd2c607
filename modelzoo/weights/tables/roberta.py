"""RoBERTa, and XLM-RoBERTa and CamemBERT, which are RoBERTas of other vocabularies; MPNet."""

from dataclasses import replace

from modelzoo.weights.table import Head, Table, Value, layer_norm, linear, rules, same
from modelzoo.weights.tables.shared.encoders import (
    ASSUMED,
    IGNORED,
    PLAIN,
    SIZES,
    classification_head,
    encoder,
    lm_head,
    read_without_pooler,
    span_head,
    token_head,
)


def _heads(name: str, backbone: str = "roberta") -> dict[str, Head]:
    return {
        "masked-lm": lm_head(f"{name}ForMaskedLM", backbone),
        "text-classification": classification_head(f"{name}ForSequenceClassification"),
        "text-embedding": Head((f"{name}Model",)),
        "question-answering": span_head(f"{name}ForQuestionAnswering"),
        "token-classification": token_head(f"{name}ForTokenClassification"),
    }


ROBERTA = Table(
    model_type="roberta",
    architecture="bert",
    **{**encoder("roberta."), "read": read_without_pooler},
    values=(
        *SIZES,
        Value("max_position_embeddings", "max_length", shift=-2),  # two rows before position 0
        Value("type_vocab_size", "num_segments", 1),
    ),
    fixed={"position_offset": 2, **PLAIN},
    assumed={**ASSUMED, "pad_token_id": 1},
    heads=_heads("Roberta"),
)

XLM_ROBERTA = replace(
    ROBERTA, model_type="xlm-roberta", heads=_heads("XLMRoberta"), written_as="roberta"
)
CAMEMBERT = replace(
    ROBERTA, model_type="camembert", heads=_heads("Camembert"), written_as="roberta"
)

MPNET = Table(
    model_type="mpnet",
    architecture="bert",
    prefix="mpnet.",
    rules=rules(
        same("embeddings.word_embeddings.weight", "embedding/tokens/embeddings"),
        same("embeddings.position_embeddings.weight", "embedding/positions/embeddings"),
        layer_norm("embeddings.LayerNorm", "embedding/norm"),
        same("encoder.relative_attention_bias.weight", "stack/relative_bias/embeddings"),
        linear("pooler.dense", "pooler"),
        theirs="mpnet.",
    ),
    layer_rules=rules(
        linear("attention.attn.q", "attention/query"),
        linear("attention.attn.k", "attention/key"),
        linear("attention.attn.v", "attention/value"),
        linear("attention.attn.o", "attention/output"),
        layer_norm("attention.LayerNorm", "attention_norm"),
        linear("intermediate.dense", "ffn/up"),
        linear("output.dense", "ffn/down"),
        layer_norm("output.LayerNorm", "ffn_norm"),
        theirs="mpnet.encoder.layer.{i}.",
        ours="stack/block_{i}/",
    ),
    values=(
        *SIZES,
        Value("max_position_embeddings", "max_length", shift=-2),
    ),
    fixed={"position_offset": 2, "num_segments": 0, **PLAIN, "relative_buckets": 32},
    # Another number of buckets is not read by their own code.
    assumed={"pad_token_id": 1, "relative_attention_num_buckets": 32},
    neutral={"tie_word_embeddings": True},
    heads=_heads("MPNet", "mpnet"),
    ignored=IGNORED,
    read=read_without_pooler,
)
