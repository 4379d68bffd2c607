"""The loop gives what the model's definition gives, whatever the batch and the chunks."""

import time

import numpy as np
import pytest

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime.generation.loop import (
    duplicate_ranks,
    generate_results,
    generate_text,
    generate_tokens,
)
from modelzoo.runtime.generation.prefill import left_out, plan_chunks
from modelzoo.runtime.generation.sampling import Sampling

LETTERS = "abcdefghijkl"  # with eos: 13 tokens


def rows_of(stepper, prompts, sampling, **options):
    rows = [[] for _ in prompts]
    for row, token in generate_tokens(stepper, prompts, sampling, **options):
        rows[row].append(token)
    return rows


# === Tokens ===


@pytest.mark.parametrize("prefill_length", [1, 3, 4, 7, 16])
@pytest.mark.parametrize("length", [1, 2, 4, 5, 6, 11, 15, 16])
def test_chunked_prefill_equals_the_definition(fakes, prefill_length, length):
    model = fakes.AttentionModel()
    prompt = [(3 * n + 1) % 13 for n in range(length)]
    got = rows_of(model.stepper(1, prefill_length), [prompt], Sampling(max_new_tokens=4))
    assert got == [model.greedy(prompt, 4)]


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "top_k": 5, "seed": 2}])
def test_batch_of_unequal_prompts_equals_one_by_one(fakes, options):
    model = fakes.AttentionModel()
    prompts = [[1], [2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4], [5, 6], [1, 2, 3, 4, 5, 6], [5, 6]]
    sampling = Sampling(max_new_tokens=9, **options)
    together = rows_of(model.stepper(5, 4), prompts, sampling)
    for row, prompt in enumerate(prompts[:4]):
        assert rows_of(model.stepper(), [prompt], sampling) == [together[row]]
    if options:
        assert together[4] != together[2]  # a copy draws its own numbers
    else:
        assert together[4] == together[2]


@pytest.mark.parametrize("prompts", [[[1, 2, 3, 4, 5, 6]], [[4], [1, 2, 3, 4, 5, 6, 7], [3, 2]]])
def test_recurrent_model_equals_its_definition(fakes, prompts):
    stepper = fakes.RecurrentStepper(len(prompts))
    got = rows_of(stepper, prompts, Sampling(max_new_tokens=30))
    assert got == [stepper.greedy(prompt, 30) for prompt in prompts]


def test_chunks_near_the_end_of_the_window_shift_back_and_never_leave_it():
    assert plan_chunks(10, [4], max_length=11) == [(0, 4), (4, 4), (7, 4)]
    assert plan_chunks(10, [4], max_length=None) == [(0, 4), (4, 4), (8, 4)]
    assert plan_chunks(0, [4], max_length=4) == []
    assert plan_chunks(3, [32, 4], max_length=8) == [(0, 4)]
    with pytest.raises(ModelzooError, match="no prefill size"):
        plan_chunks(3, [32], max_length=8)


def test_a_chunk_size_is_chosen_that_wastes_little():
    assert plan_chunks(3, [1, 128], None) == [(0, 1), (1, 1), (2, 1)]
    assert plan_chunks(100, [16, 128], None) == [(0, 128)]
    assert plan_chunks(20, [16, 128], None) == [(0, 16), (16, 16)]
    assert plan_chunks(140, [1, 128], None) == [(0, 128), *((n, 1) for n in range(128, 140))]


def test_several_prefill_sizes_give_the_same_tokens(fakes):
    model = fakes.AttentionModel()
    prompt = [(5 * n + 2) % 13 for n in range(14)]
    stepper = model.stepper(1, 8, prefill_lengths=(1, 8))
    assert rows_of(stepper, [prompt], Sampling(max_new_tokens=2)) == [model.greedy(prompt, 2)]
    assert stepper.calls == [8, 8, "decode", "decode"]


