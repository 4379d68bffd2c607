"""Keras' own `export`, `clone_model` and `quantize` on models of the zoo."""

from __future__ import annotations

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import tree

import modelzoo
from modelzoo.errors import MissingDependencyError, ModelzooError
from modelzoo.exporting.bundle.files import media
from modelzoo.exporting.bundle.readme_media import media_lines
from modelzoo.tasks.base import Task
from modelzoo.tasks.media_classification import MediaClassifier
from modelzoo.tasks.shared.saved_state import quantized_layers
from tests.plugin_site import ROOT

tf = pytest.importorskip("tensorflow")
TEXT = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "vocab_size": 50}
IMAGE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "image_size": 16, "patch_size": 8}
MODELS = {
    "gpt": ("gpt-tiny", TEXT),
    "bert": ("bert-tiny-classifier", TEXT),
    "vit": ("vit-tiny", IMAGE),
    "clip": ("clip-tiny", {f"text.model.{key}": value for key, value in TEXT.items()}),
    "t5": ("t5-tiny", TEXT),
}


@functools.cache
def made(kind: str) -> keras.Model:
    name, changes = MODELS[kind]
    keras.utils.set_random_seed(3)
    return modelzoo.build(name, compile=False, **changes)


def inputs(model) -> dict:
    """Three rows for `call`, seven tokens each, the last of them padding in the first row."""
    rng, found = np.random.default_rng(0), {}
    for name, spec in model.call_inputs().items():
        shape = [size or (3, 7)[axis] for axis, size in enumerate(spec.shape)]
        found[name] = rng.integers(0, 2 if "segment" in name else 40, shape).astype(spec.dtype)
        if "mask" in name:
            found[name] = np.ones(shape, "int32")
            found[name][0, 6] = 0
    return found


def assert_same(one, other, tolerance=1e-5):
    one, other = tree.flatten(one), tree.flatten(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=tolerance, equal_nan=False)


@pytest.mark.parametrize("kind", MODELS)
def test_a_saved_model_of_keras_answers_as_the_model(kind, tmp_path):
    model = made(kind)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    assert_same(served.serve(inputs(model)), model(inputs(model), training=False))


def test_a_litert_file_of_keras_answers_as_the_model(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    model, path = made("bert"), tmp_path / "model.tflite"
    model.export(path, format="litert", verbose=False)
    found = Interpreter(model_path=str(path)).get_signature_runner()(**inputs(model))
    assert_same(found, model(inputs(model), training=False), 1e-4)


def test_a_format_whose_package_is_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingDependencyError, match="Keras' export to onnx") as caught:
        made("bert").export(tmp_path / "model.onnx", format="onnx", verbose=False)
    assert caught.value.next_step == "pip install tf2onnx onnx"


@pytest.mark.parametrize("kind", MODELS)
def test_a_clone_has_the_same_weights_in_the_same_places(kind):
    model = made(kind)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert_same(clone(inputs(model)), model(inputs(model)), 0)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.parametrize(("kind", "mode"), [*((kind, "int8") for kind in MODELS), ("gpt", "int4")])
def test_a_model_that_keras_quantized_is_saved_and_loaded(kind, mode, tmp_path):
    model = made(kind)
    small = keras.models.clone_model(model)
    small.set_weights(model.get_weights())
    small.quantize(mode)
    assert {how["mode"] for how in quantized_layers(small).values()} == {mode}
    assert not quantized_layers(model)
    small.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    assert_same(again(inputs(model)), small(inputs(model)), 0)
    whole = np.asarray(tree.flatten(model(inputs(model)))[0])
    assert np.abs(whole - np.asarray(tree.flatten(small(inputs(model)))[0])).max() > 0


@pytest.mark.parametrize("name", ["vqa-tiny", "clap-htsat-tiny"])
def test_no_layer_is_left_unbuilt_which_keras_would_not_quantize(name):
    model = modelzoo.build(name, compile=False)
    assert [layer.name for layer in model._flatten_layers() if not layer.built] == []


