"""Contrastive models: what they compute, keep, refuse, and say on a device."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

from modelzoo.backbones.contrastive import MAX_SCALE
from modelzoo.data.contrastive import contrastive_batches
from modelzoo.errors import DataError, RecipeError
from modelzoo.runtime.text.framing import pair_frame
from modelzoo.tasks.contrastive import ContrastiveTask
from modelzoo.tasks.shared.retrieval import pair_figures, recall_ranks
from tests import towers

KINDS = ("image", "text", "audio")
BOUND = [("image", "text"), ("image", "audio")]


class Words:
    """A tokenizer of words, for tests that train none."""

    roles = {"pad": 0, "unk": 1, "cls": 2, "sep": 3}

    def encode(self, text):
        return [4 + ord(word[0]) % 30 for word in text.split()]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def frame_pair(self, a, b=None, max_length=None, *, truncate=False):
        return pair_frame(self.roles).join(a, b, max_length, truncate=truncate)


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype("uint8")


def numbers(value):
    return np.asarray(ops.convert_to_numpy(value))


# === The model ===


def test_embeddings_have_length_one_and_a_tower_can_be_asked_alone():
    model = towers.model(KINDS)
    x, _, _ = towers.batch(kinds=KINDS)
    found = model(x)
    assert list(found) == ["image", "text", "audio"]
    for vectors in found.values():
        np.testing.assert_allclose(np.linalg.norm(numbers(vectors), axis=-1), 1.0, atol=1e-5)
    alone = model({"images": x["images"]})
    assert list(alone) == ["image"]
    np.testing.assert_allclose(numbers(alone["image"]), numbers(found["image"]), atol=1e-6)


def test_the_scale_begins_at_one_over_0_07_and_is_clamped_after_a_step():
    model = towers.model()
    assert float(numbers(model.backbone.logit_scale)) == pytest.approx(2.6593, abs=1e-4)
    model.compile(keras.optimizers.SGD(1e-3))
    x, y, weight = towers.batch()
    for start, end in ((9.0, MAX_SCALE), (-3.0, 0.0)):
        model.backbone.logit_scale.assign(start)
        model.train_on_batch(x, y, weight)
        assert float(numbers(model.backbone.logit_scale)) == pytest.approx(end)


def test_the_sigmoid_loss_begins_with_ln_10_and_minus_10_and_is_not_clamped():
    backbone = towers.model(loss="sigmoid").backbone
    assert float(numbers(backbone.logit_scale)) == pytest.approx(math.log(10))
    assert float(numbers(backbone.logit_bias)) == -10.0
    assert backbone.logit_scale.constraint is None


def test_the_sigmoid_loss_needs_a_bias():
    with pytest.raises(RecipeError, match="needs a bias"):
        towers.model(scale="shared", options={}).__class__(towers.backbone(), loss="sigmoid")


def test_scales_belong_to_who_asks_or_multiply():
    asking = towers.model(scale="asking", options={"text": {"scale": 3.0}}).backbone
    factors = {pair: float(numbers(f)) for pair, f in asking.scales().factors.items()}
    assert factors["text", "image"] == 3.0
    assert factors["image", "text"] == pytest.approx(1 / 0.07, 1e-5)
    product = towers.model(scale="product", options={"text": {"scale": 3.0}}).backbone
    factor = product.scales().factors["image", "text"]
    assert float(numbers(factor)) == pytest.approx(3 / 0.07, 1e-5)


def test_a_frozen_tower_does_not_learn_and_has_no_dropout():
    model = towers.model(dropout=0.5, options={"image": {"frozen": True}})
    x, y, weight = towers.batch()
    first = numbers(model.backbone.embed("image", x, training=True))
    np.testing.assert_array_equal(first, numbers(model.backbone.embed("image", x, training=True)))
    before = [numbers(w).copy() for w in model.backbone.image.weights]
    model.compile("sgd")
    model.train_on_batch(x, y, weight)
    for old, new in zip(before, model.backbone.image.weights, strict=True):
        np.testing.assert_array_equal(old, numbers(new))
    assert not any(w is v for w in model.trainable_weights for v in model.backbone.image.weights)


def test_a_text_tower_may_read_padding():
    model = towers.model(options={"text": {"padding": "visible", "pooling": "last"}})
    x, _, _ = towers.batch()
    with_mask = numbers(model.backbone.embed("text", x))
    x.pop("padding_mask")
    np.testing.assert_allclose(with_mask, numbers(model.backbone.embed("text", x)), atol=1e-6)


def test_a_model_comes_back_from_its_file_with_all_its_options(tmp_path):
    model = towers.model(
        KINDS,
        options={"image": {"frozen": True, "projection": "mlp"}, "text": {"pooling": "mean"}},
        scale="asking",
        pairs=BOUND,
        chunk_size=4,
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.pairs == model.pairs and again.chunk_size == 4
    assert again.backbone.options == model.backbone.options
    assert len(again.trainable_weights) == len(model.trainable_weights)
    x, _, _ = towers.batch(kinds=KINDS)
    for kind, vectors in model(x).items():
        np.testing.assert_allclose(numbers(vectors), numbers(again(x)[kind]), atol=1e-6)


def test_bound_to_the_image_sound_and_text_never_meet():
    bound, each = towers.model(KINDS, pairs=BOUND), towers.model(KINDS)
    x, y, weight = towers.batch(kinds=KINDS)
    y["image"][:] = -1  # what is left to compare are texts and sounds
    vectors = bound(x)
    assert float(numbers(bound.compute_loss(x, y, vectors, weight))) == 0.0
    assert float(numbers(each.compute_loss(x, y, vectors, weight))) > 0.1


def test_a_small_model_learns_its_batch():
    model = towers.model()
    model.compile(keras.optimizers.Adam(0.01))
    x, y, weight = towers.batch()
    losses = [float(model.train_on_batch(x, y, weight)) for _ in range(40)]
    assert losses[0] > 1.5 and losses[-1] < 0.5 * losses[0]


def test_signatures_are_one_a_tower_with_bytes_and_samples_in():
    signatures = towers.model(KINDS).export_signatures(max_length=8, lengths=(4,))
    shapes = {
        name: {key: (spec.shape, spec.dtype) for key, spec in signature.inputs.items()}
        for name, signature in signatures.items()
    }
    assert shapes["encode_image"] == {"images": ((1, 4, 4, 3), "uint8")}
    assert shapes["encode_audio"]["audio"] == ((1, 32), "float32")
    assert shapes["encode_text"]["token_ids"] == ((1, 8), "int32")
    assert shapes["encode_text_4"]["token_ids"] == ((1, 4), "int32")
    found = signatures["encode_image"].function({"images": image(0)[None]})
    assert found["embedding"].shape == (1, 12)


def test_what_makes_probabilities_of_cosines_goes_along_as_data():
    processing = towers.model(loss="sigmoid").processing()
    assert processing["image"]["size"] == [4, 4]
    assert processing["contrastive"]["loss"] == "sigmoid"
    assert processing["contrastive"]["bias"] == -10.0
    assert processing["contrastive"]["scales"]["image-text"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [(["image"], "image-text"), (["image-image"], "with itself"), (["image-txt"], "image-txt")],
)
def test_pairs_that_are_none_are_refused(pairs, message):
    with pytest.raises(RecipeError, match=message):
        ContrastiveTask(pairs=pairs)


def test_pairs_of_a_tower_that_is_not_there_are_refused():
    with pytest.raises(RecipeError, match="the towers are image, text"):
        ContrastiveTask(pairs=["image-audio"]).model(towers.backbone())


# === Batches ===


def batches(examples, kinds=("image", "text"), **options):
    processing = {
        "image": {"size": [4, 4], "resize": "squash", "interpolation": "nearest"},
        "audio": {"sample_rate": 8000, "num_samples": 32, "padding": "zeros"},
    }
    return contrastive_batches(
        examples,
        Words(),
        kinds=kinds,
        processing=processing,
        length=6,
        **{"batch_size": 4, "shuffle": False, **options},
    )


def test_rows_hold_what_there_is_and_say_what_is_missing():
    sound = np.full(16, 0.5, "float32")
    found = batches(
        [
            {"image": image(0), "text": "a cat"},
            {"image": image(1), "audio": sound},
            {"image": image(0), "text": "a cat", "audio": sound},
            {"text": "the dog", "audio": sound},
        ],
        kinds=KINDS,
    )
    x, y, weight = found.batch(0)
    assert y["image"].tolist() == [0, 1, 0, -1]
    assert y["text"].tolist() == [0, -1, 0, 1]
    assert y["audio"].tolist() == [-1, 0, 0, 0]
    np.testing.assert_array_equal(x["images"][1], image(1))
    assert not x["images"][3].any() and not x["audio"][0].any()
    assert x["num_samples"].tolist() == [0, 16, 16, 16]
    assert x["token_ids"][0].tolist() == [2, 4 + ord("a") % 30, 4 + ord("c") % 30, 3, 0, 0]
    assert weight.tolist() == [1, 1, 1, 1]


def test_an_example_of_one_kind_and_a_kind_without_example_are_refused():
    with pytest.raises(DataError, match="an example needs two of image, text"):
        batches([{"image": image(0)}])
    with pytest.raises(DataError, match="a tower for audio, and no example has one"):
        batches([{"image": image(0), "text": "a"}], kinds=KINDS)


def test_a_batch_that_chunks_do_not_divide_is_refused_before_training():
    task = ContrastiveTask(chunk_size=3)
    with pytest.raises(RecipeError, match="batch_size 8 is not a multiple"):
        task.batches([], Words(), batch_size=8)


# === Figures ===


def test_a_tie_counts_against_the_model():
    eye = np.eye(4)
    same = np.tile(eye[:1], (4, 1))
    every = np.arange(4)
    assert recall_ranks(eye, every, eye, every).tolist() == [1, 1, 1, 1]
    assert recall_ranks(same, every, same, every).tolist() == [4, 4, 4, 4]


def test_either_of_two_right_answers_will_do_and_equal_ones_are_one():
    eye = np.eye(3)
    # Two images share the caption 0; each finds it, and it finds the nearer of them.
    images, captions = eye[[0, 1, 2]], eye[[0, 0, 2]]
    asked = np.array([0, 0, 1])
    assert recall_ranks(images, np.arange(3), captions, asked).tolist() == [1, 2, 1]
    assert recall_ranks(captions, asked, images, np.arange(3)).tolist() == [1, 1, 1]


def test_the_set_s_loss_is_the_batch_s_where_the_batch_is_the_set():
    model = towers.model()
    x, y, weight = towers.batch()
    y["text"][3] = y["text"][0]
    found = {kind: numbers(v) for kind, v in model(x).items()}
    factors = {k: float(numbers(v)) for k, v in model.backbone.scales().factors.items()}
    loss, _ = pair_figures(("image", "text"), found, y, factors)
    assert loss == pytest.approx(float(numbers(model.compute_loss(x, y, model(x), weight))), 1e-4)


def test_evaluation_counts_every_row_once():
    examples = [{"image": image(i), "text": f"{chr(97 + i)} b"} for i in range(6)]
    model = towers.model()
    figures = ContrastiveTask().evaluate(model, batches(examples))
    assert figures["examples"] == 6
    assert 0 <= figures["image_to_text_recall@1"] <= figures["image_to_text_recall@5"] <= 1
    assert figures["text_to_image_recall@10"] == 1.0
    larger = ContrastiveTask().evaluate(model, batches(examples, batch_size=6))
    assert figures == pytest.approx(larger, 1e-5)


def test_a_tokenizer_is_trained_on_the_rows_that_have_a_text():
    import modelzoo
    from modelzoo.building.vocabulary import train_tokenizer_for

    examples = [{"image": image(0), "audio": np.zeros(8)}, {"image": image(0), "text": "a cat"}]
    tokenizer = train_tokenizer_for(modelzoo.read_recipe("bind-tiny"), examples)
    assert tokenizer.decode(tokenizer.encode("a cat")) == "a cat"