def test_full_window_stops_with_length(fakes):
    model = fakes.AttentionModel()
    for max_new_tokens in (None, 100):
        run = generate_tokens(model.stepper(), [[1] * 10], Sampling(max_new_tokens=max_new_tokens))
        tokens = [token for _, token in run]
        assert tokens == model.greedy([1] * 10, 7)  # positions 9..15 predict one token each
        assert run.finish_reasons == ["length"]
    full = generate_tokens(model.stepper(), [[1] * 16], Sampling())
    assert [token for _, token in full] == model.greedy([1] * 16, 1)


def slid(model, prompt, count):
    """The definition: the next token of what is left when whole halves of the window are gone."""
    history, half = list(prompt), (model.max_length + 1) // 2
    for _ in range(count):
        seen = history
        while len(seen) > model.max_length:
            seen = seen[half:]
        history.append(int(model.logits(seen).argmax()))
    return history[len(prompt) :]


@pytest.mark.parametrize("window", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("prefill_length", [1, 4, 16])
def test_a_full_window_slides_when_asked(fakes, window, prefill_length):
    model = fakes.AttentionModel(max_length=window)
    stepper = model.stepper(1, min(prefill_length, window))
    sampling = Sampling(max_new_tokens=45, when_full="slide")
    run = generate_tokens(stepper, [[3]], sampling)
    assert [token for _, token in run] == slid(model, [3], 45)
    assert run.finish_reasons == ["length"]


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0, "seed": 2, "repetition_penalty": 1.3}]
)
@pytest.mark.parametrize("sizes", [(1, 4), (3,), (16,)])
def test_rows_that_slide_at_different_times_equal_one_by_one(fakes, options, sizes):
    model = fakes.AttentionModel()
    prompts = [[1], [(7 * n + 2) % 13 for n in range(14)], [5, 6, 7, 8], [2] * 16, [9] * 40]
    sampling = Sampling(max_new_tokens=30, when_full="slide", stop_tokens=[4], **options)
    together = rows_of(model.stepper(5, sizes[-1], prefill_lengths=sizes), prompts, sampling)
    assert len({len(row) for row in together}) > 1  # some end while others go on
    for row, prompt in enumerate(prompts):
        assert rows_of(model.stepper(), [prompt], sampling) == [together[row]]


def test_a_prompt_longer_than_the_window_is_read_as_if_it_had_been_generated(fakes):
    model = fakes.AttentionModel()
    prompt = [1, 2, 3]
    long = generated(model, prompt, 60)
    for cut in (13, 14, 15, 22, 23, 40):
        assert generated(model, [*prompt, *long[:cut]], 60 - cut) == long[cut:]
    assert [left_out(length, 16) for length in (1, 16, 17, 24, 25, 33)] == [0, 0, 8, 8, 16, 24]
    assert [left_out(length, 1) for length in (1, 2, 9)] == [0, 1, 8]
    assert left_out(10**6, None) == 0


def generated(model, prompt, count):
    sampling = Sampling(max_new_tokens=count, when_full="slide")
    return rows_of(model.stepper(), [prompt], sampling)[0]


def test_sliding_changes_nothing_while_there_is_room_and_nothing_without_a_window(fakes):
    model = fakes.AttentionModel()
    assert generated(model, [1, 2, 3], 14) == model.greedy([1, 2, 3], 14)
    stepper = fakes.RecurrentStepper()
    sampling = Sampling(max_new_tokens=40, when_full="slide")
    assert rows_of(stepper, [[1, 2]], sampling) == [stepper.greedy([1, 2], 40)]


