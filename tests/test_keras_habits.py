"""What a user of Keras does without thinking: its guide to fit, predict, callbacks and files.

Each test goes through it on four families. What cannot work says what to call instead.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import modelzoo
from modelzoo.errors import DataError, warn
from modelzoo.tasks.shared.keras_habits import check_inputs
from tests import media, small
from tests.plugin_site import ROOT

REVIEWS = small.REVIEWS * 3
PICTURES = [
    {"image": media.picture(one, i), "label": one} for i in range(4) for one in media.COLOURS
]
CAPTIONS = [{"image": one["image"], "text": f"it is {one['label']}"} for one in PICTURES]
_ROWS = {"train.batch_size": 4, "train.warmup_steps": 3}
_TEXT = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 16}
_TEXT |= {"vocab_size": 600, "train.length": 8, **_ROWS}
_CONVNET = {"image_size": 8, "widths": [4, 8], "dropout": 0.0}
_BERT = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "num_layers": 1,
    "hidden_dim": 16,
    "num_heads": 2,
    "max_length": 8,
    "vocab_size": 600,
}
_STEADY = {"dropout": 0.0, "attention_dropout": 0.0}
_LABELS = {"task_options.labels": list(media.COLOURS)}
MODELS = {  # name -> changes, data
    "bert-tiny-classifier": (
        {**_TEXT, **_STEADY, "task_options.labels": ["bad", "good"], "task_options.dropout": 0.0},
        REVIEWS,
    ),
    "gpt-tiny": (_TEXT, small.TEXTS),
    "vit-tiny": ({**media.VIT, **_ROWS, **_LABELS, "task_options.num_labels": None}, PICTURES),
    "clip-tiny": (
        {"embed_dim": 8, "image.model": _CONVNET, "text.model": _BERT, "train.length": 8, **_ROWS},
        CAPTIONS,
    ),
}
FAMILIES = list(MODELS)


@functools.cache
def trained(name: str) -> tuple[keras.Model, list]:
    """A model with a tokenizer, and its data; tests leave its weights as they please."""
    changes, data = MODELS[name]
    keras.utils.set_random_seed(3)
    model = modelzoo.build(name, **changes)
    modelzoo.dataset(model, data)
    return model, data


def fresh(name: str) -> tuple[keras.Model, keras.utils.PyDataset, keras.utils.PyDataset]:
    """A copy that was never trained, its batches, and the same rows in order."""
    model, data = trained(name)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    again.recipe, again.tokenizer = model.recipe, model.tokenizer
    again.set_weights(model.get_weights())
    from modelzoo.optimizers.optimizer import compile_model

    compile_model(again)
    again.run_eagerly = True  # faster for so few steps
    rows = functools.partial(modelzoo.dataset, again, data)
    return again, rows(), rows(shuffle=False)


def flat(value) -> list[np.ndarray]:
    return [np.asarray(one) for one in keras.tree.flatten(value)]


# === The guide ===


@pytest.mark.parametrize("name", FAMILIES)
def test_callbacks_of_the_guide(name, tmp_path):
    model, data, rows = fresh(name)
    rates = []
    kept = str(tmp_path / "best.keras")
    calls = [
        keras.callbacks.EarlyStopping(patience=5),
        keras.callbacks.ModelCheckpoint(kept, save_best_only=True),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.TensorBoard(str(tmp_path / "board")),
        keras.callbacks.BackupAndRestore(str(tmp_path / "backup")),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 1e-3 if epoch else rate),
        keras.callbacks.ReduceLROnPlateau("loss", min_delta=1e9, patience=1, factor=0.5),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
        ),
    ]
    before = float(model.optimizer.learning_rate)
    history = model.fit(data, epochs=3, validation_data=rows, callbacks=calls, verbose=0).history
    assert len(history["val_loss"]) == 3
    assert history["learning_rate"] == pytest.approx([before, 1e-3, 1e-3])
    assert rates == pytest.approx([before, 5e-4, 5e-4])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    assert any((tmp_path / "board").rglob("events.*"))
    best = keras.saving.load_model(kept)
    np.testing.assert_allclose(*(flat(one(rows[0][0]))[0] for one in (best, best)), rtol=1e-6)
    assert int(best.optimizer.iterations) in {len(data), 2 * len(data), 3 * len(data)}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_rate_can_be_set_in_the_middle_of_a_training(name):
    model, data, _ = fresh(name)
    model.fit(data, verbose=0)
    start = model.get_weights()
    model.optimizer.learning_rate = 0.0
    model.fit(data, verbose=0)
    for a, b, weight in zip(start, model.get_weights(), model.weights, strict=True):
        if weight.trainable:
            np.testing.assert_array_equal(a, b)
    model.optimizer.learning_rate = 1e-2
    model.fit(data, verbose=0)
    assert any((a != b).any() for a, b in zip(start, model.get_weights(), strict=True))


def test_a_rate_can_be_set_in_a_traced_training():
    model, data, _ = fresh("bert-tiny-classifier")
    model.run_eagerly = False
    start = model.get_weights()
    model.optimizer.learning_rate = 0.0  # within the warm-up
    model.fit(data, verbose=0)
    assert all((a == b).all() for a, b in zip(start, model.get_weights(), strict=True))
    model.optimizer.learning_rate = 1e-2
    model.fit(data, verbose=0)
    assert any((a != b).any() for a, b in zip(start, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_in_order_are_predicted_in_order(name):
    model, data, rows = fresh(name)
    _, raw = trained(name)
    alone = modelzoo.dataset(model, raw, batch_size=1, shuffle=False)
    assert len(alone) == rows._batches.num_rows
    if name == "clip-tiny":  # its answers to a batch are similarities of all its rows
        assert flat(model.predict(rows, verbose=0))
        return
    for found, wanted in zip(
        flat(model.predict(rows, verbose=0)), flat(model.predict(alone, verbose=0)), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(DataError, match=r"rows in a shuffled order[\s\S]*shuffle=False"):
        model.predict(data)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_training_loop_of_ones_own(name):
    model, data, _ = fresh(name)
    x, y, weight = data[0]
    optimizer, losses = keras.optimizers.Adam(3e-3), []
    for _ in range(12):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True), weight)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        losses.append(float(loss))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_files_of_keras(name, tmp_path):
    model, data, rows = fresh(name)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", UserWarning
        )  # such as "Skipping variable loading for optimizer"
        model.save(tmp_path / "fresh.keras")
        again = keras.saving.load_model(tmp_path / "fresh.keras")
        assert again.compiled and not again.optimizer.built
        again.run_eagerly = True
        again.fit(data, verbose=0)
        again.save(tmp_path / "tuned.keras")
        tuned = keras.saving.load_model(tmp_path / "tuned.keras")
    assert tuned.optimizer.built and int(tuned.optimizer.iterations) == len(data)
    again.save_weights(tmp_path / "one.weights.h5")
    model.optimizer.build(model.trainable_variables)  # the file has the state of one
    model.load_weights(tmp_path / "one.weights.h5")
    wanted = flat(again(rows[0][0], training=False))
    for one in (tuned, model):
        for a, b in zip(flat(one(rows[0][0], training=False)), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["bert-tiny-classifier", "vit-tiny"])
def test_weights_of_classes_and_of_rows(name):
    model, data, rows = fresh(name)
    x, y, _ = rows[0]
    start, found = model.get_weights(), []
    by_class = {number: 1.0 + 8 * (number == 0) for number in range(model.num_labels)}
    by_row = np.where(np.asarray(y) == 0, 9.0, 1.0).astype("float32")
    for keywords in ({"class_weight": by_class}, {"sample_weight": by_row}, {}):
        model.set_weights(start)
        history = model.fit(x, y, batch_size=len(y), shuffle=False, verbose=0, **keywords)
        found.append(history.history["loss"][0])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] != pytest.approx(found[2], rel=1e-4)
    model.fit(data, class_weight=by_class, verbose=0)


# === Rows that nobody has labelled ===


def test_unlabelled_rows_are_predicted_and_not_trained_on():
    model, _, _ = fresh("bert-tiny-classifier")
    labelled = modelzoo.dataset(model, REVIEWS[:5], shuffle=False)
    bare = modelzoo.dataset(model, [text for text, _ in REVIEWS[:5]], shuffle=False)
    np.testing.assert_array_equal(
        model.predict(bare, verbose=0), model.predict(labelled, verbose=0)
    )
    assert len(bare[1]) == 1 and len(bare[1][0]["token_ids"]) == 1  # x alone, of one row
    for method in (model.fit, model.evaluate):
        with pytest.raises(DataError, match="needs labels, and the data has none"):
            method(bare)
    with pytest.raises(DataError, match="1 of 2 examples have no label, the first is number 2"):
        modelzoo.dataset(model, [{"text": "a", "label": "good"}, {"text": "b"}], shuffle=False)
    with pytest.raises(DataError, match="no column 'label'"):
        modelzoo.dataset(model, ["a text"])


def test_unlabelled_pictures_and_files_are_predicted(tmp_path):
    model, _, rows = fresh("vit-tiny")
    bare = modelzoo.dataset(model, [{"image": one["image"]} for one in PICTURES], shuffle=False)
    np.testing.assert_allclose(
        model.predict(bare, verbose=0), model.predict(rows, verbose=0), rtol=1e-5, atol=1e-6
    )
    (tmp_path / "new.csv").write_text("text,label\na film,\nb film,\n")  # an empty column
    model, _, _ = fresh("bert-tiny-classifier")
    found = model.predict(modelzoo.dataset(model, tmp_path / "new.csv", shuffle=False), verbose=0)
    assert found.shape == (2, 2)


# === What cannot work says what to call ===


@pytest.mark.parametrize(
    ("method", "data", "ways"),
    [
        ("fit", "train.csv", ["model.fit(modelzoo.dataset(model, 'train.csv'))"]),
        ("evaluate", Path("test.csv"), ["model.evaluate(modelzoo.dataset(model, PosixPath('te"]),
        ("fit", [("a text", "good")], ["model.fit(modelzoo.dataset(model, [('a text', 'good')]))"]),
        ("predict", ["a text"], ["model.classify(['a text'])", "dataset(model, ['a text'], shuf"]),
        ("predict", np.array(["a"], object), ["model.predict(modelzoo.dataset(model, array(["]),
        ("predict", [{"text": "a"}], ["model.predict(modelzoo.dataset(model, [{'text': 'a'}], s"]),
        ("__call__", "a text", ["model.classify('a text')", "(model, ['a text'], shuffle=False)"]),
    ],
)
def test_raw_data_in_place_of_arrays(method, data, ways):
    model, _ = trained("bert-tiny-classifier")
    with pytest.raises(DataError, match="not raw data") as caught:
        getattr(model, method)(data)
    for way in ways:
        assert way in caught.value.next_step


def test_a_file_is_no_text_to_classify(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("text\na\n")
    with pytest.raises(DataError) as caught:
        check_inputs("predict", str(path), ("classify",))
    assert "classify" not in caught.value.next_step


def test_a_method_of_another_task_names_those_of_this_one():
    model, _ = trained("bert-tiny-classifier")
    with pytest.raises(AttributeError, match="TextClassifier cannot `generate`; it can `classify`"):
        model.generate("a")
    with pytest.raises(AttributeError, match="no attribute 'classfy'"):
        _ = model.classfy
    assert hasattr(model, "classify") and not hasattr(model, "caption")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("bild", "build"), ("list_models", "names"), ("list", "names"), ("exprot", "export")],
)
def test_a_misspelt_name_of_the_module_gets_a_suggestion(typed, meant):
    with pytest.raises(AttributeError, match=f"did you mean: modelzoo.{meant}"):
        getattr(modelzoo, typed)


def test_a_name_like_no_other_gets_none():
    with pytest.raises(AttributeError, match="has no attribute 'xyzzy'$"):
        _ = modelzoo.xyzzy


# === What one sees ===


def test_models_and_data_sets_say_what_they_are():
    model, data, rows = fresh("bert-tiny-classifier")
    count = f"{model.count_params():,}"
    assert repr(model) == (
        f"<TextClassifier: bert-tiny-classifier, text-classification, {count} parameters>"
    )
    assert repr(data) == "<modelzoo dataset: rows 12, shuffled; batches 3 of 4; labels bad, good>"
    assert repr(rows) == "<modelzoo dataset: rows 12, in order; batches 3 of 4; labels bad, good>"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_summary_knows_the_shapes(name):
    model, _ = trained(name)
    lines = []
    model.summary(print_fn=lambda line, line_break=True: lines.append(line), line_length=100)
    text = "\n".join(lines)
    assert "?" not in text
    assert "(None, " in text
    attributes = [one.__dict__ for one in model._flatten_layers()]
    assert not any({"call", "compute_output_shape"} & set(one) for one in attributes)


QUIET = """
import modelzoo
model = modelzoo.build("bert-tiny-classifier", num_layers=1, vocab_size=600, hidden_dim=16,
                       num_heads=2, max_length=16)
