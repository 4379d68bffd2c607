"""One table a model type of Hugging Face; see `weights.table` for the form."""

from modelzoo.weights.tables.ast import AST
from modelzoo.weights.tables.bart import BART
from modelzoo.weights.tables.bert import BERT, DISTILBERT, ROBERTA
from modelzoo.weights.tables.clip import CLIP
from modelzoo.weights.tables.gpt2 import GPT2, OPENAI_GPT
from modelzoo.weights.tables.llama import GEMMA3, LLAMA, QWEN2, QWEN3
from modelzoo.weights.tables.modernbert import MODERNBERT
from modelzoo.weights.tables.moonshine import MOONSHINE
from modelzoo.weights.tables.siglip import SIGLIP
from modelzoo.weights.tables.smolvlm import SMOLVLM
from modelzoo.weights.tables.t5 import T5
from modelzoo.weights.tables.vit import VIT
from modelzoo.weights.tables.whisper import WHISPER

TABLES = {
    table.model_type: table
    for table in (
        AST,
        BART,
        BERT,
        CLIP,
        DISTILBERT,
        GEMMA3,
        GPT2,
        LLAMA,
        MODERNBERT,
        MOONSHINE,
        OPENAI_GPT,
        QWEN2,
        QWEN3,
        ROBERTA,
        SIGLIP,
        SMOLVLM,
        T5,
        VIT,
        WHISPER,
    )
}
