"""Token classification of encoders against `transformers`: same numbers, both ways."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import note  # noqa: E402
from tests.real.test_checkpoints import (  # noqa: E402
    _BERT,
    _DISTIL,
    _ROBERTA,
    N,
    assert_same_weights,
    ids,
    long,
    reference,
    saved,
)

pytestmark = pytest.mark.real

_NARROW = {**_BERT, "embedding_size": 20}
_MODERN = {"vocab_size": _BERT["vocab_size"], "hidden_size": 32, "num_attention_heads": 2}
_MODERN |= {"num_hidden_layers": 4, "intermediate_size": 48, "max_position_embeddings": N}
_MODERN |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_MODERN |= {"cls_token_id": 1, "sep_token_id": 2}
CASES = {
    "Albert": _NARROW,
    "Bert": _BERT,
    "Camembert": _ROBERTA,
    "DistilBert": _DISTIL,
    "Electra": _NARROW,
    "ModernBert": _MODERN,
    "MPNet": {**_BERT, "max_position_embeddings": N + 2, "pad_token_id": 1},
    "Roberta": _ROBERTA,
    "XLMRoberta": _ROBERTA,
}
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.mark.parametrize("kind", CASES)
def test_logits_and_weights_are_theirs(kind, tmp_path):
    options = {**CASES[kind], "id2label": dict(enumerate(TAGS))}
    options["label2id"] = {tag: number for number, tag in enumerate(TAGS)}
    theirs = reference(f"{kind}ForTokenClassification", f"{kind}Config", options)
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"), compile=False)
    assert ours.recipe.task == "token-classification"
    assert ours.recipe.table("task_options")["labels"] == TAGS
    x = ids(2, 24)
    mask = np.ones_like(x)
    mask[1, 13:] = 0
    with torch.no_grad():
        wanted = theirs(input_ids=long(x), attention_mask=long(mask)).logits.numpy()
    real = mask.astype(bool)
    got = number(ours({"token_ids": x, "padding_mask": mask}))
    assert np.abs(wanted).max() > 0.1
    assert note(theirs, np.abs(got - wanted)[real].max()) < 1e-4
    write_checkpoint(ours, tmp_path / "back")
    written = json.loads((tmp_path / "back" / "config.json").read_text())
    assert written["architectures"][0].endswith("ForTokenClassification")
    assert written["id2label"] == {str(n): tag for n, tag in enumerate(TAGS)}
    assert_same_weights(tmp_path / "back", theirs)
