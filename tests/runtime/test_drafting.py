"""Drafts change how many passes a text takes, and no token of it."""

import numpy as np
import pytest

from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.transcription import Restrained
from modelzoo.runtime.bundle import read_bundle
from modelzoo.runtime.engines.opening import open_engine
from modelzoo.runtime.generation import loop
from modelzoo.runtime.generation.drafting import Drafter, Lookup, PassTimes
from modelzoo.runtime.generation.loop import generate_results, generate_tokens
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.generation.session import Session

LETTERS = "abcdefghijkl"  # with eos: 13 tokens
PROMPT = [1, 2, 3]
DRAWN = {"temperature": 1.5, "top_k": 6, "repetition_penalty": 1.3, "seed": 5}


def tokens(stepper, prompt, sampling):
    run = generate_tokens(stepper, [prompt], sampling)
    return [token for _, token in run], run


@pytest.fixture
def guesses(monkeypatch):
    """`guesses(right, tokens)`: drafts whose first `right` tokens are those that come next."""

    def guess(right, truth):
        class Guesser(Drafter):
            def __init__(self, prompt):
                super().__init__(prompt)
                self.done = 0

            def draft(self, lengths, room, times):
                count = min(max(lengths, default=1), room) - 1
                rest = truth[self.done : self.done + count]
                return [t if n < right else (t + 1) % 13 for n, t in enumerate(rest)]

            def add(self, token, times=None):
                self.done += 1

        monkeypatch.setattr(loop, "Drafter", Guesser)

    return guess


# === The same text ===


@pytest.mark.parametrize("right", [0, 1, 2, 9])
@pytest.mark.parametrize("lengths", [(2,), (4,), (3, 7)])
@pytest.mark.parametrize("options", [{}, DRAWN])
@pytest.mark.parametrize("length", [1, 3, 10])
def test_wrong_partly_right_and_right_drafts(fakes, guesses, right, lengths, options, length):
    model, prompt = fakes.AttentionModel(), [(3 * n + 1) % 13 for n in range(length)]
    sampling = Sampling(max_new_tokens=None, **options)  # to the end: the last drafts have no room
    plain, before = tokens(model.stepper(), prompt, sampling)
    guesses(right, plain)
    stepper = model.drafting(lengths)
    drafted, run = tokens(stepper, prompt, sampling)
    assert drafted == plain and run.finish_reasons == before.finish_reasons == ["length"]
    calls = [call for call in stepper.calls if call != 4]  # without the prompt's chunks
    assert run.passes == [len(calls)] and before.passes == [len(plain)]
    assert run.accepted[0] == len(plain) - len(calls)
    assert any(str(call).startswith("verify") for call in calls)
    if right == 9:
        assert run.drafted == run.accepted and len(calls) < len(plain)
    if right == 0:
        assert run.accepted == [0] and len(calls) == len(plain)


@pytest.mark.parametrize("right", [1, 9])
@pytest.mark.parametrize("options", [{}, DRAWN])
def test_a_window_that_slides(fakes, guesses, right, options):
    model = fakes.AttentionModel(max_length=9)
    sampling = Sampling(max_new_tokens=40, when_full="slide", **options)
    plain, _ = tokens(model.stepper(), PROMPT, sampling)
    guesses(right, plain)
    drafted, run = tokens(model.drafting(), PROMPT, sampling)
    assert drafted == plain and run.passes[0] < 40


@pytest.mark.parametrize("place", range(8))
def test_a_stop_token_inside_an_accepted_draft(fakes, guesses, place):
    model = fakes.AttentionModel()
    truth = model.greedy(PROMPT, 12)
    guesses(9, truth)
    sampling = Sampling(max_new_tokens=12, stop_tokens=[truth[place]])
    drafted, run = tokens(model.drafting(), PROMPT, sampling)
    assert drafted == truth[: truth.index(truth[place])] and run.finish_reasons == ["stop"]


@pytest.mark.parametrize("seed", range(4))
def test_a_stop_string_inside_an_accepted_draft(fakes, guesses, seed):
    model, tokenizer = fakes.AttentionModel(max_length=60), fakes.PieceTokenizer(LETTERS)
    options = {"max_new_tokens": 40, "temperature": 2.0, "seed": seed}
    (free,) = generate_results(model.stepper(), tokenizer, ["abc"], Sampling(**options))
    sampling = Sampling(**options, stop=[free.text[5:7], free.text[2:4] + "z"])
    (plain,) = generate_results(model.stepper(), tokenizer, ["abc"], sampling)
    guesses(9, list(free.tokens))
    (drafted,) = generate_results(model.drafting(), tokenizer, ["abc"], sampling)
    assert drafted.text == plain.text == free.text[: len(plain.text)]
    assert (drafted.tokens, drafted.finish_reason) == (plain.tokens, "stop")
    assert plain.passes == len(plain.tokens) > drafted.passes and plain.drafted == 0
    assert 0 < drafted.accepted <= drafted.drafted