def test_stop_token_ends_its_row_only_and_is_not_yielded(fakes):
    model = fakes.AttentionModel()
    prompts = [[1, 2, 3], [7]]
    free = [model.greedy(prompt, 8) for prompt in prompts]
    stop = free[0][3]
    run = generate_tokens(model.stepper(2), prompts, Sampling(max_new_tokens=8, stop_tokens=[stop]))
    rows = [[], []]
    for row, token in run:
        rows[row].append(token)
    for row in (0, 1):
        cut = free[row].index(stop) if stop in free[row] else 8
        assert rows[row] == run.tokens[row] == free[row][:cut]
        assert run.finish_reasons[row] == ("stop" if cut < 8 else "length")
    assert run.finish_reasons[0] == "stop"


def test_repetition_penalty_counts_the_prompt_and_the_output(fakes):
    model = fakes.AttentionModel()
    sampling = Sampling(max_new_tokens=8, repetition_penalty=1e6)
    tokens = rows_of(model.stepper(), [[1, 2, 3]], sampling)[0]
    assert len({1, 2, 3, *tokens}) == 3 + 8


def test_ranks_make_equal_start_tokens_of_different_texts_equal_one_by_one(fakes):
    model = fakes.AttentionModel()
    sampling = Sampling(max_new_tokens=8, temperature=1.5)
    same = rows_of(model.stepper(2), [[0], [0]], sampling, ranks=[0, 0])
    assert same[0] == same[1]
    assert duplicate_ranks(["x", "y", "x", "x"]) == [0, 0, 1, 2]
    assert duplicate_ranks([[1, 2], [1], (1, 2)]) == [0, 0, 1]


@pytest.mark.parametrize(
    "prompts, sampling, error, message",
    [
        ([[1] * 17], {}, OverflowTextError, r"17 tokens.* 16"),
        ([[]], {}, ModelzooError, "no tokens"),
        ([[1, 13]], {}, ModelzooError, "13 is outside the vocabulary of 13"),
        ([[-1, 2]], {}, ModelzooError, "-1 is outside"),
        ([[1], [2]], {}, ModelzooError, "2 prompts"),
        ([], {}, ModelzooError, "0 prompts"),
    ],
)
def test_bad_prompts_are_refused_before_anything_runs(fakes, prompts, sampling, error, message):
    stepper = fakes.AttentionModel().stepper()
    with pytest.raises(error, match=message):
        generate_tokens(stepper, prompts, Sampling(**sampling))
    assert stepper.calls == []


def test_no_limit_at_all_is_refused(fakes):
    with pytest.raises(ModelzooError, match="no window"):
        generate_tokens(fakes.RecurrentStepper(), [[1]], Sampling(max_new_tokens=None))


def test_the_loop_costs_little_beside_the_model():
    class Instant:
        batch_size, vocab_size, max_length, prefill_length = 1, 50_257, None, 1
        logits = np.random.default_rng(0).normal(size=(1, 50_257)).astype(np.float32)

        def decode(self, token_ids, positions):
            return self.logits

    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in generate_tokens(Instant(), [[1]], Sampling(max_new_tokens=200)):
            pass
        best = min(best, (time.perf_counter() - start) / 200)
    assert best < 0.15e-3


# === Text ===


def test_text_is_the_continuation_and_lists_give_lists(fakes):
    model, tokenizer = fakes.AttentionModel(), fakes.PieceTokenizer(LETTERS)
    sampling = Sampling(max_new_tokens=5)
    expected = [t for t in model.greedy([1, 2], 5)]
    expected = "".join(LETTERS[t] for t in expected[: (expected + [12]).index(12)])
    assert generate_text(model.stepper(), tokenizer, "bc", sampling) == expected
    assert generate_text(model.stepper(), tokenizer, ["bc"], sampling) == [expected]
    assert generate_text(model.stepper(), tokenizer, [[1, 2]], sampling) == [expected]


