"""One table a model type of Hugging Face; see `weights.table` for the form."""

from modelzoo.weights.tables.albert import ALBERT
from modelzoo.weights.tables.ast import AST
from modelzoo.weights.tables.bart import BART, BLENDERBOT, M2M_100, MARIAN, MBART, PEGASUS
from modelzoo.weights.tables.beit import BEIT
from modelzoo.weights.tables.bert import BERT, DISTILBERT
from modelzoo.weights.tables.clip import CLIP
from modelzoo.weights.tables.cohere import COHERE
from modelzoo.weights.tables.deit import DEIT
from modelzoo.weights.tables.dinov2 import DINOV2
from modelzoo.weights.tables.electra import ELECTRA
from modelzoo.weights.tables.gemma import GEMMA, GEMMA2, GEMMA3
from modelzoo.weights.tables.gpt2 import GPT2, OPENAI_GPT
from modelzoo.weights.tables.gpt_neox import GPT_NEOX
from modelzoo.weights.tables.gptj import GPTJ, PHI
from modelzoo.weights.tables.granite import GRANITE
from modelzoo.weights.tables.llama import LLAMA, QWEN2, QWEN3
from modelzoo.weights.tables.mistral import MINISTRAL, MISTRAL
from modelzoo.weights.tables.mixture import MIXTRAL, OLMOE, QWEN2_MOE, QWEN3_MOE
from modelzoo.weights.tables.modernbert import MODERNBERT
from modelzoo.weights.tables.moonshine import MOONSHINE
from modelzoo.weights.tables.olmo import OLMO, OLMO2
from modelzoo.weights.tables.opt import OPT
from modelzoo.weights.tables.phi3 import PHI3
from modelzoo.weights.tables.roberta import CAMEMBERT, MPNET, ROBERTA, XLM_ROBERTA
from modelzoo.weights.tables.shared.encoders import with_reranking
from modelzoo.weights.tables.siglip import SIGLIP
from modelzoo.weights.tables.smollm3 import SMOLLM3
from modelzoo.weights.tables.smolvlm import SMOLVLM
from modelzoo.weights.tables.stablelm import STABLELM
from modelzoo.weights.tables.starcoder import GPT_BIGCODE, STARCODER2
from modelzoo.weights.tables.switch import SWITCH
from modelzoo.weights.tables.t5 import MT5, T5, UMT5
from modelzoo.weights.tables.vit import VIT
from modelzoo.weights.tables.wav2vec2 import HUBERT, WAV2VEC2
from modelzoo.weights.tables.whisper import WHISPER

TABLES = {
    table.model_type: with_reranking(table)
    for table in (
        ALBERT,
        AST,
        BART,
        BEIT,
        BERT,
        BLENDERBOT,
        CAMEMBERT,
        CLIP,
        COHERE,
        DEIT,
        DINOV2,
        DISTILBERT,
        ELECTRA,
        GEMMA,
        GEMMA2,
        GEMMA3,
        GPT2,
        GPTJ,
        GPT_BIGCODE,
        GPT_NEOX,
        GRANITE,
        HUBERT,
        LLAMA,
        M2M_100,
        MARIAN,
        MBART,
        MINISTRAL,
        MISTRAL,
        MIXTRAL,
        MODERNBERT,
        MOONSHINE,
        MPNET,
        MT5,
        OLMO,
        OLMO2,
        OLMOE,
        OPENAI_GPT,
        OPT,
        PEGASUS,
        PHI,
        PHI3,
        QWEN2,
        QWEN2_MOE,
        QWEN3,
        QWEN3_MOE,
        ROBERTA,
        SIGLIP,
        SMOLLM3,
        SMOLVLM,
        STABLELM,
        STARCODER2,
        SWITCH,
        T5,
        UMT5,
        VIT,
        WAV2VEC2,
        WHISPER,
        XLM_ROBERTA,
    )
}