def test_only_a_single_row_drafts_and_only_when_asked_and_able(fakes, guesses):
    model = fakes.AttentionModel()
    guesses(9, model.greedy(PROMPT, 8))
    two = model.drafting(batch_size=2)
    rows = list(generate_tokens(two, [PROMPT, [7]], Sampling(max_new_tokens=8)))
    assert [token for row, token in rows if row == 0] == model.greedy(PROMPT, 8)
    off = model.drafting()
    tokens(off, PROMPT, Sampling(max_new_tokens=8, speculate=False))
    assert {*two.calls, *off.calls} == {4, "decode"}
    with pytest.raises(ModelzooError, match="speculate must be True or False; got 'no'"):
        Sampling(speculate="no")


def test_an_early_end_from_outside_takes_no_further_token(fakes, guesses):
    model = fakes.AttentionModel()
    guesses(9, model.greedy(PROMPT, 8))
    run = generate_tokens(model.drafting((7,)), [PROMPT], Sampling(max_new_tokens=8))
    assert [next(run) for _ in range(3)] and run.passes == [1]
    run.stop(0)
    assert list(run) == [] and len(run.tokens[0]) == 3


# === Conversations ===


@pytest.mark.parametrize("right", [0, 2, 9])
@pytest.mark.parametrize("read", [1, 2, 5])
def test_a_conversation_goes_on_after_a_drafted_turn(fakes, guesses, right, read):
    model, made = fakes.AttentionModel(), []

    def stepper(length):
        made.append(model.drafting())
        return made[-1]

    session = Session(stepper, model.max_length)
    said = model.greedy(PROMPT, 6)
    guesses(right, said)
    run = session.generate(PROMPT, Sampling(max_new_tokens=6))
    assert [next(run)[1] for _ in range(read)] == said[:read]  # then the reader leaves it
    # What the session says of its slots is true, rejected tokens and all.
    held = [*PROMPT, *said][: len(PROMPT) + read - 1]
    assert session.tokens[: len(held)] == held
    for prompt in ([*PROMPT, *said[:read], 5, 9], [*held, *said[read - 1 :]], PROMPT):
        truth = model.greedy(prompt, 3)
        guesses(right, truth)
        found = [token for _, token in session.generate(prompt, Sampling(max_new_tokens=3))]
        assert found == truth
    assert len(made) == 1


def test_what_must_not_be_written_is_not_written_in_a_draft_either(fakes):
    tokenizer = fakes.PieceTokenizer(LETTERS[:10])  # ids 0 to 9 and eos; the model has 13
    tokenizer.special_ids = set()
    inner = fakes.AttentionModel().drafting()
    stepper = Restrained(inner, tokenizer, {"begin_suppress_tokens": [4]}, first=2)
    ids, places = np.array([[1, 2, 3, 5]], np.int32), np.arange(2, 6, dtype=np.int32)[None]
    logits = stepper.verify(ids, places)
    assert logits.shape == (1, 4, 13) and np.isneginf(logits[..., 11:]).all()
    assert np.isneginf(logits[0, :, 4]).tolist() == [True, False, False, False]
    assert stepper.draft_lengths(12) == (4,) and stepper.draft_lengths(13) == ()


# === When it pays ===


class Cycle:
    """A model that goes round and round: token t is followed by t + 1."""

    batch_size, vocab_size, max_length, prefill_length = 1, 5, 400, 4

    def __init__(self, times):
        self.pass_times, self.calls = times, []

    def draft_lengths(self, position):
        return (4,)

    def prefill(self, token_ids, positions):
        """Nothing to remember."""

    def verify(self, token_ids, positions):
        self.calls.append(token_ids.shape[1])
        return np.eye(5, dtype=np.float32)[(token_ids + 1) % 5]

    def decode(self, token_ids, positions):
        return self.verify(token_ids, positions)[:, -1]


def test_a_text_that_repeats_takes_a_quarter_of_the_passes(fakes):
    stepper = Cycle(fakes.SteadyTimes(1.2))
    found, run = tokens(stepper, [0], Sampling(max_new_tokens=200))
    assert found == [(n + 1) % 5 for n in range(200)]
    assert 50 <= run.passes[0] < 60 and run.accepted[0] == 200 - run.passes[0]


def test_drafts_rest_where_a_pass_of_them_costs_more_than_it_gives(fakes):
    stepper = Cycle(fakes.SteadyTimes(4.1))
    _, run = tokens(stepper, [0], Sampling(max_new_tokens=50))
    assert run.drafted == [0] and {*stepper.calls} == {1}
    # A text that never repeats: a match is soon known to foretell nothing.
    drafter, times, drafted = Drafter([]), fakes.SteadyTimes(1.4), 0
    for token in np.random.default_rng(0).integers(0, 20, 400).tolist():
        drafted += bool(drafter.draft((4,), 99, times))
        drafter.add(token)
    assert drafted < 40


