"""Figures over a data set do not depend on how it was cut into batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelzoo.tasks.causal_lm import CausalLM
from modelzoo.tasks.shared.scores import (
    classification_scores,
    macro_f1,
    token_scores,
    with_perplexity,
)
from tests.core import VOCAB, number, small, softmax, token_ids

IDS, TARGETS = token_ids(5, 4), token_ids(5, 4, seed=1)
WEIGHT = (np.random.default_rng(2).random((5, 4)) < 0.6).astype("float32")


def batches(*cuts):
    for start, stop in zip((0, *cuts), (*cuts, 5), strict=True):
        yield IDS[start:stop], TARGETS[start:stop], WEIGHT[start:stop]


@pytest.mark.parametrize("cuts", [(), (4,), (1, 2)])
def test_the_loss_is_the_mean_over_the_tokens_that_count_however_batched(cuts):
    model = CausalLM(small("gpt-2"))
    odds = softmax(number(model(IDS)))
    nll = -np.log(np.take_along_axis(odds, TARGETS[:, :, None].astype(int), -1))[..., 0]
    right = odds.argmax(-1) == TARGETS
    scores = token_scores(model, batches(*cuts))
    assert scores["tokens"] == WEIGHT.sum()
    assert scores["loss"] == pytest.approx((nll * WEIGHT).sum() / WEIGHT.sum(), rel=1e-4)
    assert scores["accuracy"] == pytest.approx((right * WEIGHT).sum() / WEIGHT.sum())


def test_an_untrained_model_is_about_as_good_as_a_guess():
    from tests.core import fresh

    loss = token_scores(CausalLM(fresh("gpt-2")), batches())["loss"]
    assert loss == pytest.approx(math.log(VOCAB), abs=0.1)


def test_no_token_that_counts_gives_no_figure_and_no_crash():
    scores = token_scores(CausalLM(small("gpt-2")), [(IDS, TARGETS, WEIGHT * 0)])
    assert math.isnan(scores["loss"]) and scores["tokens"] == 0


def test_macro_f1_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, guess = rng.integers(0, 4, (2, 12))
        wanted = metrics.f1_score(truth, guess, average="macro", zero_division=0)
        assert macro_f1(truth, guess, 5) == pytest.approx(wanted)
    assert math.isnan(macro_f1(np.array([]), np.array([]), 2))


def test_the_five_likeliest_count_where_they_are_asked_for_and_are_a_choice():
    truth = np.arange(6)
    assert "top5" not in classification_scores(np.eye(6), truth)
    assert "top5" not in classification_scores(np.eye(5), truth[:5], top5=True)
    assert classification_scores(-np.eye(6), truth, top5=True)["top5"] == 0.0


def test_perplexity_is_finite_and_of_nothing_is_no_number():
    assert with_perplexity({"loss": math.log(3.0)})["perplexity"] == pytest.approx(3.0)
    assert math.isfinite(with_perplexity({"loss": 1e9})["perplexity"])
    assert math.isnan(with_perplexity({"loss": math.nan})["perplexity"])
