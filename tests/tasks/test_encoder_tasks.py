"""Masked language models and classifiers: heads, pooling, figures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from keras import ops

from modelzoo.errors import ExportError, ModelzooError, RecipeError
from modelzoo.exporting.process.options import export_options
from modelzoo.recipe import Recipe
from modelzoo.tasks.masked_lm import MaskedLM, MaskedLMTask
from modelzoo.tasks.shared.encoder_signatures import embedding, pool
from modelzoo.tasks.text_classification import TextClassificationTask, TextClassifier
from tests.core import (
    VOCAB,
    assert_near,
    dense,
    fresh,
    gelu,
    layer_norm,
    number,
    randomise,
    small,
    token_ids,
)

IDS = token_ids(2, 6)
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2], "int32")
INPUTS = {"token_ids": IDS, "padding_mask": MASK, "segment_ids": (IDS > 9).astype("int32")}


@pytest.fixture(scope="module")
def bert() -> MaskedLM:
    return randomise(MaskedLM(fresh("bert")))


# === Masked language models ===


def test_the_head_is_berts(bert):
    hidden = bert.backbone(INPUTS)
    x = gelu(dense(bert.transform, number(hidden["sequence"])))
    x = layer_norm(x, number(bert.norm.gamma), number(bert.norm.beta), 1e-12)
    logits = x @ number(bert.backbone.tokens.embeddings).T + number(bert.bias)
    outputs = bert(INPUTS)
    assert_near(outputs["mlm"], logits, 1e-4)
    assert_near(outputs["nsp"], dense(bert.nsp, number(hidden["pooled"])), 1e-4)


def test_logits_at_mask_positions_are_those_of_the_whole(bert):
    positions = np.array([[5, 0, 3], [1, 1, 0]], "int32")
    whole = number(bert(INPUTS)["mlm"])
    chosen = bert({**INPUTS, "mask_positions": positions})
    assert chosen["mlm"].shape == (2, 3, VOCAB)
    assert_near(chosen["mlm"], np.take_along_axis(whole, positions[:, :, None].astype(int), 1))
    assert_near(chosen["nsp"], bert(INPUTS)["nsp"])


def test_without_next_sentence_there_is_no_such_head_and_no_pooler_is_needed():
    task = MaskedLMTask(next_sentence=False)
    model = task.model(small("distilbert"))
    assert set(model(INPUTS)) == {"mlm"}
    assert set(task.losses()[0]) == {"mlm"}
    assert [*model.export_signatures(max_length=8)["serve"].inputs] == ["token_ids", "padding_mask"]


def test_the_signature_of_a_masked_model_gives_float_logits_of_its_inputs(bert):
    signatures = bert.export_signatures(max_length=6)
    specs = signatures["serve"].inputs
    assert {key: spec.shape for key, spec in specs.items()} == {
        "token_ids": (1, 6),
        "padding_mask": (1, 6),
        "segment_ids": (1, 6),
    }
    row = {key: ops.convert_to_tensor(value[1:]) for key, value in INPUTS.items()}
    outputs, full = signatures["serve"].function(row), bert(INPUTS)
    assert_near(number(outputs["logits"])[0, :4], number(full["mlm"])[1, :4])
    assert_near(number(outputs["nsp_logits"])[0], number(full["nsp"])[1])


def test_an_encoder_has_shorter_lengths_and_batches_on_request():
    model = MaskedLM(small("bert", max_length=200))
    shapes = {name: s.inputs["token_ids"].shape for name, s in model.export_signatures().items()}
    assert shapes == {
        **{"serve": (1, 200), "serve_32": (1, 32), "serve_128": (1, 128)},
        **{"embed": (1, 200), "embed_32": (1, 32), "embed_128": (1, 128)},
    }
    asked = model.export_signatures(max_length=100, lengths=[64, 8, 64, 100], batch_sizes=[4])
    shapes = {name: signature.inputs["segment_ids"].shape for name, signature in asked.items()}
    for name in ("serve", "embed"):
        one = {f"{name}": (1, 100), f"{name}_8": (1, 8), f"{name}_64": (1, 64)}
        four = {f"{name}_100x4": (4, 100), f"{name}_8x4": (4, 8), f"{name}_64x4": (4, 64)}
        assert one.items() | four.items() <= shapes.items()
    assert len(shapes) == 12
    assert [*model.export_signatures(max_length=32, lengths=())] == ["serve", "embed"]
    assert [*model.export_signatures(max_length=20)] == ["serve", "embed"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lengths": [8, 13]}, "export.lengths has 13, and the longest text has 12 tokens"),
        ({"lengths": [0]}, "export.lengths must be 1 or more, not 0"),
        ({"batch_sizes": [1, -2]}, "export.batch_sizes must be 1 or more, not -2"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(bert, options, message):
    with pytest.raises(ExportError, match=message):
        bert.export_signatures(max_length=64, **options)


def test_every_size_gives_the_same_answer(bert):
    signatures = bert.export_signatures(max_length=10, lengths=[6], batch_sizes=[2])
    row = {key: ops.convert_to_tensor(value[:1]) for key, value in INPUTS.items()}
    logits = number(signatures["serve_6"].function(row)["logits"])
    both = {key: ops.convert_to_tensor(value) for key, value in INPUTS.items()}
    assert_near(number(signatures["serve_6x2"].function(both)["logits"])[:1], logits)
    longer = {key: ops.pad(value, ((0, 0), (0, 4))) for key, value in row.items()}
    assert_near(number(signatures["serve"].function(longer)["logits"])[:, :6], logits)
    vectors = number(signatures["embed_6x2"].function(both)["embedding"])
    assert_near(number(signatures["embed"].function(longer)["embedding"])[0], vectors[0])


def test_sizes_may_stand_in_a_recipe(bert):
    recipe = Recipe(
        "r", {"architecture": "bert", "export": {"lengths": [8], "batch_sizes": [4]}}, "r.toml"
    )
    model = SimpleNamespace(
        recipe=recipe, backbone=bert.backbone, export_signatures=bert.export_signatures
    )
    options = export_options(model, {})
    assert options == {"lengths": (8,), "batch_sizes": (4,)}
    assert export_options(model, {"lengths": [4, 8]})["lengths"] == (4, 8)
    with pytest.raises(RecipeError, match="export.lengths must be"):
        export_options(model, {"lengths": "32"})
    with pytest.raises(RecipeError, match="export.lengths must be"):
        export_options(model, {"lengths": [8.5]})


def test_a_decoder_is_refused_as_a_masked_model():
    with pytest.raises(ModelzooError, match="masked-lm needs a backbone with pooler"):
        MaskedLMTask().model(small("gpt-2"))


def test_the_loss_of_a_masked_model_adds_its_heads():
    class Batches:
        def evaluation(self):
            y = {"mlm": IDS, "nsp": np.array([0, 1])}
            yield INPUTS, y, {"mlm": MASK.astype("float32"), "nsp": np.ones(2, "float32")}

    model = randomise(MaskedLM(fresh("bert")))
    scores = MaskedLMTask().evaluate(model, Batches())
    assert scores["loss"] == pytest.approx(scores["mlm_loss"] + scores["nsp_loss"])
    assert (scores["mlm_tokens"], scores["nsp_tokens"]) == (10, 2)


# === One vector a text ===


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_causal_model_is_read_at_its_last_real_token(side):
    hidden = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    mask = MASK if side == "right" else MASK[:, ::-1]
    wanted = np.stack([hidden[0, 5], hidden[1, 3 if side == "right" else 5]])
    assert_near(pool(ops.convert_to_tensor(hidden), ops.convert_to_tensor(mask.copy())), wanted, 0)
    assert_near(pool(ops.convert_to_tensor(hidden), None), hidden[:, -1], 0)


def test_an_encoder_is_read_at_its_pooler_or_its_first_token():
    outputs = small("bert")(INPUTS)
    assert_near(pool(outputs, MASK), outputs["pooled"], 0)
    outputs = small("distilbert")(INPUTS)
    assert_near(pool(outputs, MASK), number(outputs["sequence"])[:, 0], 0)


def test_an_embedding_is_the_mean_of_real_tokens_of_length_one():
    hidden = np.random.default_rng(1).normal(size=(2, 6, 3))
    got = number(embedding(ops.cast(hidden, "float32"), MASK))
    mean = (hidden * MASK[:, :, None]).sum(1)
    assert_near(got, mean / np.linalg.norm(mean, axis=-1, keepdims=True))


# === Classifiers ===


@pytest.mark.parametrize("name", ["bert", "distilbert", "llama", "gru"])
def test_a_classifier_reads_any_backbone_and_no_padding(name):
    model = randomise(TextClassifier(fresh(name), num_labels=3))
    logits = number(model(INPUTS))
    assert logits.shape == (2, 3)
    other = {**INPUTS, "token_ids": np.where(MASK > 0, IDS, (IDS + 1) % VOCAB)}
    assert_near(model(other), logits)
    assert_near(logits, dense(model.classifier, number(pool(model.backbone(INPUTS), MASK))), 1e-4)
    signatures = model.export_signatures(max_length=6)
    row = {key: ops.convert_to_tensor(INPUTS[key][1:]) for key in signatures["serve"].inputs}
    assert_near(number(signatures["serve"].function(row)["logits"])[0], logits[1], 1e-4)
    vector = number(signatures["embed"].function(row)["embedding"])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_labels_must_be_two_and_different():
    for labels in (["one"], ["a", "a"], []):
        with pytest.raises(RecipeError, match="two or more different labels"):
            TextClassificationTask(labels=labels)
    assert TextClassificationTask(labels=["a", "b", "c"]).model(fresh("bert")).num_labels == 3


def test_a_classifiers_figures_leave_out_rows_of_no_weight():
    sklearn = pytest.importorskip("sklearn.metrics")

    class Batches:
        texts = baseline_figures = None

        def evaluation(self):
            for seed in (1, 2):
                ids = token_ids(4, 6, seed=seed)
                weight = np.array([1, 1, 1, seed == 1], "float32")
                yield {"token_ids": ids, "padding_mask": ids >= 0}, ids[:, 0] % 3, weight

    model = randomise(TextClassifier(fresh("bert"), num_labels=3), scale=0.5)
    scores = TextClassificationTask().evaluate(model, Batches())
    logits, truth = [], []
    for x, y, weight in Batches().evaluation():
        logits.append(number(model(x))[weight > 0])
        truth.append(y[weight > 0])
    logits, truth = np.concatenate(logits), np.concatenate(truth)
    odds = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert scores["examples"] == 7
    assert scores["loss"] == pytest.approx(-np.log(odds[np.arange(7), truth]).mean(), rel=1e-4)
    assert scores["accuracy"] == pytest.approx((logits.argmax(-1) == truth).mean())
    assert scores["f1"] == pytest.approx(
        sklearn.f1_score(truth, logits.argmax(-1), average="macro", zero_division=0)
    )
