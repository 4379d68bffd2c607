"""The algorithms for hidden Markov models, against looking at every path."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from modelzoo.errors import DataError, ModelzooError
from modelzoo_statistical.markov import (
    Chain,
    baum_welch,
    forward,
    random_chain,
    sample,
    viterbi,
)

STATES, SYMBOLS = 3, 4


def paths(chain: Chain, symbols) -> dict[tuple[int, ...], float]:
    """The probability of each path of states together with the symbols."""
    found = {}
    for path in itertools.product(range(len(chain.initial)), repeat=len(symbols)):
        weight = chain.initial[path[0]] * chain.emission[path[0], symbols[0]]
        for t in range(1, len(symbols)):
            weight *= chain.transition[path[t - 1], path[t]] * chain.emission[path[t], symbols[t]]
        found[path] = weight
    return found


def cases():
    for seed in range(6):
        chain = random_chain(STATES, SYMBOLS, seed, evenness=0.5)
        yield chain, sample(chain, 6, seed)


def test_forward_sums_over_every_path():
    for chain, symbols in cases():
        _, log_likelihood = forward(chain, symbols)
        expected = math.log(sum(paths(chain, symbols).values()))
        assert log_likelihood == pytest.approx(expected, rel=1e-12)


def test_beliefs_are_the_share_of_the_paths_that_end_there():
    for chain, symbols in cases():
        beliefs, _ = forward(chain, symbols)
        for t in range(len(symbols)):
            shares = np.zeros(STATES)
            for path, weight in paths(chain, symbols[: t + 1]).items():
                shares[path[-1]] += weight
            np.testing.assert_allclose(beliefs[t], shares / shares.sum(), rtol=1e-10)


def test_viterbi_finds_the_likeliest_of_all_paths():
    for chain, symbols in cases():
        path, log_probability = viterbi(chain, symbols)
        every = paths(chain, symbols)
        best = max(every, key=every.get)
        assert tuple(path) == best
        assert log_probability == pytest.approx(math.log(every[best]), rel=1e-12)


def test_probabilities_of_all_texts_of_one_length_sum_to_one():
    chain = random_chain(STATES, SYMBOLS, 3)
    texts = itertools.product(range(SYMBOLS), repeat=4)
    assert sum(math.exp(forward(chain, text)[1]) for text in texts) == pytest.approx(1.0)


def test_baum_welch_never_makes_the_texts_less_likely():
    truth = random_chain(STATES, SYMBOLS, 5, evenness=0.3)
    texts = [sample(truth, 3 + 5 * seed, seed) for seed in range(12)]
    _, history = baum_welch(random_chain(STATES, SYMBOLS, 1), texts, 40)
    assert np.all(np.diff(history) >= -1e-9)
    assert history[-1] > history[0] + 1


def test_one_step_of_baum_welch_is_the_expectation_over_every_path():
    chain = random_chain(STATES, SYMBOLS, 8)
    texts = [sample(chain, length, length) for length in (2, 5, 5, 4)]
    initial, moves = np.zeros(STATES), np.zeros((STATES, STATES))
    emitted = np.zeros((STATES, SYMBOLS))
    for symbols in texts:
        every = paths(chain, symbols)
        whole = sum(every.values())
        for path, weight in every.items():
            initial[path[0]] += weight / whole
            for before, after in itertools.pairwise(path):
                moves[before, after] += weight / whole
            for state, symbol in zip(path, symbols, strict=True):
                emitted[state, symbol] += weight / whole
    found, history = baum_welch(chain, texts, 1, rows=2)
    np.testing.assert_allclose(found.initial, initial / initial.sum(), rtol=1e-9)
    np.testing.assert_allclose(found.transition, moves / moves.sum(1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(found.emission, emitted / emitted.sum(1, keepdims=True), rtol=1e-9)
    expected = sum(math.log(sum(paths(chain, symbols).values())) for symbols in texts)
    assert history == [pytest.approx(expected, rel=1e-12)]


def test_the_entropy_rate_of_a_chain_that_shows_its_states_is_approached():
    rng = np.random.default_rng(0)
    moves = rng.dirichlet(np.full(3, 0.7), 3)
    steady = np.linalg.matrix_power(moves, 200)[0]
    rate = -(steady[:, None] * moves * np.log(moves)).sum()
    chain = Chain(steady, moves, np.eye(3))
    loss = -forward(chain, sample(chain, 20_000))[1] / 20_000
    assert loss == pytest.approx(rate, abs=0.015)


def test_a_state_that_is_never_visited_stays_as_it_is():
    chain = Chain(np.array([1.0, 0.0]), np.eye(2), np.array([[0.5, 0.5], [0.25, 0.75]]))
    found, _ = baum_welch(chain, [[0, 1, 1]], 2)
    assert found.emission[1].tolist() == [0.25, 0.75]


def test_what_is_no_chain_and_what_is_no_text_is_refused():
    with pytest.raises(ModelzooError, match="emission holds a row"):
        Chain(np.array([1.0]), np.eye(1), np.array([[0.5, 0.4]]))
    with pytest.raises(ModelzooError, match="transition matrix"):
        Chain(np.array([0.5, 0.5]), np.eye(3), np.eye(2))
    chain = random_chain(2, 3)
    with pytest.raises(DataError, match="one symbol or more"):
        forward(chain, [])
    with pytest.raises(DataError, match=r"outside 0\.\.2"):
        viterbi(chain, [0, 3])