def test_the_longest_run_counts_and_of_equals_the_latest():
    text = Lookup([1, 2, 3, 4, 9, 3, 4, 8, 5, 3, 4])
    assert text.match() == (2, 7)
    text.add(9)  # now "3 4 9", which stands at the beginning
    assert text.match() == (3, 5)
    assert text.continuation(5, 4) == [3, 4, 8, 5]
    assert Lookup([1, 2, 3]).match() is None and Lookup().match() is None


def test_a_draft_is_as_long_as_pays_and_no_longer_than_the_room(fakes):
    drafter = Drafter([*range(9), *range(9), 0, 1, 2, 3])
    assert drafter.draft((4,), 64, fakes.SteadyTimes(1.1)) == [4, 5, 6]
    assert drafter.draft((4,), 3, fakes.SteadyTimes(1.1)) == [4, 5]
    assert drafter.draft((4,), 1, fakes.SteadyTimes(1.0)) == []
    assert drafter.draft((), 64, fakes.SteadyTimes(1.1)) == []
    both = PassTimes()
    for length, seconds in {1: 1.0, 4: 1.1, 8: 1.4}.items():
        for _ in range(4):
            both.add(length, seconds)
    assert drafter.draft((4, 8), 64, both) == [4, 5, 6, 7, 8, 0, 1]
    for _ in range(8):
        both.add(8, 9.0)
    assert drafter.draft((4, 8), 64, both) == [4, 5, 6]


def test_the_times_of_passes_forget_and_try_again():
    times = PassTimes()
    assert times.ratio(4) is None  # nothing is known of a pass of one token
    for seconds in (5.0, 1.0, 1.5):
        times.add(1, seconds)
    assert times.first == {1: 5.0} and times.of(1) == 1.0
    for _ in range(3):
        times.add(4, 3.0)
        assert times.ratio(4) == 1.0  # the first sets up, two more are few
    times.add(4, 3.5)
    assert times.ratio(4) == 3.0
    for _ in range(63):
        times.add(1, 1.0)
    assert times.ratio(4) == 3.0
    times.add(1, 1.0)
    assert times.ratio(4) == 1.0
    for _ in range(8):
        times.add(4, 1.2)
    assert times.ratio(4) == 1.2


# === On a device ===


@pytest.fixture(scope="module", params=["tflite", "savedmodel"])
def engine(request, tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("drafts") / "b"
    tiny.bundle("drafts", path, request.param)
    threads = 1 if request.param == "tflite" else None  # TensorFlow has started by then
    return open_engine(read_bundle(path), threads, trust=True)


@pytest.mark.parametrize("right", [0, 2, 9])
@pytest.mark.parametrize("length", [1, 4, 7, 12])
def test_a_bundle_checks_drafts_in_every_window(tiny, engine, guesses, right, length):
    prompt = [(3 * n + 2) % 17 for n in range(length)]
    truth = tiny.attention.greedy(prompt, 17 - length)
    guesses(right, truth)
    found, run = tokens(engine.stepper(), prompt, Sampling(max_new_tokens=None))
    assert found == truth
    assert (run.accepted[0] > 0) == (right > 0) and run.drafted[0] >= 3


def test_a_bundles_drafts_give_the_logits_of_each_of_their_tokens(tiny, engine):
    stepper, history = engine.stepper(), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    assert [stepper.draft_lengths(n) for n in (0, 4, 5)] == [(4,), (4,), ()]  # of 8 slots
    for position in (0, 4):
        places = np.arange(position, position + 4, dtype=np.int32)[None]
        found = stepper.verify(np.array([history[position : position + 4]], np.int32), places)
        expected = [tiny.attention.logits(history[: n + 1]) for n in places[0]]
        np.testing.assert_allclose(found[0], expected, atol=1e-4)
    with pytest.raises(ModelzooError, match="4 tokens at position 6: the window has 8 slots"):
        stepper.verify(np.zeros((1, 4), np.int32), np.arange(6, 10, dtype=np.int32)[None])
    logits = stepper.decode(np.array([[5]], np.int32), np.array([[8]], np.int32))  # 16 slots now
    np.testing.assert_allclose(logits[0], tiny.attention.logits(history[:9]), atol=1e-4)
    assert stepper.draft_lengths(9) == (4,) and stepper.pass_times is not engine.pass_times[8]


def test_bundles_that_check_no_drafts_go_on(tiny, tmp_path):
    engine = open_engine(read_bundle(tiny.bundle("decoder", tmp_path / "b")), threads=1)
    found, run = tokens(engine.stepper(), [1, 2, 1, 2], Sampling(max_new_tokens=None))
    assert found == tiny.attention.greedy([1, 2, 1, 2], 13)
    assert engine.stepper().draft_lengths(0) == () and run.passes == [13] and run.drafted == [0]
