"""What modelzoo 0.1 wrote opens today, and answers as it did then.

`written_by_0.1.zip` was written with 0.1.0: model directories of ten families with random weights,
the inputs and outputs of each, three bundles, a checkpoint, and what they said about one text.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo import runtime
from tests.plugin_site import ROOT

FAMILIES = (
    "bert",
    "classifier",
    "clip",
    "gpt",
    "gru",
    "llama",
    "minilm",
    "t5",
    "vit",
    "whisper",
)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written_by_0_1")
    with zipfile.ZipFile(ROOT / "tests" / "written_by_0.1.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def told(old) -> dict:
    return json.loads((old / "answers.json").read_text("utf-8"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_directory_gives_the_numbers_it_gave(old, family):
    model = modelzoo.load(old / family)
    with np.load(old / f"{family}.npz") as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in_")}
        wanted = [arrays[f"out_{n}"] for n in range(len(arrays) - len(inputs))]
    found = [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(model(inputs))]
    assert len(found) == len(wanted) > 0
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_keras_file_opens_with_keras_alone(old):
    model = keras.saving.load_model(old / "gpt" / "model.keras")
    assert model.count_params() == modelzoo.load(old / "gpt").count_params()


def test_a_model_directory_says_what_it_said(old, told):
    for name in ("gpt", "t5"):
        assert modelzoo.load(old / name).generate("the fox", max_new_tokens=8) == told[name]
    assert_labels(modelzoo.load(old / "classifier").classify("a fine film"), told["classifier"])


@pytest.mark.parametrize("bundle", ["gpt.tflite", "t5.tflite", "classifier.savedmodel"])
def test_a_bundle_says_what_it_said(old, told, bundle):
    model = runtime.load(old / bundle)
    if bundle.startswith("classifier"):
        assert_labels(model.classify("a fine film"), told[bundle])
    else:
        assert model.generate("the fox", max_new_tokens=8) == told[bundle]


def test_a_checkpoint_gives_the_same_weights(old):
    again, first = modelzoo.build(old / "gpt-hf"), modelzoo.load(old / "gpt")
    theirs = {weight.path.partition("/")[2]: weight for weight in first.weights}
    for weight in again.weights:
        other = theirs[weight.path.partition("/")[2]]
        np.testing.assert_array_equal(np.asarray(weight), np.asarray(other))


def assert_labels(found: list, wanted: list) -> None:
    assert [label for label, _ in found] == [label for label, _ in wanted]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in wanted], atol=1e-5)
