"""The losses give the numbers of their papers, and a plain numpy calculation agrees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from keras import ops

from modelzoo.layers.contrastive_loss import Scales, contrastive_loss

PAIR = [("image", "text")]


def vectors(rows: int, width: int = 6, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width)).astype("float32")
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def both(factor, bias=None, kinds=("image", "text", "audio")) -> Scales:
    return Scales({(a, b): factor for a in kinds for b in kinds}, bias)


def value(embeddings, numbers=None, scales=None, pairs=PAIR, **options) -> float:
    rows = len(next(iter(embeddings.values())))
    numbers = numbers or {kind: np.arange(rows) for kind in embeddings}
    return float(contrastive_loss(embeddings, numbers, scales or both(10.0), pairs, **options))


def cross_entropy(logits: np.ndarray) -> float:
    logits = logits.astype("float64")
    return float(np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits)))


def test_softmax_is_the_mean_of_the_cross_entropies_both_ways():
    image, text = vectors(5), vectors(5, seed=1)
    logits = 14.3 * image @ text.T
    wanted = 0.5 * (cross_entropy(logits) + cross_entropy(logits.T))
    assert value({"image": image, "text": text}, scales=both(14.3)) == pytest.approx(wanted, 1e-5)


def test_vectors_that_are_all_alike_cost_the_logarithm_of_the_batch():
    same = np.tile(vectors(1), (7, 1))
    assert value({"image": same, "text": same}) == pytest.approx(math.log(7), 1e-5)


def test_sigmoid_of_64_orthogonal_pairs_begins_at_10_0029():
    eye = np.eye(128, dtype="float32")
    found = value({"image": eye[:64], "text": eye[64:]}, scales=both(10.0, -10.0), loss="sigmoid")
    assert found == pytest.approx(10.002906, abs=2e-6)


def test_sigmoid_says_yes_or_no_of_each_combination():
    image, text = vectors(4), vectors(4, seed=3)
    logits, signs = 5.0 * image @ text.T - 2.0, 2 * np.eye(4) - 1
    wanted = np.log1p(np.exp(-signs * logits)).sum() / 4
    found = value({"image": image, "text": text}, scales=both(5.0, -2.0), loss="sigmoid")
    assert found == pytest.approx(wanted, 1e-5)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_row_without_its_text_is_as_if_it_were_not_there(loss):
    image, text = vectors(5), vectors(5, seed=1)
    numbers = {"image": np.arange(5), "text": np.array([0, 1, -1, 3, 4])}
    kept = [0, 1, 3, 4]
    scales = both(8.0, -3.0)
    text[2] = 0.0  # what the tower made of nothing
    found = value({"image": image, "text": text}, numbers, scales, loss=loss)
    # The image without a text still is a wrong answer for the other texts.
    logits = 8.0 * image @ text.T - (3.0 if loss == "sigmoid" else 0.0)
    if loss == "sigmoid":
        logits, signs = logits[np.ix_(kept, kept)], 2 * np.eye(4) - 1
        wanted = np.log1p(np.exp(-signs * logits)).sum() / 4
    else:
        a = np.exp(logits[kept][:, kept]).sum(1)
        b = np.exp(logits[:, kept]).sum(0)
        own = np.diag(logits)[kept]
        wanted = 0.5 * (np.mean(np.log(a) - own) + np.mean(np.log(b) - own))
    assert found == pytest.approx(wanted, 1e-5)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_row_of_weight_zero_changes_nothing(loss):
    image, text = vectors(5), vectors(5, seed=1)
    scales = both(8.0, -3.0)
    alone = value({"image": image[:4], "text": text[:4]}, scales=scales, loss=loss)
    weight = np.array([1, 1, 1, 1, 0], "float32")
    found = value({"image": image, "text": text}, scales=scales, loss=loss, weight=weight)
    assert found == pytest.approx(alone, 1e-6)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_equal_captions_are_no_wrong_answers_unless_asked(loss):
    image, text = vectors(4), vectors(4, seed=1)
    text[3] = text[0]
    numbers = {"image": np.arange(4), "text": np.array([0, 1, 2, 0])}
    scales = both(8.0, -3.0)
    found = value({"image": image, "text": text}, numbers, scales, loss=loss)
    strict = value({"image": image, "text": text}, numbers, scales, loss=loss, ignore_equal=False)
    logits = (8.0 * image @ text.T - 3.0).astype("float64")
    logits[0, 3] = logits[3, 0] = -np.inf
    if loss == "softmax":
        wanted = 0.5 * (cross_entropy(logits) + cross_entropy(logits.T))
    else:
        wanted = np.log1p(np.exp(-(2 * np.eye(4) - 1) * logits)).sum() / 4
    assert found == pytest.approx(wanted, 1e-5)
    assert strict > found + 1e-3


def test_three_kinds_average_over_the_pairs_that_are_asked_for():
    found = {kind: vectors(5, seed=i) for i, kind in enumerate(("image", "text", "audio"))}
    bound = [("image", "text"), ("image", "audio")]
    each = [value(found, pairs=[pair]) for pair in bound]
    assert value(found, pairs=bound) == pytest.approx(np.mean(each), 1e-6)


def test_each_way_has_the_scale_of_who_asks():
    image, text = vectors(5), vectors(5, seed=1)
    scales = Scales({("image", "text"): 3.0, ("text", "image"): 20.0})
    cosines = image @ text.T
    wanted = 0.5 * (cross_entropy(3.0 * cosines) + cross_entropy(20.0 * cosines.T))
    assert value({"image": image, "text": text}, scales=scales) == pytest.approx(wanted, 1e-5)


def test_a_batch_in_which_nothing_counts_has_no_loss_and_is_a_number():
    found = value({"image": vectors(3), "text": vectors(3)}, weight=np.zeros(3))
    assert found == 0.0 and np.isfinite(float(ops.sum(found)))
