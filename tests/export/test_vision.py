"""Models that see, on a device: the same answers from the same picture, with builtin operations."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.runtime import load
from tests.core import randomise

pytestmark = pytest.mark.slow

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
_VIT = {"image_size": 16, "patch_size": 8, "num_layers": 1, "hidden_dim": 32, "num_heads": 2}
_PART = {f"image.model.{key}": value for key, value in _VIT.items()}
# A recipe, its changes, what it is shown.
MODELS = {
    "clip's tower": (
        "vit-b16",
        {**_VIT, "norm": "pooled", "embedding_norm": True, "activation": "quick_gelu"},
        PICTURE,
    ),
    "siglip's tower": (
        "vit-b16",
        {**_VIT, "cls_token": False, "pooling": "attention", "activation": "gelu_tanh"},
        PICTURE,
    ),
    "mobilenet": ("mobilenet-v3-small", {"image_size": 32, "width": 0.5}, PICTURE),
    "video": (
        "video-tiny",
        {**_PART, "num_frames": 2, "num_heads": 2, "num_layers": 1},
        np.stack([PICTURE, PICTURE[::-1]]),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_bundle_answers_as_keras_does(name, tmp_path):
    recipe, changes, shown = MODELS[name]
    options = {"task_options.labels": ["a", "b", "c"], "task_options.num_labels": None}
    if name == "video":
        options.pop("task_options.num_labels")
    keras.utils.set_random_seed(0)
    model = modelzoo.build(recipe, compile=False, **{**changes, **options})
    if name != "mobilenet":  # whose variances must not be negative
        randomise(model)
    modelzoo.export(model, tmp_path / "bundle", quantize="float32")
    bundle = load(tmp_path / "bundle")
    wanted, got = dict(model.classify(shown)), dict(bundle.classify(shown))
    assert got == pytest.approx(wanted, abs=1e-5)
    parity = json.loads((tmp_path / "bundle" / "parity.json").read_text("utf-8"))
    errors = [f["max_abs_error"] for s in parity["signatures"].values() for f in s.values()]
    assert max(errors) < 1e-4
    assert not [kind for kind in parity["operation_kinds"] if kind.startswith(("CUSTOM", "SHAPE"))]
