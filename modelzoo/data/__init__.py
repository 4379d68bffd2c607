"""Raw text, images and sounds to batches; training tokenizers.

`read_examples` reads what the user has, `*_batches` turn it into a `Batches`, which `fit()` takes
through `as_pydataset()`. Tokenizers are trained by `modelzoo.data.train_tokenizer.train_tokenizer`.
Each name here is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelzoo.data.batches import Batches
    from modelzoo.data.causal_lm import causal_lm_batches
    from modelzoo.data.classification import classification_batches
    from modelzoo.data.masked_lm import masked_lm_batches
    from modelzoo.data.media import read_media_examples
    from modelzoo.data.media_classification import media_classification_batches
    from modelzoo.data.mixture import mixture_batches
    from modelzoo.data.packing import pack_tokens
    from modelzoo.data.question_answering import span_batches
    from modelzoo.data.raw import iterate_texts, read_examples
    from modelzoo.data.seq2seq import seq2seq_batches
    from modelzoo.data.splitting import split
    from modelzoo.data.text_pairs import pair_batches
    from modelzoo.data.token_classification import token_classification_batches

# No name here may be that of a module of this package: importing the module would take its place.
_HOMES = {
    "Batches": "batches",
    "causal_lm_batches": "causal_lm",
    "classification_batches": "classification",
    "iterate_texts": "raw",
    "masked_lm_batches": "masked_lm",
    "media_classification_batches": "media_classification",
    "mixture_batches": "mixture",
    "pack_tokens": "packing",
    "pair_batches": "text_pairs",
    "read_examples": "raw",
    "read_media_examples": "media",
    "seq2seq_batches": "seq2seq",
    "span_batches": "question_answering",
    "split": "splitting",
    "token_classification_batches": "token_classification",
}

__all__ = [
    "Batches",
    "causal_lm_batches",
    "classification_batches",
    "iterate_texts",
    "masked_lm_batches",
    "media_classification_batches",
    "mixture_batches",
    "pack_tokens",
    "pair_batches",
    "read_examples",
    "read_media_examples",
    "seq2seq_batches",
    "span_batches",
    "split",
    "token_classification_batches",
]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
