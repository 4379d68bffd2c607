"""Text embedding: pooling, padding, pairs, the loss, the figures, lists of texts."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

import modelzoo
from modelzoo import recipe
from modelzoo.errors import DataError, ExportError, ModelzooError, OverflowTextError, RecipeError
from modelzoo.tasks.shared.encoder_signatures import embedding
from modelzoo.tasks.shared.retrieval import retrieval_scores
from modelzoo.tasks.text_embedding import (
    InBatchLoss,
    TextEmbedder,
    TextEmbeddingTask,
    in_batch_accuracy,
)
from tests.core import assert_near, fresh, number, randomise, small, token_ids

IDS = token_ids(3, 6)
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5], "int32")
INPUTS = {"token_ids": IDS, "padding_mask": MASK}
PAIRS = [
    ("what is red", "a rose"),
    ("what barks", "a dog"),
    ("what is sly", "a fox"),
    ("what purrs", "a cat"),
    ("what swims", "a fish"),
]
TINY = {
    "architecture": "bert",
    "task": "text-embedding",
    "model": {
        "vocab_size": 300,
        "num_layers": 1,
        "hidden_dim": 32,
        "num_heads": 2,
        "max_length": 32,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "tokenizer": {"kind": "bpe"},
    "train": {"length": 16, "batch_size": 4, "learning_rate": 3e-3},
}


@pytest.fixture(scope="module")
def tiny():
    """A model that reads text."""
    model = modelzoo.build(recipe.from_values(TINY, name="tiny-embedder"))
    modelzoo.dataset(model, PAIRS)
    return randomise(model)


# === One vector a text ===


def pooled(x, mask, pooling):
    """The definition, in numpy, of one text (T, width)."""
    real = x[mask > 0]
    return {"mean": real.mean(0), "cls": x[0], "max": real.max(0), "last": real[-1]}[pooling]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
@pytest.mark.parametrize("name", ["bert", "distilbert", "llama", "gru"])
def test_every_pooling_is_its_definition_over_real_tokens(name, pooling):
    model = randomise(TextEmbedder(fresh(name), pooling, normalize=False))
    outputs = model.backbone(INPUTS)
    hidden = number(outputs["sequence"] if isinstance(outputs, dict) else outputs)
    expected = np.stack([pooled(x, m, pooling) for x, m in zip(hidden, MASK, strict=True)])
    assert_near(model(INPUTS), expected)
    model.normalize = True
    assert_near(model(INPUTS), expected / np.linalg.norm(expected, axis=-1, keepdims=True))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
def test_a_text_has_one_vector_however_far_it_is_padded(pooling):
    model = TextEmbedder(fresh("bert"), pooling)
    short = number(model({"token_ids": IDS[1:2, :4], "padding_mask": MASK[1:2, :4]}))
    for extra in (0, 2):
        ids = np.where(np.arange(4 + extra) < 4, np.resize(IDS[1], 4 + extra), 7)[None]
        mask = (np.arange(4 + extra) < 4)[None]
        got = number(model({"token_ids": ids.astype("int32"), "padding_mask": mask}))
        assert_near(got, short, 1e-6)


def test_ids_alone_are_all_read():
    model = TextEmbedder(fresh("bert"))
    assert_near(model(IDS), model({"token_ids": IDS, "padding_mask": np.ones_like(IDS)}), 1e-6)
    assert number(model(IDS)).dtype == np.float64 and model(IDS).dtype == "float32"


def test_a_small_vector_is_still_brought_to_length_one():
    tiny = ops.convert_to_tensor(np.full((1, 2, 4), 1e-6, "float32"))
    assert_near(embedding(tiny, np.ones((1, 2))), np.full((1, 4), 0.5), 1e-6)
    assert_near(embedding(ops.zeros((1, 2, 4)), np.ones((1, 2))), np.zeros((1, 4)), 0)


def test_the_signature_is_the_model_padded_and_normalised():
    model = TextEmbedder(fresh("bert"), "max")
    signatures = model.export_signatures(max_length=6)
    assert list(signatures) == ["embed"]
    assert list(signatures["embed"].inputs) == ["token_ids", "padding_mask", "segment_ids"]
    row = {key: ops.convert_to_tensor(value[1:2]) for key, value in INPUTS.items()}
    row["segment_ids"] = ops.zeros((1, 6), "int32")
    got = signatures["embed"].function(row)["embedding"]
    assert_near(got, number(model(INPUTS))[1:2])


def test_a_saved_embedder_comes_back_with_its_options(tmp_path):
    model = randomise(TextEmbedder(fresh("bert"), "cls", normalize=False))
    model.save(tmp_path / "a.keras")
    twin = keras.saving.load_model(tmp_path / "a.keras")
    assert (twin.pooling, twin.normalize) == ("cls", False)
    assert_near(twin(INPUTS), number(model(INPUTS)), 0)


def test_a_text_is_read_to_the_length_that_was_stated(tiny):
    model = TextEmbedder(tiny.backbone, max_length=8)
    model.tokenizer = tiny.tokenizer
    with pytest.raises(OverflowTextError, match="the model reads 8"):
        model.embed("a rose " * 9)
    ids, _ = tiny.tokenizer.encode_pair("a rose " * 9, None, 8, truncate=True)
    assert len(ids) == 8
    cut = number(tiny(np.array([ids], "int32")))[0]
    assert_near(model.embed("a rose " * 9, truncate=True), cut, 1e-6)
    assert_near(model.embed(["a", "a rose " * 9], truncate=True)[1], cut, 1e-6)
    assert model.export_signatures()["embed"].inputs["token_ids"].shape == (1, 8)
    with pytest.raises(ExportError, match="16, and the texts have 8 tokens at most"):
        model.export_signatures(max_length=16)
    assert TextEmbedder.from_config(model.get_config()).max_length == 8
    assert TextEmbedder(fresh("gru")).max_length is None


def test_what_cannot_embed_is_refused():
    with pytest.raises(ModelzooError, match="reads a source and a target"):
        TextEmbeddingTask().model(small("t5"))
    with pytest.raises(RecipeError, match="pooling must be one of mean, cls, max, last"):
        TextEmbedder(fresh("bert"), "median")
    with pytest.raises(RecipeError, match="scale must be above 0"):
        TextEmbeddingTask(scale=0.0)
    with pytest.raises(RecipeError, match="max_length must be 3 or more"):
        TextEmbeddingTask(max_length=2)


# === Training on pairs ===


def test_a_batch_of_pairs_is_two_texts_a_row(tiny):
    batches = TextEmbeddingTask().batches(
        [*PAIRS, ("another", "a dog")], tiny.tokenizer, length=16, batch_size=6, shuffle=False
    )
    x, y, weight = batches.batch(0)
    assert x["token_ids"].shape == x["padding_mask"].shape == (6, 2, 16)
    assert y.tolist() == [0, 1, 2, 3, 4, 1] and weight.tolist() == [1] * 6
    for row, pair in enumerate(PAIRS):
        for side, text in enumerate(pair):
            ids, _ = tiny.tokenizer.encode_pair(text)
            assert x["token_ids"][row, side][x["padding_mask"][row, side]].tolist() == ids


def test_pairs_are_embedded_text_by_text(tiny):
    x, _, _ = TextEmbeddingTask().batches(PAIRS, tiny.tokenizer, length=16, batch_size=5).batch(0)
    both = number(tiny(x))
    assert both.shape == (5, 2, 32)
    second = {key: value[:, 1] for key, value in x.items()}
    assert_near(both[:, 1], number(tiny(second)), 1e-6)


def test_texts_that_are_too_long_are_told_or_refused(tiny):
    task, long = TextEmbeddingTask(), [("a", "a rose " * 40), ("b", "c")]
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 16 tokens"):
        task.batches(long, tiny.tokenizer, length=16, batch_size=2)
    with pytest.raises(OverflowTextError, match="example 1 has"):
        task.batches(long, tiny.tokenizer, length=16, batch_size=2, truncate=False)
    with pytest.raises(DataError, match="text_a"):
        task.examples([{"text": "one"}])


def test_the_loss_is_the_cross_entropy_of_scaled_cosines():
    vectors = np.random.default_rng(0).normal(size=(4, 2, 5)).astype("float32")
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    logits = 20 * unit[:, 0] @ unit[:, 1].T
    expected = [math.log(np.exp(row).sum()) - row[i] for i, row in enumerate(logits)]
    got = InBatchLoss().call(np.arange(4), ops.convert_to_tensor(vectors))
    assert_near(got, np.array(expected), 1e-4)
    special = pytest.importorskip("scipy.special")
    log_softmax = special.log_softmax(logits, axis=-1)
    assert float(InBatchLoss()(np.arange(4), vectors)) == pytest.approx(
        -np.trace(log_softmax) / 4, rel=1e-4
    )


def test_the_same_text_twice_in_a_batch_is_no_wrong_answer():
    vectors = np.random.default_rng(1).normal(size=(3, 2, 5)).astype("float32")
    vectors[2, 1] = vectors[0, 1]
    alone = InBatchLoss().call(np.array([0, 1]), ops.convert_to_tensor(vectors[:2]))
    both = InBatchLoss().call(np.array([0, 1, 0]), ops.convert_to_tensor(vectors))
    assert_near(number(both)[0], number(alone)[0], 1e-5)
    counted = InBatchLoss().call(np.array([0, 1, 2]), ops.convert_to_tensor(vectors))
    assert number(counted)[0] > number(alone)[0]


def test_ties_count_against_a_collapsed_model():
    same = np.ones((4, 2, 5), "float32")
    assert number(in_batch_accuracy(np.arange(4), ops.convert_to_tensor(same))).sum() == 0
    scores = retrieval_scores(same[:, 0], same[:, 1], np.arange(4), 20.0)
    assert scores["recall@1"] == 0 and scores["recall@5"] == 1
    assert scores["loss"] == pytest.approx(math.log(4))


def test_figures_are_over_the_whole_set_whatever_the_batches(tiny):
    task = TextEmbeddingTask()
    figures = [
        task.evaluate(
            tiny, task.batches(PAIRS, tiny.tokenizer, length=16, batch_size=size, shuffle=False)
        )
        for size in (2, 5)
    ]
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)
    assert figures[0]["pairs"] == 5
    a, b = (tiny.embed([pair[side] for pair in PAIRS]) for side in (0, 1))
    cosines = (a @ b.T).astype(np.float64)
    own = np.diag(cosines)[:, None]
    loss = np.log(np.exp(20 * (cosines - own)).sum(-1)).mean()
    assert figures[0]["loss"] == pytest.approx(loss, rel=1e-3)
    ranks = (cosines >= own - 1e-6).sum(-1)
    assert figures[0]["recall@1"] == (ranks <= 1).mean()


def test_a_text_that_several_ask_for_counts_once_among_the_answers():
    e = np.eye(3)
    scores = retrieval_scores(e[[0, 1, 0]], e[[0, 1, 0]], np.array([0, 1, 0]), 20.0)
    assert scores["recall@1"] == 1 and scores["recall@5"] == 1
    assert scores["loss"] == pytest.approx(math.log(1 + math.exp(-20)))


def test_a_pooler_that_no_embedding_uses_is_left_as_it_was():
    model = TextEmbedder(fresh("bert"))
    names = {weight.path for weight in model.trainable_weights}
    assert not [name for name in names if "pooler" in name]
    assert len(model.weights) == len(names) + 2


def test_fit_learns_which_texts_belong_together():
    keras.utils.set_random_seed(0)
    model = modelzoo.build(recipe.from_values(TINY, name="tiny-embedder"))
    data = modelzoo.dataset(model, PAIRS * 8)
    before = modelzoo.evaluate(model, PAIRS)
    history = model.fit(data, epochs=6, verbose=0).history
    after = modelzoo.evaluate(model, PAIRS)
    assert history["loss"][-1] < history["loss"][0]
    assert after["loss"] < before["loss"] / 2 and after["recall@1"] == 1
    assert history["accuracy"][-1] > 0.9


# === Texts in ===


def test_a_list_in_batches_gives_each_text_the_vector_it_has_alone(tiny):
    texts = [f"{' '.join(PAIRS[n % 5])} {n}"[: 5 + 4 * (n % 6)] for n in range(23)]
    got = tiny.embed(texts)
    assert got.shape == (23, 32) and got.dtype == np.float32
    assert_near(got, np.stack([tiny.embed(text) for text in texts]), 1e-6)
    assert_near(np.linalg.norm(got, axis=-1), np.ones(23), 1e-6)


def test_shapes_of_one_text_of_a_list_of_one_and_of_none(tiny):
    assert tiny.embed("a rose").shape == (32,)
    assert tiny.embed(["a rose"]).shape == (1, 32)
    with pytest.raises(ModelzooError, match="the list is empty"):
        tiny.embed([])
    with pytest.raises(ModelzooError, match="a list of texts, not int"):
        tiny.embed(5)
    with pytest.raises(ModelzooError, match="must be str"):
        tiny.embed(["a", 5])


def test_a_text_that_is_too_long_is_refused_or_cut(tiny):
    long = "a rose " * 60
    for text in (long, ["a", long, "b"]):
        with pytest.raises(OverflowTextError):
            tiny.embed(text)
    cut = tiny.embed(["a", long], truncate=True)
    assert_near(cut[1], tiny.embed(long, truncate=True), 1e-6)


def test_other_encoder_tasks_take_lists_in_the_same_way():
    from tests import small as recipes

    model = recipes.with_tokenizer("bert-tiny")
    texts = ["a rose", "the dog likes the fox", "a dog is no fox. a rose"]
    assert_near(model.embed(texts), np.stack([model.embed(text) for text in texts]), 1e-6)
