"""One table a model type of Hugging Face; see `weights.table` for the form."""

from modelzoo.weights.tables.bart import BART
from modelzoo.weights.tables.bert import BERT, DISTILBERT, ROBERTA
from modelzoo.weights.tables.gpt2 import GPT2, OPENAI_GPT
from modelzoo.weights.tables.llama import GEMMA3, LLAMA, QWEN2, QWEN3
from modelzoo.weights.tables.modernbert import MODERNBERT
from modelzoo.weights.tables.t5 import T5

TABLES = {
    table.model_type: table
    for table in (
        BART,
        BERT,
        DISTILBERT,
        GEMMA3,
        GPT2,
        LLAMA,
        MODERNBERT,
        OPENAI_GPT,
        QWEN2,
        QWEN3,
        ROBERTA,
        T5,
    )
}
