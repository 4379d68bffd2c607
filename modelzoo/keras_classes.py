"""Importing this module registers the classes that a `.keras` file of the core may name."""

from modelzoo.backbones import (
    audio,
    captioner,
    contrastive,
    convnet,
    convolutional,
    decoder,
    encoder,
    encoder_decoder,
    imagebind,
    prefix,
    recurrent,
    speech,
    swin,
    video,
    vision,
)
from modelzoo.optimizers import optimizer
from modelzoo.tasks import (
    captioning,
    causal_lm,
    masked_lm,
    media_classification,
    seq2seq_lm,
    speech_to_text,
    text_classification,
    text_embedding,
)
from modelzoo.tasks import contrastive as contrastive_task

__all__ = [
    "audio",
    "captioner",
    "captioning",
    "causal_lm",
    "contrastive",
    "contrastive_task",
    "convnet",
    "convolutional",
    "decoder",
    "encoder",
    "encoder_decoder",
    "imagebind",
    "masked_lm",
    "media_classification",
    "optimizer",
    "prefix",
    "recurrent",
    "seq2seq_lm",
    "speech",
    "speech_to_text",
    "swin",
    "text_classification",
    "text_embedding",
    "video",
    "vision",
]