@pytest.mark.parametrize("seed", range(6))
def test_streamed_text_equals_the_whole_and_never_shows_a_stop_string(fakes, seed):
    # Pieces that overlap the stop strings in every way, so most matches cross token boundaries.
    pieces = ["a", "b", "ab", "ba", "c", "ca", "aa", "bc", "abc", "x", "y", "z"]
    model, tokenizer = fakes.AttentionModel(max_length=60), fakes.PieceTokenizer(pieces)
    sampling = Sampling(max_new_tokens=40, temperature=3.0, seed=seed, stop=["abca", "cab", "bbb"])
    prompts = ["x", "abc", "zz"]
    free = generate_text(
        model.stepper(3),
        tokenizer,
        prompts,
        Sampling(max_new_tokens=40, temperature=3.0, seed=seed),
    )
    results = generate_results(model.stepper(3), tokenizer, prompts, sampling)
    streamed = ["", "", ""]
    for row, piece in generate_text(model.stepper(3), tokenizer, prompts, sampling, stream=True):
        assert piece
        streamed[row] += piece
        assert results[row].text.startswith(streamed[row])
    for text, whole, result in zip(streamed, free, results, strict=True):
        ends = [(whole.find(s) + len(s), whole.find(s)) for s in sampling.stop if s in whole]
        assert text == result.text == (whole[: min(ends)[1]] if ends else whole)
        if ends:
            assert result.finish_reason == "stop"


class Script:
    """A stepper that says given tokens, whatever it is fed."""

    batch_size, max_length, prefill_length = 1, None, 4

    def __init__(self, tokens, vocab_size):
        self.tokens, self.vocab_size = iter(tokens), vocab_size

    def prefill(self, token_ids, positions):
        pass

    def decode(self, token_ids, positions):
        return np.eye(1, self.vocab_size, next(self.tokens), dtype=np.float32)


def say(fakes, pieces, stop, **options):
    tokenizer = fakes.PieceTokenizer([*dict.fromkeys(pieces)])
    tokens = [tokenizer.pieces.index(piece) for piece in pieces] + [tokenizer.roles["eos"]]
    sampling = Sampling(stop=stop, **options)
    stream = generate_text(
        Script(tokens, tokenizer.vocab_size), tokenizer, pieces[0], sampling, stream=True
    )
    result = generate_results(
        Script(tokens, tokenizer.vocab_size), tokenizer, [pieces[0]], sampling
    )[0]
    shown = list(stream)
    assert "".join(shown) == result.text
    return shown, result.finish_reason


def test_what_may_become_a_stop_string_waits(fakes):
    assert say(fakes, ["one", " E", "N", "D", " two"], "END") == (["one", " "], "stop")
    assert say(fakes, ["one", " E", "N", "x"], "END") == (["one", " ", "ENx"], "stop")
    assert say(fakes, ["one", " E", "N"], "END") == (["one", " ", "EN"], "stop")  # eos
    assert say(fakes, ["a", "a", "a", "b", "c"], "aab") == (["a"], "stop")
    shown, reason = say(fakes, ["one", " E", "N", "D"], "END", max_new_tokens=3)
    assert (shown, reason) == (["one", " ", "EN"], "length")


def test_of_several_stop_strings_the_first_complete_one_counts(fakes):
    assert say(fakes, ["x", "abc"], ["abc", "b"]) == (["x", "a"], "stop")
    assert say(fakes, ["x", "a", "b", "c"], ["abc", "b"]) == (["x", "a"], "stop")
    assert say(fakes, ["y", "xab"], ["ab", "xab"]) == (["y"], "stop")


def test_empty_prompt_starts_from_eos_or_says_what_is_missing(fakes):
    model, tokenizer = fakes.AttentionModel(), fakes.PieceTokenizer(LETTERS)
    sampling = Sampling(max_new_tokens=6)
    result = generate_results(model.stepper(), tokenizer, [""], sampling)[0]
    expected = model.greedy([12], 6)
    assert list(result.tokens) == expected[: (expected + [12]).index(12)]
    tokenizer.roles, tokenizer.stop_tokens = {}, frozenset()
    with pytest.raises(ModelzooError, match="no bos or eos"):
        generate_text(model.stepper(), tokenizer, "", sampling)
