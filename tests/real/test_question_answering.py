"""Heads of question answering against `transformers`, in both directions; windows as theirs."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.data.train_tokenizer import train_tokenizer  # noqa: E402
from modelzoo.runtime.text.spans import windows  # noqa: E402
from modelzoo.tasks.profile import ENCODER_TOKENS  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import assert_close  # noqa: E402
from tests.real.test_checkpoints import (  # noqa: E402
    _BERT,
    _DISTIL,
    _MODERN,
    _ROBERTA,
    assert_same_weights,
    ids,
    long,
    reference,
    saved,
)

pytestmark = pytest.mark.real

CASES = {
    "Albert": {**_BERT, "embedding_size": 20},
    "Bert": _BERT,
    "Camembert": _ROBERTA,
    "DistilBert": {**_DISTIL, "qa_dropout": 0.25},
    "Electra": {**_BERT, "embedding_size": 20},
    "MPNet": {**_BERT, "max_position_embeddings": 66, "pad_token_id": 1},
    "ModernBert": {**_BERT, **_MODERN},
    "Roberta": _ROBERTA,
    "XLMRoberta": _ROBERTA,
}


@pytest.mark.parametrize("name", CASES)
def test_a_head_has_their_logits_and_weights(name, tmp_path):
    theirs = reference(f"{name}ForQuestionAnswering", f"{name}Config", CASES[name])
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"), compile=False)
    assert ours.recipe.task == "question-answering"
    assert ours.dropout_rate == (0.25 if name == "DistilBert" else 0.0)
    x, mask = ids(2, 20), np.ones((2, 20), "int32")
    mask[1, 15:] = 0
    with torch.no_grad():
        found = theirs(input_ids=long(x), attention_mask=long(mask))
    got = number(ours({"token_ids": x, "padding_mask": mask}))
    for at, wanted in enumerate((found.start_logits, found.end_logits)):
        assert_close(theirs, got[0, at], wanted[0].numpy())
        assert_close(theirs, got[1, at, :15], wanted[1, :15].numpy())
    assert_same_weights(write_checkpoint(ours, tmp_path / "ours"), theirs)


@pytest.mark.parametrize(("length", "stride"), [(32, 8), (24, 0), (40, 11), (400, 8)])
def test_windows_are_theirs(length, stride):
    context = "Ann wrote the letter in May. It rained all day, and the dog slept. " * 4
    tokenizer = train_tokenizer([context], "wordpiece", 600, ENCODER_TOKENS)
    cls, sep = (tokenizer.id_to_token(tokenizer.role(role)) for role in ("cls", "sep"))
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._backend, cls_token=cls, sep_token=sep, pad_token="[PAD]"
    )
    theirs.backend_tokenizer.post_processor = _bert_frame(tokenizer)
    wanted = theirs(
        "Who wrote it?",
        context,
        truncation="only_second",
        max_length=length,
        stride=stride,
        return_overflowing_tokens=True,
    )["input_ids"]
    encoded = (tokenizer.encode(text) for text in ("Who wrote it?", context))
    found = windows(tokenizer, *encoded, length, stride)
    assert [window.token_ids for window in found] == wanted


def _bert_frame(tokenizer):
    from tokenizers.processors import BertProcessing

    return BertProcessing(("[SEP]", tokenizer.role("sep")), ("[CLS]", tokenizer.role("cls")))