def test_a_mode_that_needs_data_is_refused_when_it_is_saved(tmp_path):
    model = keras.models.clone_model(made("bert"))
    policy = keras.dtype_policies.get("gptq/4/-1_from_float32")
    model.classifier._dtype_policy = policy
    with pytest.raises(ModelzooError, match="classifier is quantized by gptq, which modelzoo"):
        model.save(tmp_path / "small.keras")


# === Functional models ===


def functional() -> keras.Model:
    images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="stem")(images))
    model = keras.Model({"images": images}, {"pooled": x})
    model.hidden_dim, model.processing = 4, {"image": {"size": [8, 8]}}
    return model


def test_what_tasks_read_of_a_functional_model_survives_a_file(tmp_path):
    model = MediaClassifier(functional(), num_labels=3)
    assert model.processing()["image"]["interpolation"] == "bicubic"
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.backbone.hidden_dim == 4
    assert again.processing() == model.processing()
    image = np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype("uint8")
    assert again.classify(image) == model.classify(image)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_a_functional_model_that_keras_quantized_survives_too(tmp_path):
    vectors = keras.Input((5,), name="vectors")
    backbone = keras.Model(vectors, {"pooled": keras.layers.Dense(4, name="top")(vectors)})
    backbone.hidden_dim, backbone.processing = 4, {}
    model, x = MediaClassifier(backbone), np.random.default_rng(0).normal(size=(3, 5))
    model.quantize("int8")
    assert len(quantized_layers(model)) == 2
    model.save(tmp_path / "small.keras")
    assert_same(keras.saving.load_model(tmp_path / "small.keras")(x), model(x), 0)


def test_defaults_of_processing_hold_in_a_readme_and_mistakes_are_told_before_a_conversion():
    model = MediaClassifier(functional())
    signatures = model.export_signatures()
    shapes = {name: {"inputs": one.inputs, "outputs": {}} for name, one in signatures.items()}
    assert "bicubic, antialiased" in next(iter(media_lines(shapes, media(model))))
    model.backbone.processing = {"image": {"size": [8, 8], "interpolation": "bicubc"}}
    with pytest.raises(ModelzooError, match="interpolation 'bicubc' is not one of"):
        model.export_signatures()


def test_a_method_that_a_file_would_lose_is_refused_before_training():
    model = functional()
    model.step = lambda *arguments: None
    with pytest.raises(ModelzooError, match="step was set on a functional model") as caught:
        Task().check_backbone(model, "step")
    assert "subclass keras.Model" in caught.value.next_step
    Task().check_backbone(model, "hidden_dim")


# === Replicas ===

REPLICAS = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.tasks import test_keras_export as t

alone = t.losses()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    mirrored = t.losses()
np.testing.assert_allclose(mirrored, alone, rtol=1e-5)
assert alone[-1] < alone[0]
"""


def losses() -> list[float]:
    """Of three steps of a classifier whose padding masks are booleans, and of its evaluation."""
    keras.utils.set_random_seed(1)
    model = modelzoo.build("bert-tiny-classifier", **TEXT, dropout=0.0, compile=False)
    model.dropout.rate = 0.0
    model.compile(keras.optimizers.SGD(0.5), modelzoo.tasks.base.token_loss())
    rng = np.random.default_rng(0)
    lengths = np.arange(2, 10)[:, None]
    x = {
        "token_ids": rng.integers(0, 50, (8, 9)).astype("int32"),
        "padding_mask": np.arange(9) < lengths,
        "segment_ids": np.zeros((8, 9), "int32"),
    }
    y = rng.integers(0, 2, 8)
    history = model.fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=False)
    model.predict(x, batch_size=8, verbose=0)
    return [*history.history["loss"], model.evaluate(x, y, batch_size=8, verbose=0)]


def test_boolean_masks_train_on_two_replicas_as_on_one():
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
