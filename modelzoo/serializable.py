"""Importing this module registers the classes that a `.keras` file of the core may name."""

from modelzoo.backbones import decoder, encoder, encoder_decoder, recurrent
from modelzoo.tasks import causal_lm, masked_lm, seq2seq_lm, text_classification, text_embedding
from modelzoo.training import optimizer

__all__ = [
    "causal_lm",
    "decoder",
    "encoder",
    "encoder_decoder",
    "masked_lm",
    "optimizer",
    "recurrent",
    "seq2seq_lm",
    "text_classification",
    "text_embedding",
]
