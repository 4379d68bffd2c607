"""How likely texts are, over numpy models whose every log-probability is known."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from modelzoo.cli import main
from modelzoo.cli.run import _after
from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime import load
from modelzoo.runtime.abilities.scoring import Scoring, check_candidates, joined, targets
from modelzoo.runtime.generation.loop import Generation, check_logprobs
from modelzoo.runtime.generation.sampling import Sampling, log_prob
from modelzoo.runtime.generation.scoring import Scorer, Scores, windows
from tests.runtime.conftest import AttentionModel, AttentionStepper, RecurrentStepper


class ScoringStepper(AttentionStepper):
    """The numpy stepper with calls that score `score_lengths` tokens."""

    score_lengths = (4,)

    def score(self, token_ids, positions, target_ids):
        assert token_ids.shape == positions.shape == target_ids.shape
        self.calls.append(f"score_{token_ids.shape[1]}")
        pairs = zip(self._step(token_ids, positions)[0], np.maximum(target_ids[0], 0), strict=True)
        return np.array([log_prob(row, token) for row, token in pairs], np.float32).T[:, None]


@pytest.fixture
def scorer():
    model = AttentionModel()
    made = []

    def new(length):
        made.append(ScoringStepper(model, 1, 4, {}))
        return made[-1]

    return SimpleNamespace(model=model, made=made, scorer=Scorer(new, model.max_length))


def right(model, ids, first):
    """The plain definition: each token after the whole text before it."""
    return [log_prob(model.logits(ids[:n]), ids[n]) for n in range(first, len(ids))]


IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7]


@pytest.mark.parametrize(("count", "first"), [(2, 1), (5, 1), (5, 4), (9, 6), (14, 1), (14, 11)])
def test_each_token_is_scored_after_all_before_it(scorer, count, first):
    found = scorer.scorer.score(IDS[:count], first)
    expected = right(scorer.model, IDS[:count], first)
    assert found.tokens == tuple(IDS[first:count])
    np.testing.assert_allclose(found.log_probs, [one for one, _ in expected], atol=1e-5)
    assert found.likeliest == tuple(behind == 0 for _, behind in expected)
    assert found.total == pytest.approx(sum(one for one, _ in expected), abs=1e-4)


def test_one_call_a_chunk_and_none_for_what_is_known(scorer):
    scorer.scorer.score(IDS[:5], 3)  # four tokens before the last: a single call
    (stepper,) = scorer.made
    assert stepper.calls == ["score_4"]
    scorer.scorer.score(IDS[:13], 5)  # 5 are given, 8 are scored, 4 are in the state
    assert stepper.calls[1:] == ["score_4", "score_4"]
    del stepper.calls[:]
    for last in (1, 2, 3):  # choices after a text that is read once
        scorer.scorer.score([*IDS[:12], last], 12)
    assert stepper.calls == ["score_4"] * 3 and len(scorer.made) == 1


def test_what_the_model_writes_is_what_it_finds_likeliest(scorer):
    written = scorer.model.greedy(IDS[:4], 6)
    scores = scorer.scorer.score(IDS[:4] + written, 4)
    assert scores.greedy and all(scores.likeliest)
    other = (written[-1] + 1) % scorer.model.vocab_size
    assert not scorer.scorer.score(IDS[:4] + written[:-1] + [other], 4).greedy


def test_log_probs_of_generation_are_those_of_scoring(scorer):
    stepper = ScoringStepper(scorer.model, 1, 4, {})
    generation = Generation(stepper, [IDS[:4]], Sampling(max_new_tokens=5), logprobs=True)
    tokens = [token for _, token in generation]
    scores = scorer.scorer.score(IDS[:4] + tokens, 4)
    np.testing.assert_allclose(generation.log_probs[0], scores.log_probs, atol=1e-5)
    assert Generation(stepper, [IDS[:4]], Sampling(max_new_tokens=1)).log_probs == [[]]


def test_a_long_text_is_refused_or_rolls_by_name(scorer):
    ids = (IDS * 4)[:40]
    with pytest.raises(OverflowTextError, match='too_long="rolling"'):
        scorer.scorer.score(ids, 1)
    found = scorer.scorer.score(ids, 1, "rolling")
    expected = [
        one
        for begin, first, end in windows(40, 1, 16)
        for one, _ in right(scorer.model, ids[begin:end], first - begin)
    ]
    np.testing.assert_allclose(found.log_probs, expected, atol=1e-5)
    with pytest.raises(ModelzooError, match="(?s)got 'roling'.*did you mean.*rolling"):
        scorer.scorer.score(ids, 1, "roling")


def test_windows_score_each_token_once_and_the_last_is_full():
    for length, first, limit in [(40, 1, 16), (17, 1, 16), (18, 1, 16), (40, 20, 16), (9, 8, 3)]:
        found = list(windows(length, first, limit))
        scored = [n for _, own, end in found for n in range(own, end)]
        assert scored == list(range(first, length))
        assert all(0 <= begin < own and end - begin <= limit + 1 for begin, own, end in found)
        assert length <= limit or found[-1][2] - found[-1][0] == limit + 1


@pytest.mark.parametrize(
    ("ids", "first", "said"),
    [
        ([1, 2], 0, "one before it, got 2 tokens"),
        ([1], 1, "one before it, got 1 tokens"),
        ([1, 13], 1, "token id 13 is outside the vocabulary of 13"),
    ],
)
def test_what_cannot_be_scored_says_why(scorer, ids, first, said):
    with pytest.raises(ModelzooError, match=said):
        scorer.scorer.score(ids, first)


def test_a_model_without_the_signature_says_what_to_do():
    model = AttentionModel()
    scorer = Scorer(lambda length: ScoringStepper(model, 1, 4, {"score_lengths": ()}), 16)
    with pytest.raises(ModelzooError, match="(?s)no signature score_.*export it again"):
        scorer.score([1, 2])


def test_nan_is_an_error_and_no_score():
    class Broken(ScoringStepper):
        def score(self, token_ids, positions, target_ids):
            return np.full((2, *token_ids.shape), np.nan, np.float32)

    scorer = Scorer(lambda length: Broken(AttentionModel(), 1, 4, {}), 16)
    with pytest.raises(ModelzooError, match="log-probabilities holds NaN"):
        scorer.score([1, 2])


def test_perplexity_is_that_of_a_mean():
    assert Scores((1, 2), (-1.0, -3.0), (True, False)).perplexity == pytest.approx(math.exp(2))
    assert math.isnan(Scores((), (), ()).perplexity) and Scores((), (), ()).greedy


# === Texts ===


class Letters:
    """A tokenizer of letters, with one token for "th" and one for " a"."""

    def __init__(self, roles=(), prefix=()):
        self.roles, self.prefix = dict(roles), list(prefix)

    def encode(self, text):
        ids, at = [], 0
        while at < len(text):
            piece = text[at : at + 2] if text[at : at + 2] in ("th", " a") else text[at]
            ids.append(sum(map(ord, piece)))
            at += len(piece)
        return ids

    def role(self, name):
        return self.roles[name]


@pytest.mark.parametrize(
    ("tokenizer", "given", "text", "kept"),
    [
        (Letters(), "it", "s", "it"),
        (Letters(), "it", "h", "i"),  # "th" is one token: the joined text parts before the "t"
        (Letters({"eos": 1}), None, "it", None),
        (Letters({"eos": 1}), "t", "h", None),
        (Letters({"eos": 1, "bos": 2}, [2]), None, "it", None),
        (Letters({"eos": 1}), "北方", "来", "北方"),
    ],
)
def test_a_text_and_what_is_given_are_one_text(tokenizer, given, text, kept):
    ids, first = joined(tokenizer, given, text)
    whole = tokenizer.encode((given or "") + text)
    before = ids[: len(ids) - len(whole)]
    assert ids == [*before, *whole]
    expected = [] if kept else tokenizer.prefix or [*tokenizer.roles.values()][:1]
    assert before == expected and ids[:first] == [*before, *tokenizer.encode(kept or "")]


def test_without_bos_or_eos_a_texts_first_token_is_not_scored():
    assert joined(Letters(), None, "it")[1] == 0


def test_a_target_ends_with_eos_and_needs_a_source():
    assert targets(Letters({"eos": 1}), [0], "it", "it") == ([0, 105, 116, 1], 1)
    with pytest.raises(ModelzooError, match="(?s)none is given.*given="):
        targets(Letters({"eos": 1}), [0], None, "it")


class Toy(Scoring):
    """Token n is e**-(n % 7) likely, whatever stands before it."""

    def __init__(self, tokenizer):
        self.tokenizer, self.seen = tokenizer, []

    def _scored_ids(self, given, text):
        return joined(self.tokenizer, given, text)

    def _scorer(self, given, old):
        def score(ids, first, too_long):
            self.seen.append((list(ids), first))
            own = ids[first:]
            return Scores(tuple(own), tuple(-float(n % 7) for n in own), (False,) * len(own))

        return old or SimpleNamespace(score=score)


def test_choices_are_compared_from_the_first_token_that_any_changes():
    toy = Toy(Letters({"eos": 1}))
    ranked = toy.rank("it", ["h", "s", "so"])  # "h" joins the "t" before it
    assert [first for _, first in toy.seen] == [1, 1, 1]
    totals = {
        t: sum(-(n % 7) for n in toy.tokenizer.encode("it" + t)[1:]) for t in ("h", "s", "so")
    }
    expected = np.exp([totals[name] for name, _ in ranked])
    np.testing.assert_allclose([share for _, share in ranked], expected / expected.sum())
    assert [share for _, share in ranked] == sorted((share for _, share in ranked), reverse=True)
    alike = toy.rank("it", ["sss", "s"], per_token=True)
    assert {name for name, _ in alike} == {"sss", "s"}


def test_scores_come_for_one_text_or_for_many():
    toy = Toy(Letters({"eos": 1}))
    one = toy.score("s", given="it")
    assert toy.score(["s", "s"], given="it") == [one, one]
    assert toy.score(["s"], given=["it"]) == [one]
    with pytest.raises(ModelzooError, match="got 2 and 1"):
        toy.score(["s", "t"], given=["it"])
    for text in ("", None, 3):
        with pytest.raises(ModelzooError, match="expected a text to score"):
            toy.score([text])


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ("ab", "expected a list of candidates"),
        ([], "two candidates or more"),
        (["a"], "two candidates or more"),
        (["a", ""], "candidate 2 must be a text, got ''"),
        (["a", 3], "candidate 2 must be a text, got 3"),
        (["a", "a"], "'a' is there twice"),
    ],
)
def test_choices_that_are_none(candidates, said):
    with pytest.raises(ModelzooError, match=said):
        check_candidates(candidates)


def test_choices_need_something_before_them():
    with pytest.raises(ModelzooError, match="nothing stands before the candidates"):
        Toy(Letters()).rank("", ["a", "b"])


def test_a_choice_of_the_command_line_is_a_word_of_its_own():
    assert _after("It is", "so") == " so" and _after("It is ", "so") == "so"
    assert _after("起初", "神") == "神" and _after("", "so") == "so" and _after("so", ".") == "."


def test_logprobs_do_not_stream():
    with pytest.raises(ModelzooError, match="stream"):
        check_logprobs(True)


class ScoringRecurrent(RecurrentStepper):
    """Two tokens a call; padding leaves the state as it is."""

    score_lengths = (2,)

    def score(self, token_ids, positions, target_ids):
        pairs = zip(token_ids[0], np.maximum(target_ids[0], 0), strict=True)
        rows = [log_prob(self.decode(np.array([[one]]), None)[0], target) for one, target in pairs]
        return np.array(rows, np.float32).T[:, None]


def test_a_state_without_slots_is_read_from_its_start():
    made = []

    def new(length):
        made.append(ScoringRecurrent())
        return made[-1]

    scorer, plain = Scorer(new, None), RecurrentStepper()
    logits = [plain.decode(np.array([[token]]), None)[0] for token in IDS[:6]]
    expected = [log_prob(logits[n - 1], IDS[n])[0] for n in range(3, 6)]
    for _ in range(2):
        np.testing.assert_allclose(scorer.score(IDS[:6], 3).log_probs, expected, atol=1e-5)
    assert len(made) == 2


# === Bundles ===


@pytest.fixture(scope="module", params=["tflite", "saved_model"])
def bundle(tiny, request, tmp_path_factory):
    if request.param == "saved_model":
        pytest.importorskip("tensorflow")
    path = tmp_path_factory.mktemp("scores") / "b"
    tiny.bundle("scores", path, request.param)
    return load(path, trust=True)


def test_a_bundle_scores_over_its_cache_and_moves_to_a_larger_window(bundle, tiny):
    tokenizer, model = bundle.tokenizer, tiny.attention
    for text, given in [("b c", "a "), ("b c d e f g h", "a "), ("h a", "a b c d e f g ")]:
        ids = tokenizer.encode(given + text)
        first = len(tokenizer.encode(given))
        scores = bundle.score(text, given=given)
        expected = [log_prob(model.logits(ids[:n]), ids[n])[0] for n in range(first, len(ids))]
        np.testing.assert_allclose(scores.log_probs, expected, atol=1e-4)
    written = bundle.generate("a b c", max_new_tokens=4, logprobs=True)
    scores = bundle.score("a b c", too_long="rolling")
    assert len(written.log_probs) == 4 and len(scores.tokens) == 3


def test_only_scoring_calls_the_signatures_that_score(bundle, monkeypatch):
    called = []
    name = "_invoke" if hasattr(bundle.engine, "_invoke") else "_call"
    invoke = getattr(bundle.engine, name)
    monkeypatch.setattr(
        bundle.engine, name, lambda call, *rest: [called.append(call), invoke(call, *rest)][1]
    )
    bundle.generate("a b c d e f", max_new_tokens=6)
    assert called and not any(call.startswith("score") for call in called)
    del called[:]
    bundle.score(" b c d", given="a")
    assert called == ["score_4_8"]


def test_the_command_line_chooses_and_shows_log_probabilities(tiny, tmp_path, capsys):
    path = str(tiny.bundle("scores", tmp_path / "b"))
    model = load(path)
    assert main(["run", path, "a b", "--choices", "c,d,e"]) == 0
    lines = capsys.readouterr().out.splitlines()
    ranked = model.rank("a b", [" c", " d", " e"])
    assert lines == [f"{share:.4f}  {name.strip()}" for name, share in ranked]
    assert main(["run", path, "a b", "--choices", "c,d", "--json", "--top", "1"]) == 0
    (best,) = json.loads(capsys.readouterr().out)["labels"]
    assert best["label"] in "cd" and best["probability"] >= 0.5
    options = ["--logprobs", "--max-new-tokens", "3"]
    assert main(["run", path, "a b", *options]) == 0
    result = model.generate("a b", max_new_tokens=3, logprobs=True)
    shown = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert shown == pytest.approx(result.log_probs, abs=1e-3)
    assert main(["run", path, "a b", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["output"] == result.text and len(found["tokens"]) == 3


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("scores", ["--choices", "c"], "two candidates or more"),
        ("scores", ["--choices", "c,,d"], "candidate 2 must be a text, got ''"),
        ("scores", ["--choices", "c,d,c"], "' c' is there twice"),
        ("scores", ["--choices", "c,d", "--temperature", "1"], "--temperature does not fit"),
        ("scores", ["--choices", "c,d", "--chat"], "--choices does not fit"),
        ("scores", ["--logprobs", "--stream"], "--logprobs does not fit"),
        ("decoder", ["--choices", "c,d"], "--choices does not fit"),
        ("classes", ["--logprobs"], "--logprobs does not fit"),
    ],
)
def test_wrong_choices_are_errors_of_the_user(tiny, tmp_path, capsys, name, options, said):
    path = str(tiny.bundle(name, tmp_path / "b"))
    assert main(["run", path, "a b", *options]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == ""
    assert "Traceback" not in captured.err


def test_a_masked_bundle_scores_each_token_from_both_sides(tiny, tmp_path):
    model = load(tiny.bundle("tokens_sizes", tmp_path / "b"))
    scores = model.score("b c", given="a ")
    tokenizer = model.tokenizer
    ids, segments = tokenizer.encode_pair("a b c")
    (size, *_) = [name for name in model.engine.signatures if name == "serve"]
    for place, token in enumerate(scores.tokens, len(ids) - 1 - len(scores.tokens)):
        assert ids[place] == token
        masked = [*ids[:place], tokenizer.role("mask"), *ids[place + 1 :]]
        logits = model.engine.run(size, model._padded(size, masked, segments))["logits"]
        right = log_prob(logits[0, place], token)[0]
        found = scores.log_probs[place - (len(ids) - 1 - len(scores.tokens))]
        assert found == pytest.approx(right, abs=1e-4)
