"""The n-gram model in Keras: `fit` counts, and all the rest works as for a neural model."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.errors import DataError, ExportError, RecipeError
from modelzoo_statistical.estimator import estimate
from modelzoo_statistical.ngram import build
from modelzoo_statistical.text_store import TextStore, pieces_of

RECIPE = "statistical/kneser-ney-5"
SMALL = {"vocab_size": 260, "max_tokens": 20_000, "tokenizer.kind": "byte"}


def small(name: str = RECIPE, **values):
    return modelzoo.build(name, **{**SMALL, "train.length": 64, **values})


@pytest.fixture(scope="module")
def trained(corpus):
    model = small()
    data = modelzoo.dataset(model, corpus)
    history = model.fit(data, shuffle=False, verbose=0).history
    return model, history


def log_probabilities(model, ids, mask=None) -> np.ndarray:
    ids = np.asarray(ids, np.int32)
    inputs = ids if mask is None else {"token_ids": ids, "padding_mask": np.asarray(mask)}
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def test_fit_counts_every_token_of_the_text_once(trained, corpus):
    model, _ = trained
    tokens = sum(len(text.encode()) + 1 for text in corpus)  # and an eos behind each
    orders = model.backbone.estimator.counts.orders
    assert orders[0].counts.sum() == tokens
    rows = -(-tokens // 64)
    assert orders[1].counts.sum() == tokens
    assert orders[4].counts.sum() == tokens - 3 * rows + max(0, 3 - (tokens % 64 or 64))


def test_the_probabilities_are_those_of_the_text_that_was_read(trained):
    model, _ = trained
    held = np.asarray(model.backbone.text)[: int(model.backbone.used)]
    expected = estimate(held, 5, 260)
    ids = np.array([[10, 101, 32, 119, 111, 114]])
    found = np.exp(log_probabilities(model, ids))
    np.testing.assert_allclose(found.sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(found[0, -1], expected.distributions(ids[:, -4:])[0], rtol=1e-5)
    start = np.array([[-1, -1, -1, 10]])
    np.testing.assert_allclose(found[0, 0], expected.distributions(start)[0], rtol=1e-5)


def test_the_loss_that_fit_shows_is_of_batches_before_they_are_counted(corpus):
    model = small(smoothing="witten-bell")
    data = modelzoo.dataset(model, corpus, batch_size=2)
    first = model.fit(data, epochs=1, steps_per_epoch=1, verbose=0).history["loss"][0]
    assert first == pytest.approx(np.log(260), rel=1e-6)  # nothing was known yet
    later = model.fit(data, epochs=1, verbose=0).history["loss"][0]
    assert later < first - 1


def test_a_second_pass_over_the_data_changes_nothing(trained, corpus):
    model, _ = trained
    again = small()
    again.fit(modelzoo.dataset(again, corpus), epochs=3, verbose=0)
    assert int(again.backbone.used) == int(model.backbone.used)
    ids = np.array([[1, 2, 101, 32, 119]])
    np.testing.assert_array_equal(log_probabilities(again, ids), log_probabilities(model, ids))


def test_steps_give_what_the_whole_text_gives(trained):
    model, _ = trained
    ids = np.random.default_rng(0).integers(97, 120, (2, 11)).astype("int32")
    whole = log_probabilities(model, ids)
    cache, rows = model.backbone.init_cache(2), []
    for first, last in ((0, 1), (1, 5), (5, 11)):
        step = keras.ops.convert_to_tensor(ids[:, first:last])
        logits, cache = model.backbone.step(step, step, cache)
        rows.append(keras.ops.convert_to_numpy(logits))
    np.testing.assert_array_equal(np.concatenate(rows, 1), whole)


def test_padding_and_ids_of_minus_one_are_not_there(trained):
    model, _ = trained
    plain = log_probabilities(model, [[105, 110, 32, 116]])
    padded = log_probabilities(model, [[0, 105, 110, 0, 32, 116, 7]], [[0, 1, 1, 0, 1, 1, 0]])
    np.testing.assert_array_equal(padded[0, [1, 2, 4, 5]], plain[0])
    np.testing.assert_array_equal(padded[0, 6], plain[0, 3])
    ids = keras.ops.convert_to_tensor([[105, 110, -1, 32, 116, -1]], "int32")
    stepped = model.backbone.step(ids, ids, model.backbone.init_cache(1))[0]
    found = keras.ops.convert_to_numpy(stepped)[0, [0, 1, 3, 4]]
    np.testing.assert_array_equal(found, plain[0])


def test_it_continues_what_it_has_read(trained):
    model, _ = trained
    assert model.generate("In the beginning was th", max_new_tokens=6) == "e word"
    pair = model.generate(["In the beg", "the garden w"], max_new_tokens=5)
    assert pair == ["innin", "as in"]
    drawn = model.generate("In", max_new_tokens=20, temperature=1.0, seed=4)
    assert drawn == model.generate("In", max_new_tokens=20, temperature=1.0, seed=4)


def test_a_directory_opens_in_a_fresh_process_and_answers_the_same(trained, corpus, tmp_path):
    model, _ = trained
    modelzoo.save(model, tmp_path / "kn")
    figures = modelzoo.evaluate(model, corpus)
    code = (
        "import sys, modelzoo; model = modelzoo.load(sys.argv[1]);"
        "print(repr(model.generate('In the beginning', max_new_tokens=30)));"
        "print(modelzoo.evaluate(model, [sys.argv[2]])['loss'])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "kn"), corpus[0]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    text, loss = child.stdout.splitlines()[-2:]
    assert text == repr(model.generate("In the beginning", max_new_tokens=30))
    assert float(loss) == pytest.approx(modelzoo.evaluate(model, corpus[:1])["loss"], rel=1e-6)
    assert figures["bits_per_byte"] < 1.0


def test_jax_counts_and_answers_as_tensorflow(trained, corpus):
    model, history = trained
    code = (
        "import json, sys, modelzoo, numpy as np; corpus = json.load(sys.stdin);"
        f"model = modelzoo.build({RECIPE!r}, **{ {**SMALL, 'train.length': 64}!r});"
        "history = model.fit(modelzoo.dataset(model, corpus), shuffle=False, verbose=0).history;"
        "logits = np.asarray(model(np.array([[10, 101, 32, 119]], 'int32')));"
        "text = model.generate('In the beginning', max_new_tokens=30);"
        "print(json.dumps([history['loss'], logits.tolist(), text]))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(corpus),
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    losses, logits, text = json.loads(child.stdout.splitlines()[-1])
    assert losses == pytest.approx(history["loss"], rel=1e-5)
    expected = log_probabilities(model, [[10, 101, 32, 119]])
    np.testing.assert_allclose(np.array(logits), expected, rtol=1e-5)
    assert text == model.generate("In the beginning", max_new_tokens=30)


def test_a_training_that_was_killed_goes_on_with_what_it_had_counted(trained, corpus, tmp_path):
    from modelzoo.training.checkpoint import load_checkpoint, save_checkpoint

    model, _ = trained
    first, second = small(), small()
    first.fit(modelzoo.dataset(first, corpus, batch_size=1), steps_per_epoch=20, verbose=0)
    assert 0 < int(first.backbone.used) < int(model.backbone.used)
    save_checkpoint(tmp_path / "checkpoint.npz", first, {"done": 20})
    assert load_checkpoint(tmp_path / "checkpoint.npz", second) == {"done": 20}
    assert int(second.backbone.used) == int(first.backbone.used)
    second.fit(modelzoo.dataset(second, corpus), verbose=0)
    assert int(second.backbone.used) == int(model.backbone.used)
    ids = np.array([[1, 2, 101, 32, 119]])
    np.testing.assert_allclose(
        log_probabilities(second, ids), log_probabilities(model, ids), rtol=1e-6
    )


def test_more_text_than_there_is_room_for_is_refused_with_the_way_on(corpus):
    model = small(max_tokens=500)
    with pytest.raises(DataError, match="500 tokens") as caught:
        model.fit(modelzoo.dataset(model, corpus), verbose=0)
    assert "max_tokens" in caught.value.next_step


def test_it_is_not_exported_and_says_what_is(trained, tmp_path):
    model, _ = trained
    with pytest.raises(ExportError, match="n-gram model") as caught:
        modelzoo.export(model, tmp_path / "bundle")
    assert "statistical/hmm" in caught.value.next_step
    assert not (tmp_path / "bundle").exists()


def test_keras_evaluate_and_validation_have_the_accuracy_too(corpus):
    model = small()
    text = np.array(list("".join(corpus).encode()), np.int32)[: 33 * 40].reshape(40, 33)
    x, y = text[:, :-1], text[:, 1:]
    history = model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0).history
    assert set(history) == {"loss", "val_loss", "val_accuracy"}
    assert history["val_accuracy"][0] > 0.5
    figures = model.evaluate(x, y, verbose=0, return_dict=True)
    assert figures["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"order": 0}, "order must be 1 or more"),
        ({"max_tokens": 0}, "max_tokens must be 1 or more"),
        ({"smoothing": "witten-bell", "discount": 0.5}, "discount is Kneser-Ney's"),
        ({"discount": 1.5}, "above 0 and at most 1"),
        ({"discount": 0.0}, "above 0 and at most 1"),
    ],
)
def test_values_out_of_their_range_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        build(**values)


@pytest.mark.parametrize("order", [1, 2])
def test_short_orders_work_too(corpus, order):
    model = small(order=order)
    model.fit(modelzoo.dataset(model, corpus), verbose=0)
    np.testing.assert_allclose(np.exp(log_probabilities(model, [[97, 98]])).sum(-1), 1, atol=1e-5)
    assert len(model.generate("a", max_new_tokens=3)) == 3


# === The text behind it ===


def test_pieces_end_where_the_mask_or_the_weights_do():
    ids, after = np.array([[1, 2, 3, 4, 5]]), np.array([[2, 3, 4, 5, 6]])
    real, counted = np.array([[1, 1, 0, 1, 1]]), np.array([[1.0, 1, 1, 1, 0]])
    found = [piece.tolist() for piece in pieces_of(ids, real, after, counted > 0)]
    assert found == [[1, 2, 3], [4, 5]]


def test_a_store_takes_a_piece_once_and_what_is_full_stays_as_it_was():
    store = TextStore(np.zeros(8, np.int32), 0)
    assert len(store.add([np.array([1, 2], np.int32), np.array([3, 4], np.int32)])) == 2
    assert store.add([np.array([3, 4], np.int32)]) == []
    again = TextStore(store.text, store.used)
    assert again.add([np.array([1, 2], np.int32)]) == []
    before = again.text.copy()
    with pytest.raises(DataError, match="8 tokens"):
        again.add([np.array([5, 6], np.int32)])
    np.testing.assert_array_equal(again.text, before)
    assert [piece.tolist() for piece in again.pieces()] == [[1, 2], [3, 4]]