model.fit(modelzoo.dataset(model, [("a", "x"), ("b", "y")], length=8), verbose=0)
"""


@pytest.mark.parametrize(("level", "noisy"), [(None, False), ("0", True)])
def test_nothing_native_is_said_unless_the_user_wants_it(level, noisy):
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"PYTHONPATH": str(ROOT)} | ({"TF_CPP_MIN_LOG_LEVEL": level} if level else {})
    code = QUIET if level is None else "import modelzoo, keras"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert bool(re.search(r"^[IWE]\d{4} ", done.stderr, re.M)) is noisy, done.stderr


# === Warnings ===


def test_a_warning_points_at_the_line_of_the_user():
    model, _ = trained("bert-tiny-classifier")
    with pytest.warns(UserWarning, match="longer than 4 tokens") as caught:
        modelzoo.dataset(model, REVIEWS, length=4)
        here = sys._getframe().f_lineno - 1
    assert (caught[0].filename, caught[0].lineno) == (__file__, here)


def test_a_warning_is_said_once_a_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            warn("only once here")
    assert [str(one.message) for one in caught] == ["only once here"]


def test_a_card_says_how_keras_opens_the_file():
    from modelzoo.building.card import model_card

    model, _ = trained("bert-tiny-classifier")
    card = model_card(model, "sentiment")
    assert '`keras.saving.load_model("sentiment/model.keras")` opens it' in card
    assert "write\n`import modelzoo` before it" in card
