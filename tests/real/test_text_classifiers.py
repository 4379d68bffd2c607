"""Classifiers of BART and ModernBERT against `transformers`: same numbers, and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.errors import WeightsError  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import note  # noqa: E402
from tests.real.test_checkpoints import (  # noqa: E402
    _BART,
    _BERT,
    assert_same_weights,
    ids,
    long,
    reference,
    saved,
)

pytestmark = pytest.mark.real

_END = 2
_ENDS = {"eos_token_id": _END, "decoder_start_token_id": _END, "num_labels": 3}
_MODERN = {**_BERT, "num_labels": 3, "cls_token_id": 1, "sep_token_id": 2, "local_attention": 8}
_MODERN |= {"num_hidden_layers": 3, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CASES = {
    "bart": ("BartForSequenceClassification", "BartConfig", {**_BART, **_ENDS}),
    "modernbert": ("ModernBertForSequenceClassification", "ModernBertConfig", _MODERN),
    "modernbert mean": (
        "ModernBertForSequenceClassification",
        "ModernBertConfig",
        {**_MODERN, "classifier_pooling": "mean"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_classifiers_answer_as_theirs_and_are_written_as_theirs(case, tmp_path):
    theirs = reference(*CASES[case])
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"), compile=False)
    assert ours.recipe.task == "text-classification"
    x, mask = ids(2, 12), np.ones((2, 12), "int32")
    x[0, 11] = x[1, 7] = _END
    mask[1, 8:] = x[1, 8:] = 0
    with torch.no_grad():
        wanted = theirs(input_ids=long(x), attention_mask=long(mask)).logits.numpy()
    got = number(ours({"token_ids": x, "padding_mask": mask}))
    assert np.abs(wanted).max() > 0.1
    assert note(theirs, np.abs(got - wanted).max()) < 1e-4
    again = write_checkpoint(ours, tmp_path / "ours")
    assert_same_weights(again, theirs)
    np.testing.assert_array_equal(
        number(modelzoo.build(again, compile=False)({"token_ids": x, "padding_mask": mask})), got
    )


def test_a_bart_that_begins_with_another_token_is_rejected(tmp_path):
    theirs = reference("BartForSequenceClassification", "BartConfig", {**_BART, **_ENDS})
    folder = saved(theirs, tmp_path / "theirs")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "decoder_start_token_id": 0}))
    with pytest.raises(WeightsError, match="decoder_start_token_id = 0"):
        modelzoo.build(folder, compile=False)


@pytest.mark.parametrize("kind", ["Bert", "ModernBert"])
def test_a_cross_encoder_scores_as_theirs_and_goes_back(kind, tmp_path):
    made = {**(_MODERN if kind == "ModernBert" else _BERT), "num_labels": 1}
    theirs = reference(f"{kind}ForSequenceClassification", f"{kind}Config", made)
    theirs.config.sentence_transformers = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"), compile=False)
    assert ours.recipe.task == "reranking"
    x = ids(3, 9)
    with torch.no_grad():
        wanted = theirs(input_ids=long(x)).logits.numpy()
    got = number(ours({"token_ids": x}))
    assert got.shape == (3, 1)
    assert note(theirs, np.abs(got - wanted).max()) < 1e-4
    assert_same_weights(write_checkpoint(ours, tmp_path / "ours"), theirs)
