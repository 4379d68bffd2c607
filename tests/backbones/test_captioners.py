"""Decoders that see: what they are told step by step is what the whole text says at once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo.backbones.prefix import pixel_shuffle
from modelzoo.errors import RecipeError
from tests.captioners import DECODER, FUSIONS, IMAGE, VOCAB, backbone, images
from tests.core import assert_near, number, token_ids

LENGTH = 5
PREFIXES = [name for name in FUSIONS if name.startswith("prefix")]


def full_pass(model, pictures, ids) -> np.ndarray:
    inputs = {"images": pictures, "token_ids": ids, "padding_mask": np.ones_like(ids)}
    return number(model.logits(model(inputs)))


def in_steps(model, ids, chunks, cache, first, *context) -> np.ndarray:
    rows, start = [], 0
    for size in chunks:
        where = np.tile(
            np.arange(first + start, first + start + size, dtype="int32"), (len(ids), 1)
        )
        some = ops.convert_to_tensor(ids[:, start : start + size])
        logits, cache = model.step(some, ops.convert_to_tensor(where), cache, *context)
        rows.append(number(logits))
        start += size
    return np.concatenate(rows, axis=1)


@pytest.mark.parametrize("chunks", [[1] * LENGTH, [2, 1, 2]], ids=["one by one", "chunks"])
def test_cross_attention_over_a_cache_gives_the_logits_of_the_full_pass(chunks):
    model, pictures = backbone("cross-attention"), images(2)
    ids = token_ids(2, LENGTH, vocab=VOCAB)
    memory = model.encode(pictures)
    assert memory["cross_k_0"].shape == (2, 2, model.image_vectors, 8)
    found = in_steps(model, ids, chunks, model.init_cache(2, 8), 0, memory)
    assert_near(found, full_pass(model, pictures, ids))


@pytest.mark.parametrize("chunks", [[1] * LENGTH, [2, 1, 2]], ids=["one by one", "chunks"])
@pytest.mark.parametrize("fusion", PREFIXES)
def test_a_prefix_in_the_cache_gives_the_logits_of_the_full_pass(fusion, chunks):
    model, pictures = backbone(fusion), images(2)
    count, ids = model.image_tokens, token_ids(2, LENGTH, vocab=VOCAB)
    assert count == 4
    ids = np.where(ids == 7, 8, ids)
    where = np.tile(np.arange(count, dtype="int32"), (2, 1))
    cache = model.prefill_image(pictures, ops.convert_to_tensor(where), model.init_cache(2, 12))
    found = in_steps(model, ids, chunks, cache, count)
    if model.image_token is not None:
        ids = np.concatenate([np.full((2, count), model.image_token, "int32"), ids], axis=1)
    assert_near(found, full_pass(model, pictures, ids)[:, -LENGTH:])


def test_an_image_in_the_middle_of_a_text_stands_where_its_token_does():
    model, pictures = backbone("prefix in text"), images(2)
    before, after = token_ids(2, 2, seed=3, vocab=7), token_ids(2, LENGTH, seed=4, vocab=7)
    where = ops.convert_to_tensor(np.tile(np.arange(2, 6, dtype="int32"), (2, 1)))
    start = ops.convert_to_tensor(np.tile(np.arange(2, dtype="int32"), (2, 1)))
    _, cache = model.step(ops.convert_to_tensor(before), start, model.init_cache(2, 16))
    cache = model.prefill_image(pictures, where, cache)
    found = in_steps(model, after, [3, 2], cache, 6)
    text = np.concatenate([before, np.full((2, 4), 7, "int32"), after], axis=1)
    assert_near(found, full_pass(model, pictures, text)[:, -LENGTH:])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_is_seen_changes_what_is_said_and_padding_does_not(fusion):
    model, ids = backbone(fusion), token_ids(1, LENGTH, vocab=7)
    if fusion == "prefix in text":
        ids = np.concatenate([np.full((1, 4), 7, "int32"), ids], axis=1)
    one, other = (full_pass(model, images(1, seed), ids)[:, -1] for seed in (0, 1))
    assert np.abs(one - other).max() > 0.01
    padded = np.pad(ids, ((0, 0), (0, 3)))
    mask = np.arange(padded.shape[1])[None] < ids.shape[1]
    inputs = {"images": images(1, 0), "token_ids": padded, "padding_mask": mask}
    assert_near(number(model.logits(model(inputs)))[:, ids.shape[1] - 1], one)


def test_pixels_are_shuffled_as_published():
    """Against the reshapes and permutations of Idefics 3, one after another."""
    x = np.random.default_rng(0).normal(size=(2, 16, 3)).astype("float32")
    y = x.reshape(2, 4, 4, 3).reshape(2, 4, 2, 6).transpose(0, 2, 1, 3)
    y = y.reshape(2, 2, 2, 12).transpose(0, 2, 1, 3).reshape(2, 4, 12)
    assert_near(pixel_shuffle(ops.convert_to_tensor(x), 4, 4, 2), y.astype("float64"))


# === Frozen parts ===


def frozen(part: dict) -> dict:
    return {**part, "frozen": True}


def test_only_the_projector_learns_between_two_frozen_parts():
    model = backbone("prefix", None, image=frozen(IMAGE), decoder=frozen(DECODER))
    assert [v.path.partition("/")[2] for v in model.trainable_variables] == [
        "projector/kernel",
        "projector/bias",
    ]
    before = [number(weight) for weight in model.weights]
    _train(model)
    changed = {
        weight.path.partition("/")[2]
        for weight, old in zip(model.weights, before, strict=True)
        if not np.array_equal(number(weight), old)
    }
    assert changed == {"projector/kernel", "projector/bias"}


@pytest.mark.parametrize("fusion", ["cross-attention", "prefix"])
def test_a_frozen_image_part_stays_what_it_was_and_all_else_learns(fusion):
    model = backbone(fusion, None, image=frozen(IMAGE))
    before = [number(weight) for weight in model.image.weights]
    own = {id(weight) for weight in model.image.weights}
    others = [w for w in model.trainable_variables]
    assert own.isdisjoint(map(id, others)) and len(others) > 10
    old = [number(weight) for weight in others]
    _train(model)
    for weight, value in zip(model.image.weights, before, strict=True):
        np.testing.assert_array_equal(number(weight), value, err_msg=weight.path)
    # A key's bias changes no softmax; of all others each moves.
    still = [
        w.path
        for w, value in zip(others, old, strict=True)
        if np.array_equal(number(w), value) and not w.path.endswith("key/bias")
    ]
    assert still == []


def test_a_frozen_part_computes_without_dropout_while_the_rest_trains():
    image = {**IMAGE, "model": {**IMAGE["model"], "dropout": 0.5}}
    for table, same in ((frozen(image), True), (image, False)):
        model = backbone("prefix", image=table)
        one, two = (number(model.vectors(images(1), training=True)) for _ in range(2))
        assert np.array_equal(one, two) == same


def _train(model) -> None:
    """Two steps of a language model over random images."""
    ids = token_ids(4, LENGTH + 1, vocab=VOCAB)
    inputs = {"images": images(4), "token_ids": ids[:, :-1]}

    class Whole(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = model

        def call(self, inputs, training=None):
            return model.logits(model(inputs, training=training))

    whole = Whole()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    whole.compile("adam", loss)
    whole.fit(inputs, ids[:, 1:], batch_size=2, epochs=1, verbose=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_config_and_weights_come_back_and_what_was_frozen_is(fusion, tmp_path):
    model = backbone(fusion, image=frozen(IMAGE))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert not again.image.trainable and again.trainable
    assert again.get_config().keys() == model.get_config().keys()
    ids = np.concatenate([np.full((1, 4), 7), token_ids(1, LENGTH, vocab=7)], 1).astype("int32")
    assert_near(full_pass(again, images(1), ids), full_pass(model, images(1), ids), 1e-6)
    if fusion != "cross-attention":
        assert again.decoder.trainable and again.image_token == model.image_token


# === What cannot be built ===


def changed(part: dict, **values) -> dict:
    return {**part, "model": {**part["model"], **values}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": changed(DECODER, max_length=4)}, "takes 4 tokens, and the decoder's window"),
        ({"image_token": VOCAB}, "image_token 280 is outside the vocabulary of 280"),
        ({"pixel_shuffle": 3}, "pixel_shuffle 3 does not divide the 4 x 4 patches"),
        ({"pixel_shuffle": 0}, "pixel_shuffle must be at least 1, not 0"),
        (
            {"decoder": {"architecture": "bert", "model": {"num_layers": 1}}},
            "a prefix needs a deco",
        ),
        ({"decoder": {"model": {}}}, "model.decoder names no model"),
        ({"image": {**IMAGE, "frosen": True}}, "model.image takes no 'frosen'"),
    ],
)
def test_a_model_that_cannot_be_says_why(changes, message):
    with pytest.raises(RecipeError, match=message):
        backbone("prefix", None, **changes)
