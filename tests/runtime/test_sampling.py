"""Tokens are drawn from exactly the distribution that the options describe."""

import numpy as np
import pytest

from modelzoo.errors import ModelzooError
from modelzoo.runtime.generation.sampling import (
    NUCLEUS_GUESS,
    Sampler,
    Sampling,
    candidates,
    penalized,
    top,
)


def exact(logits, temperature, top_k=None, top_p=None):
    """The distribution (V,) by definition: full sort, float64."""
    order = np.argsort(-logits, kind="stable")
    weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    kept = order[: top_k or len(order)]
    probabilities = weights[kept] / weights[kept].sum()
    if top_p is not None:
        size = int(np.searchsorted(np.cumsum(probabilities), top_p)) + 1
        kept = kept[:size]
    full = np.zeros(len(logits))
    full[kept] = weights[kept] / weights[kept].sum()
    return full


def distribution(logits, *options):
    """The same from `candidates`."""
    ids, cumulative = candidates(logits, *options)
    full = np.zeros(len(logits))
    weights = np.diff(cumulative, prepend=0.0) / cumulative[-1]
    full[np.arange(len(logits)) if ids is None else ids] = weights
    return full


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 7, 5000])
@pytest.mark.parametrize("top_p", [None, 0.2, 0.9, 1.0])
def test_candidates_are_the_exact_distribution(temperature, top_k, top_p):
    logits = np.random.default_rng(0).normal(scale=3, size=3000).astype(np.float32)
    got = distribution(logits, temperature, top_k, top_p)
    np.testing.assert_allclose(got, exact(logits, temperature, top_k, top_p), atol=2e-6)


def test_top_p_is_exact_when_the_nucleus_is_larger_than_the_first_guess():
    logits = np.random.default_rng(1).normal(scale=0.1, size=4000).astype(np.float32)
    ids, _ = candidates(logits, 1.0, None, 0.9)
    assert len(ids) > NUCLEUS_GUESS * 8
    np.testing.assert_allclose(
        distribution(logits, 1.0, None, 0.9), exact(logits, 1.0, None, 0.9), atol=1e-6
    )


def test_draws_have_the_frequencies_of_the_distribution():
    logits = np.array([2.0, 0.0, 1.0, -1.0, 0.5], np.float32)
    sampler = Sampler(Sampling(temperature=0.7, top_k=4, top_p=0.95, seed=3))
    counts = np.bincount([sampler(logits) for _ in range(20_000)], minlength=5)
    expected = exact(logits, 0.7, 4, 0.95)
    assert (counts[expected == 0] == 0).all()
    np.testing.assert_allclose(counts / 20_000, expected, atol=0.012)  # over 3 sigma


def test_equal_logits_prefer_the_lowest_ids():
    logits = np.array([1.0, 5.0, 5.0, 0.0, 5.0, 5.0], np.float32)
    assert Sampler(Sampling())(logits) == 1
    assert top(logits, 3).tolist() == [1, 2, 4]
    assert candidates(logits, 1.0, 2)[0].tolist() == [1, 2]
    assert top(logits, 99).tolist() == [1, 2, 4, 5, 0, 3]


def test_masked_tokens_are_never_drawn_and_tiny_temperature_is_greedy():
    logits = np.full(50, -np.inf, np.float32)
    logits[[7, 9]] = 1.0
    sampler = Sampler(Sampling(temperature=2.0, top_k=20))
    assert {sampler(logits) for _ in range(200)} == {7, 9}
    logits[9] = 1.5
    cold = Sampler(Sampling(temperature=1e-42))
    assert {cold(logits) for _ in range(20)} == {9}


def test_repetition_penalty_is_that_of_ctrl_and_leaves_its_input():
    logits = np.array([2.0, -1.0, 0.5], np.float32)
    np.testing.assert_allclose(penalized(logits, [0, 1], 2.0), [1.0, -2.0, 0.5])
    assert logits[0] == 2.0
    sampler = Sampler(Sampling(repetition_penalty=2.0), prompt=[1])
    near = np.array([1.0, 1.5, 0.9], np.float32)
    assert [sampler(near) for _ in range(3)] == [0, 2, 1]  # each becomes less likely once drawn


def test_random_numbers_depend_on_seed_and_rank_only():
    logits = np.zeros(1000, np.float32)

    def draws(**key):
        rank = key.pop("rank", 0)
        sampler = Sampler(Sampling(temperature=1.0, **key), rank=rank)
        return [sampler(logits) for _ in range(5)]

    assert draws(seed=4) == draws(seed=4)
    assert draws(seed=4) != draws(seed=5)
    assert draws(seed=4, rank=1) != draws(seed=4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_numbers_are_refused(value, temperature):
    logits = np.zeros(5, np.float32)
    logits[3] = value
    with pytest.raises(ModelzooError, match="not numbers"):
        Sampler(Sampling(temperature=temperature))(logits)


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 2.5},
        {"max_new_tokens": True},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": "1"},
        {"top_k": 0, "temperature": 1.0},
        {"top_p": 0.0, "temperature": 1.0},
        {"top_p": 1.1, "temperature": 1.0},
        {"repetition_penalty": 0},
        {"seed": -1},
        {"when_full": "slid"},
        {"when_full": None},
        {"stop": ""},
        {"stop": [3]},
        {"stop_tokens": [-1]},
    ],
)
def test_values_out_of_range_are_refused_by_name(options):
    with pytest.raises(ModelzooError, match=next(iter(options))):
        Sampling(**options)


def test_top_k_without_temperature_is_refused_with_the_way_on():
    with pytest.raises(ModelzooError, match=r"top_k has no effect(.|\n)*temperature=1.0"):
        Sampling(top_k=5)


def test_a_window_that_slides_needs_a_limit():
    with pytest.raises(ModelzooError, match=r"no end(.|\n)*give max_new_tokens"):
        Sampling(max_new_tokens=None, when_full="slide")
    with pytest.raises(ModelzooError, match="did you mean: slide"):
        Sampling(when_full="slid")


def test_unknown_option_suggests_the_real_name():
    with pytest.raises(ModelzooError, match="did you mean: temperature"):
        Sampling.of(temprature=1.0)


def test_one_stop_string_may_be_given_plain():
    assert Sampling(stop="END").stop == ("END",)
