"""Smoothed probabilities: they sum to 1, and are those of NLTK where that has the method."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelzoo_statistical.estimator import contexts_of, estimate
from modelzoo_statistical.smoothing import FALLBACK, estimate_discounts

VOCAB = 12
METHODS = ("modified-kneser-ney", "kneser-ney", "witten-bell")


def text_of(seed: int, length: int = 1500) -> np.ndarray:
    """Tokens with some order in them; what begins the text ends it, so that no n-gram of the
    beginning lacks a token to its left."""
    rng = np.random.default_rng(seed)
    steps = np.minimum(rng.geometric(0.4, length) - 1, VOCAB - 1)
    text = np.cumsum(steps) % (VOCAB - 1)  # the last token of the vocabulary is never seen
    return np.concatenate([text, text[:5]])


def all_contexts(width: int) -> np.ndarray:
    """Every context of `width` tokens, also those that are shorter."""
    if not width:
        return np.zeros((1, 0), np.int64)
    grid = np.meshgrid(*[np.arange(-1, VOCAB)] * width, indexing="ij")
    contexts = np.stack(grid, -1).reshape(-1, width)
    holes = (np.diff((contexts >= 0).astype(int), axis=1) < 0).any(1)
    return contexts[~holes]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_context_gives_a_distribution_without_zeros(method, order):
    model = estimate(text_of(0), order, VOCAB, method)
    contexts = all_contexts(order - 1)
    found = model.distributions(contexts)
    assert found.shape == (len(contexts), VOCAB)
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-12)
    assert found.min() > 0


@pytest.mark.parametrize("method", METHODS)
def test_one_probability_is_that_of_the_distribution(method):
    model = estimate(text_of(1), 3, VOCAB, method)
    contexts = np.repeat(all_contexts(2), VOCAB, axis=0)
    tokens = np.tile(np.arange(VOCAB), len(contexts) // VOCAB)
    found = model.probabilities(contexts, tokens)
    expected = model.distributions(contexts)[np.arange(len(tokens)), tokens]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_never_read_is_uniform(method):
    model = estimate(np.zeros(0, np.int32), 3, VOCAB, method)
    np.testing.assert_allclose(model.distributions(np.array([[-1, 3]])), 1 / VOCAB)


# === Against NLTK ===


def nltk_scores(kind: str, order: int, text: np.ndarray, cases, **options) -> list[float]:
    lm = pytest.importorskip("nltk.lm")
    words = [str(token) for token in text]
    grams = [
        tuple(words[end + 1 - size : end + 1])
        for end in range(1, len(words))
        for size in range(1, order + 1)
        if size <= end + 1
    ]
    model = getattr(lm, kind)(order, **options)
    model.fit([grams], vocabulary_text=[str(token) for token in range(VOCAB)])
    return [model.score(str(token), [str(c) for c in context]) for context, token in cases]


def cases_of(order: int) -> list[tuple[np.ndarray, int]]:
    other = text_of(7, 150)
    return [(other[end - order + 1 : end], other[end]) for end in range(order - 1, len(other))]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_witten_bell_is_nltks_to_the_last_digits(order):
    text, cases = text_of(2), cases_of(order)
    model = estimate(text, order, VOCAB, "witten-bell", uniform=False)
    found = model.probabilities(np.stack([c for c, _ in cases]), [token for _, token in cases])
    expected = nltk_scores("WittenBellInterpolated", order, text, cases)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("discount", [0.1, 0.75])
def test_kneser_ney_with_one_discount_is_nltks_to_the_last_digits(order, discount):
    text, cases = text_of(3), cases_of(order)
    model = estimate(text, order, VOCAB, "kneser-ney", discount=discount, uniform=False)
    found = model.probabilities(np.stack([c for c, _ in cases]), [token for _, token in cases])
    expected = nltk_scores("KneserNeyInterpolated", order, text, cases, discount=discount)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_perplexity_is_nltks():
    text, cases = text_of(4), cases_of(3)
    model = estimate(text, 3, VOCAB, "witten-bell", uniform=False)
    found = model.probabilities(np.stack([c for c, _ in cases]), [token for _, token in cases])
    expected = nltk_scores("WittenBellInterpolated", 3, text, cases)
    ours = math.exp(-np.log(found).mean())
    assert ours == pytest.approx(math.exp(-np.log(expected).mean()), rel=1e-12)


# === Modified Kneser-Ney by hand ===


def test_discounts_are_those_of_the_formula():
    counts = np.array([1] * 60 + [2] * 30 + [3] * 10 + [4] * 5)
    y = 60 / (60 + 2 * 30)
    found = estimate_discounts(counts)
    assert found.estimated
    expected = (1 - 2 * y * 30 / 60, 2 - 3 * y * 10 / 30, 3 - 4 * y * 5 / 10)
    assert found.values == pytest.approx(expected)
    assert estimate_discounts(counts, single=True).values == pytest.approx((y,) * 3)


def test_a_text_too_small_for_the_formula_takes_fixed_discounts_and_says_so():
    found = estimate_discounts(np.array([1, 1, 2]))
    assert not found.estimated and found.values == FALLBACK


def test_modified_kneser_ney_is_its_formula_in_dictionaries():
    """Chen and Goodman's equations, word for word, for every trigram of a small vocabulary."""
    text = text_of(5, 600)
    model = estimate(text, 3, VOCAB)
    trigrams = [tuple(text[end - 2 : end + 1]) for end in range(2, len(text))]
    bigrams = [tuple(text[end - 1 : end + 1]) for end in range(1, len(text))]
    counts = [{}, {}, {}]
    for gram in trigrams:
        counts[2][gram] = counts[2].get(gram, 0) + 1
    for gram in set(trigrams):
        counts[1][gram[1:]] = counts[1].get(gram[1:], 0) + 1
    for gram in set(bigrams):
        counts[0][gram[1:]] = counts[0].get(gram[1:], 0) + 1

    def probability(context, token):
        order = len(context)
        followers = {g: c for g, c in counts[order].items() if g[:-1] == context}
        total = sum(followers.values())
        lower = probability(context[1:], token) if context else 1 / VOCAB
        if not total:
            return lower
        taken = dict(enumerate(model.discounts[order].values, 1))
        given = sum(taken[min(c, 3)] for c in followers.values())
        own = followers.get((*context, token), 0)
        own -= taken[min(own, 3)] if own else 0
        return own / total + given / total * lower

    for context in [(0, 1), (3, 4), (5, 5), (VOCAB - 1, 2), (2, VOCAB - 1)]:
        found = model.distributions(np.array([context]))[0]
        expected = [probability(context, token) for token in range(VOCAB)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_three_discounts_predict_a_text_better_than_one():
    rng = np.random.default_rng(0)
    chain = rng.dirichlet(np.full(40, 0.05), (40, 40))

    def draw(length):
        text = [0, 0]
        for _ in range(length):
            text.append(int(rng.choice(40, p=chain[text[-2], text[-1]])))
        return np.array(text)

    train, held_out = draw(6000), draw(3000)
    contexts = np.stack([held_out[:-2], held_out[1:-1]], 1)

    def loss(method):
        model = estimate(train, 3, 40, method)
        assert method == "witten-bell" or model.discounts[2].estimated
        return -np.log(model.probabilities(contexts, held_out[2:])).mean()

    assert loss("modified-kneser-ney") < loss("kneser-ney")


def test_the_entropy_rate_of_a_known_chain_is_approached_from_above():
    rng = np.random.default_rng(1)
    moves = rng.dirichlet(np.ones(6), 6)
    values, vectors = np.linalg.eig(moves.T)
    steady = np.real(vectors[:, np.argmax(values.real)])
    steady /= steady.sum()
    rate = -(steady[:, None] * moves * np.log(moves)).sum()

    def draw(length):
        text = [0]
        for _ in range(length):
            text.append(int(rng.choice(6, p=moves[text[-1]])))
        return np.array(text)

    held_out = draw(20_000)
    over = []
    for length in (200, 2000, 20_000):
        model = estimate(draw(length), 2, 6)
        over.append(-np.log(model.probabilities(held_out[:-1, None], held_out[1:])).mean() - rate)
    # What is held out has an entropy of its own, within about 0.01 of the rate.
    assert over[0] > over[1] > over[2] and abs(over[2]) < 0.015


# === Contexts ===


def test_what_is_not_real_is_not_in_a_context():
    tokens, real = np.array([[7, 8, 9, 4]]), np.array([[True, False, True, True]])
    found = contexts_of(tokens, real, np.array([[-1, 5]]))
    assert found[0].tolist() == [[5, 7], [5, 7], [7, 9], [9, 4]]
