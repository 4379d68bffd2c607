"""Classifiers whose labels do not exclude each other: several labels, one label, a number."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import ModelzooError, RecipeError, WeightsError
from modelzoo.runtime.abilities.labels import labelled
from modelzoo.tasks.media_classification import AudioClassificationTask, ImageClassificationTask
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.checkpoints import classifier_options, labels_of_config
from modelzoo.weights import write_checkpoint
from tests.core import number, randomise

LOGITS = np.array([3.0, 2.0, -4.0], np.float32)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (None, np.exp(LOGITS) / np.exp(LOGITS).sum()),
        ("single_label_classification", np.exp(LOGITS) / np.exp(LOGITS).sum()),
        ("multi_label_classification", 1 / (1 + np.exp(-LOGITS))),
        ("regression", LOGITS),
    ],
)
def test_the_problem_says_what_becomes_of_the_logits(problem, expected):
    answer = labelled(LOGITS, ["a", "b", "c"], None, problem)
    assert [label for label, _ in answer] == ["a", "b", "c"]
    np.testing.assert_allclose([p for _, p in answer], expected, rtol=1e-5)


def test_a_sigmoid_of_a_large_logit_is_finite():
    answer = labelled(np.array([1e4, -1e4], np.float32), None, None, "multi_label_classification")
    assert answer == [("0", 1.0), ("1", 0.0)]


def test_labels_are_named_counted_or_two():
    assert labels_of_config({}) == ["LABEL_0", "LABEL_1"]
    assert labels_of_config({"num_labels": 3}) == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert labels_of_config({"id2label": {"1": "b", "0": "a"}, "num_labels": 5}) == ["a", "b"]
    for wrong in (
        {"num_labels": "3"},
        {"num_labels": 0},
        {"id2label": ["a", "b"]},
        {"id2label": {"first": "a"}},
        {"id2label": {"0": "a", "2": "b"}},
        {"id2label": {"0": "a", "1": "a"}},
    ):
        with pytest.raises(WeightsError, match=next(iter(wrong))):
            labels_of_config(wrong)


def test_one_label_is_a_probability_and_a_problem_is_one_of_three():
    one = {"labels": ["LABEL_0"], "problem_type": "multi_label_classification"}
    assert classifier_options({"num_labels": 1}) == one
    number = classifier_options({"num_labels": 1, "problem_type": "regression"})
    assert number["problem_type"] == "regression"
    with pytest.raises(WeightsError, match="is not supported") as caught:
        classifier_options({"problem_type": "multi_label_clasification"})
    assert caught.value.did_you_mean == "multi_label_classification"


@pytest.mark.parametrize(
    ("problem", "kept"),
    [
        (None, "single_label_classification"),
        ("single_label_classification", "single_label_classification"),
        ("multi_label_classification", "multi_label_classification"),
        ("regression", "regression"),
    ],
)
def test_one_label_of_a_sound_is_what_its_problem_says(problem, kept):
    config = {"num_labels": 1, "problem_type": problem}
    options = AudioClassificationTask.options_of_config(config, frozenset())
    assert options == {"labels": ["LABEL_0"], "problem_type": kept}
    assert AudioClassificationTask(**options).labels == ["LABEL_0"]
    images = ImageClassificationTask.options_of_config(config, frozenset())["problem_type"]
    assert images == ("regression" if problem == "regression" else "multi_label_classification")


def test_one_label_of_a_sound_is_certain_and_is_not_trained():
    small = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "num_columns": 20, "num_mels": 16}
    options = {"labels": ["a"], "num_labels": None, "problem_type": "single_label_classification"}
    options = {f"task_options.{key}": value for key, value in options.items()}
    model = modelzoo.build("ast-tiny", compile=False, **options, **small)
    sound = (np.ones(3000, "float32"), 16_000)
    assert model.classify(sound) == [("a", 1.0)]
    with pytest.raises(ModelzooError, match="cannot be trained or evaluated"):
        modelzoo.dataset(model, [{"audio": sound, "label": "a"}] * 4)


@pytest.fixture(scope="module")
def classifier():
    tokenizer = train_tokenizer(["rude words and kind words"] * 3, "bpe", 300, ENCODER_TOKENS)
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 32, "max_length": 40}
    options = {"labels": ["a", "b", "c"], "problem_type": "multi_label_classification"}
    return randomise(
        modelzoo.build(
            "bert-base",
            compile=False,
            tokenizer=tokenizer,
            vocab_size=tokenizer.vocab_size,
            **sizes,
            **{"task": "text-classification", "task_options": options},
        )
    )


def test_several_labels_are_answered_written_and_read_back(classifier, tmp_path):
    folder = write_checkpoint(classifier, tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    ids = classifier.tokenizer.encode_pair("kind words")[0]
    inputs = {"token_ids": np.array([ids]), "padding_mask": np.ones((1, len(ids)), "int32")}
    logits = number(classifier(inputs))[0].astype(float)
    expected = dict(zip("abc", 1 / (1 + np.exp(-logits)), strict=True))
    for model in (classifier, modelzoo.build(folder, compile=False)):
        assert dict(model.classify("kind words")) == pytest.approx(expected, abs=1e-5)


def test_they_are_in_the_manifest_of_a_bundle(classifier):
    from types import SimpleNamespace

    from modelzoo.exporting.bundle.files import draft_manifest
    from modelzoo.exporting.formats.tflite import FORMAT

    manifest = draft_manifest(
        classifier,
        classifier.export_signatures(max_length=8),
        SimpleNamespace(model="model.tflite"),
        name="x",
        format=FORMAT,
        mode=SimpleNamespace(name="float32"),
        options={},
    )
    assert manifest["problem_type"] == "multi_label_classification"
    assert "generation" not in manifest


def test_one_label_alone_is_not_trained_as_one_of_several():
    with pytest.raises(RecipeError, match="two or more different labels"):
        modelzoo.build("bert-base", **{"task": "text-classification", "task_options.labels": ["a"]})
