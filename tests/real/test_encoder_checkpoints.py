"""Encoders and encoder-decoders against `transformers`: same numbers, same text, and back.

Nothing is downloaded: `transformers` makes small seeded models and writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.runtime.generation.loop import generate_tokens  # noqa: E402
from modelzoo.runtime.generation.sampling import Sampling  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import note  # noqa: E402
from tests.real.test_checkpoints import (  # noqa: E402
    _BART,
    _BERT,
    _DISTIL,
    _ROBERTA,
    _T5,
    N,
    assert_same_weights,
    ids,
    long,
    reference,
    saved,
)

pytestmark = pytest.mark.real

_NARROW = {**_BERT, "embedding_size": 20}
_OFFSET = {**_BERT, "max_position_embeddings": N + 2, "pad_token_id": 1}
_LABELS = {"num_labels": 3}
_V1_1 = {**_T5, "feed_forward_proj": "gated-gelu"}
_SCALED = {**_BART, "scale_embedding": True}

# model type -> the configuration's class, and (class, options) of each kind of model.
CASES = {
    "albert": (
        "AlbertConfig",
        [
            ("AlbertForPreTraining", _NARROW),
            ("AlbertForMaskedLM", _NARROW),
            ("AlbertForSequenceClassification", {**_NARROW, **_LABELS}),
            ("AlbertModel", {**_NARROW, "hidden_act": "relu"}),
        ],
    ),
    "blenderbot": ("BlenderbotConfig", [("BlenderbotForConditionalGeneration", _SCALED)]),
    "camembert": (
        "CamembertConfig",
        [
            ("CamembertForMaskedLM", _ROBERTA),
            ("CamembertForSequenceClassification", {**_ROBERTA, **_LABELS}),
        ],
    ),
    "distilbert": (
        "DistilBertConfig",
        [("DistilBertForMaskedLM", {**_DISTIL, "sinusoidal_pos_embds": True})],
    ),
    "electra": (
        "ElectraConfig",
        [
            ("ElectraForMaskedLM", _NARROW),
            ("ElectraForSequenceClassification", {**_NARROW, **_LABELS}),
            ("ElectraForPreTraining", _NARROW),
            ("ElectraModel", {**_BERT, "embedding_size": _BERT["hidden_size"]}),
        ],
    ),
    "m2m_100": (
        "M2M100Config",
        [("M2M100ForConditionalGeneration", {**_SCALED, "pad_token_id": 1})],
    ),
    "marian": (
        "MarianConfig",
        [
            ("MarianMTModel", {**_SCALED, "activation_function": "swish"}),
            ("MarianMTModel", {**_BART, "activation_function": "relu"}),
        ],
    ),
    "mbart": (
        "MBartConfig",
        [
            ("MBartForConditionalGeneration", _SCALED),
            ("MBartForConditionalGeneration", {**_BART, "activation_function": "relu"}),
        ],
    ),
    "mpnet": (
        "MPNetConfig",
        [
            ("MPNetForMaskedLM", _OFFSET),
            ("MPNetForSequenceClassification", {**_OFFSET, **_LABELS}),
            ("MPNetModel", _OFFSET),
        ],
    ),
    "mt5": ("MT5Config", [("MT5ForConditionalGeneration", _V1_1)]),
    "pegasus": (
        "PegasusConfig",
        [
            ("PegasusForConditionalGeneration", {**_SCALED, "activation_function": "relu"}),
            ("PegasusForConditionalGeneration", _BART),
        ],
    ),
    "umt5": (
        "UMT5Config",
        [
            ("UMT5ForConditionalGeneration", _V1_1),
            ("UMT5ForConditionalGeneration", {**_V1_1, "tie_word_embeddings": False}),
        ],
    ),
    "xlm-roberta": (
        "XLMRobertaConfig",
        [
            ("XLMRobertaForMaskedLM", _ROBERTA),
            ("XLMRobertaForSequenceClassification", {**_ROBERTA, **_LABELS}),
            ("XLMRobertaModel", _ROBERTA),
        ],
    ),
}
EACH = [(kind, name, n) for kind, (_, made) in CASES.items() for n, (name, _) in enumerate(made)]
# Positions that are no parameters get no noise: they are what the model makes of its sizes.
_STATIC = ("marian", "pegasus")


def theirs_of(kind: str, n: int):
    """A seeded random model of theirs."""
    config, made = CASES[kind]
    model = reference(made[n][0], config, made[n][1])
    if kind in _STATIC:
        for side in (model.model.encoder, model.model.decoder):
            side.embed_positions.weight.data = side.embed_positions.create_weight()
    if kind == "marian":
        model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape))
    return model


def difference(kind: str, n: int, folder: Path) -> tuple[float, object, object]:
    """The largest difference of any output, their model and ours."""
    theirs = theirs_of(kind, n)
    ours = modelzoo.build(saved(theirs, folder), compile=False)
    x, y = ids(2, 24), ids(2, 12, seed=1)
    mask = np.ones_like(x)
    mask[1, 13:] = 0
    real = mask.astype(bool)
    inputs = {"input_ids": long(x), "attention_mask": long(mask)}
    given = {"token_ids": x, "padding_mask": mask}
    with torch.no_grad():
        if hasattr(theirs, "get_decoder") and theirs.config.is_encoder_decoder:
            wanted = theirs(**inputs, decoder_input_ids=long(y)).logits
            pairs = [(ours({**given, "decoder_token_ids": y}), wanted)]
        elif "SequenceClassification" in type(theirs).__name__:
            pairs = [(ours(given), theirs(**inputs).logits)]
        elif "MaskedLM" in type(theirs).__name__ or "sop_classifier" in dir(theirs):
            wanted, got = theirs(**inputs), ours(given)
            logits = wanted.prediction_logits if "nsp" in got else wanted.logits
            pairs = [(number(got["mlm"])[real], logits[torch.tensor(real)])]
            pairs += [(got["nsp"], wanted.sop_logits)] if "nsp" in got else []
        else:
            body = getattr(theirs, theirs.base_model_prefix, theirs)
            wanted, got = body(**inputs), ours.backbone(given)
            pairs = [(number(got["sequence"])[real], wanted[0][torch.tensor(real)])]
            pairs += [(got["pooled"], wanted.pooler_output)] if "pooled" in got else []
    errors = []
    for got, wanted in pairs:
        wanted = wanted.detach().numpy()
        assert np.abs(wanted).max() > 0.1
        errors.append(np.abs(number(got) - wanted).max())
    return note(theirs, *errors), theirs, ours


@pytest.mark.parametrize(("kind", "name", "n"), EACH)
def test_outputs_text_and_weights_are_theirs(kind, name, n, tmp_path):
    error, theirs, ours = difference(kind, n, tmp_path / "theirs")
    assert error < 1e-4
    if hasattr(ours, "stepper"):
        start = theirs.config.decoder_start_token_id or 0
        sources = [ids(1, 7)[0].tolist(), ids(1, 13, seed=2)[0].tolist()]
        pad = theirs.config.pad_token_id
        text = theirs.generate(
            long([source + [pad] * (13 - len(source)) for source in sources]),
            attention_mask=long([[1] * len(s) + [0] * (13 - len(s)) for s in sources]),
            decoder_start_token_id=start,
            max_new_tokens=30,
            do_sample=False,
            eos_token_id=None,
            forced_eos_token_id=None,
        )
        sampling = Sampling(max_new_tokens=30)
        generation = generate_tokens(ours.stepper(sources, sampling), [[start]] * 2, sampling)
        list(generation)
        assert generation.tokens == text[:, 1:].tolist()
    write_checkpoint(ours, tmp_path / "back")
    written = json.loads((tmp_path / "back" / "config.json").read_text())
    if kind == "electra" and "PreTraining" in name:  # whose own head has no counterpart
        theirs = theirs.electra
    if written["model_type"] == kind:
        if "activation_function" in written:  # "swish" has two names
            theirs.config.activation_function = written["activation_function"]
        assert_same_weights(tmp_path / "back", theirs)
        return
    # A type that has the same weights under the same names.
    again = getattr(transformers, written["architectures"][0]).from_pretrained(tmp_path / "back")
    found = again.state_dict()
    for tensor_name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, found[tensor_name]), tensor_name
