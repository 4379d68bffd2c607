"""How likely texts are to Keras models, against their logits."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import ModelzooError, OverflowTextError
from tests import small
from tests.core import number

TEXT = "a rose is a rose. the fox"


def log_softmax(logits) -> np.ndarray:
    logits = number(logits).astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture(scope="module")
def gpt():
    return small.with_tokenizer("gpt-tiny")


@pytest.fixture(scope="module")
def bert():
    return small.with_tokenizer("bert-tiny")


@pytest.mark.parametrize("name", ["gpt-tiny", "lstm-tiny"])
def test_a_decoders_scores_are_its_logits(name):
    model = small.with_tokenizer(name)
    ids = [model.tokenizer.roles["eos"], *model.tokenizer.encode(TEXT)]
    right = log_softmax(model(np.array([ids])))[0]
    scores = model.score(TEXT)
    assert scores.tokens == tuple(ids[1:])
    expected = [right[n, token] for n, token in enumerate(ids[1:])]
    np.testing.assert_allclose(scores.log_probs, expected, atol=1e-4)
    assert scores.likeliest == tuple(right[n].argmax() == t for n, t in enumerate(ids[1:]))
    given = model.score(" the fox", given="a rose is a rose.")
    last = len(given.tokens)
    alone = log_softmax(model(np.array([ids[1:]])))[0]
    expected = [alone[len(ids) - 2 - last + n, token] for n, token in enumerate(given.tokens)]
    np.testing.assert_allclose(given.log_probs, expected, atol=1e-4)


def test_what_a_decoder_writes_is_what_it_finds_likeliest(gpt):
    result = gpt.generate("a rose", max_new_tokens=4, logprobs=True)
    assert result.text == gpt.generate("a rose", max_new_tokens=4)
    assert len(result.log_probs) == len(result.tokens) == 4
    drawn = gpt.generate(["a"], max_new_tokens=2, temperature=1.5, seed=1, logprobs=True)
    ids = [*gpt.tokenizer.encode("a"), *drawn[0].tokens]
    right = log_softmax(gpt(np.array([ids])))[0]  # of the model, not of what it was drawn from
    start = len(ids) - 3
    expected = [right[start + n, token] for n, token in enumerate(drawn[0].tokens)]
    np.testing.assert_allclose(drawn[0].log_probs, expected, atol=1e-4)
    with pytest.raises(ModelzooError, match="stream"):
        gpt.generate("a", stream=True, logprobs=True)


def test_choices_that_share_a_beginning_are_compared_as_whole_texts(gpt):
    shares = dict(gpt.rank("the fox likes", [" the rose", " the dog", " th"]))
    assert sum(shares.values()) == pytest.approx(1)
    totals = {}
    for choice in shares:
        ids = gpt.tokenizer.encode(f"the fox likes{choice}")
        right = log_softmax(gpt(np.array([ids])))[0]
        totals[choice] = ids, right
    common = len(gpt.tokenizer.encode("the fox likes"))
    expected = {
        choice: sum(right[n, token] for n, token in enumerate(ids[1:]) if n + 1 >= common)
        for choice, (ids, right) in totals.items()
    }
    best = max(expected, key=expected.get)
    assert next(iter(shares)) == best
    assert np.log(shares[" the dog"] / shares[" the rose"]) == pytest.approx(
        expected[" the dog"] - expected[" the rose"], abs=1e-3
    )


def test_a_text_longer_than_the_window(gpt):
    long = "the fox likes the rose. " * 8
    with pytest.raises(OverflowTextError, match='too_long="rolling"'):
        gpt.score(long)
    scores = gpt.score(long, too_long="rolling")
    assert len(scores.tokens) == len(gpt.tokenizer.encode(long))
    start = gpt.score(long[:47])  # two sentences, in the first window
    count = len(start.tokens)
    assert scores.tokens[:count] == start.tokens
    assert scores.log_probs[:count] == pytest.approx(start.log_probs, abs=1e-4)


def test_an_encoder_decoder_scores_its_target_given_the_source():
    model = small.with_tokenizer("t5-tiny")
    scores = model.score("der Fuchs", given="the fox")
    tokenizer = model.tokenizer
    target = [tokenizer.roles["pad"], *tokenizer.encode("der Fuchs"), tokenizer.roles["eos"]]
    inputs = {"token_ids": [tokenizer.encode_source("the fox")], "decoder_token_ids": [target]}
    inputs = {key: np.array(value, np.int32) for key, value in inputs.items()}
    masks = {"padding_mask": "token_ids", "decoder_padding_mask": "decoder_token_ids"}
    inputs |= {mask: np.ones_like(inputs[key]) for mask, key in masks.items()}
    right = log_softmax(model(inputs))[0]
    expected = [right[n, token] for n, token in enumerate(target[1:])]
    np.testing.assert_allclose(scores.log_probs, expected, atol=1e-4)
    assert len(model.rank("a rose", ["eine Rose", "der Fuchs"])) == 2
    with pytest.raises(ModelzooError, match="given="):
        model.score("der Fuchs")


def test_a_masked_model_hides_one_token_after_another(bert):
    scores = bert.score("the rose", given="the fox likes ")
    tokenizer = bert.tokenizer
    ids, _ = tokenizer.encode_pair("the fox likes the rose")
    places = range(len(ids) - 1 - len(scores.tokens), len(ids) - 1)
    assert scores.tokens == tuple(ids[n] for n in places)
    for number_, place in enumerate(places):
        masked = np.array([ids])
        masked[0, place] = tokenizer.role("mask")
        right = log_softmax(
            bert({"token_ids": masked, "padding_mask": np.ones_like(masked)})["mlm"]
        )
        assert scores.log_probs[number_] == pytest.approx(right[0, place, ids[place]], abs=1e-4)
        assert scores.likeliest[number_] == (right[0, place].argmax() == ids[place])
    assert len(bert.rank("the fox likes ", ["the rose", "the dog"])) == 2


def test_a_masked_model_reads_a_text_as_a_whole(bert):
    with pytest.raises(OverflowTextError, match="and the model reads 32"):
        bert.score("the fox likes the rose. " * 8)
    with pytest.raises(ModelzooError, match="too_long cannot be 'rolling'"):
        bert.score("the fox", too_long="rolling")
