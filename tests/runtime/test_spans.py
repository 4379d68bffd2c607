"""Answers of a bundle: windows over long contexts, spans and their characters, no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import BundleError, DataError, ModelzooError, OverflowTextError
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo
from modelzoo.runtime.model import Model
from modelzoo.runtime.text.spans import (
    Context,
    Window,
    best_answers,
    lowered,
    read_contexts,
    windows,
)
from modelzoo.tasks.profile import ENCODER_TOKENS

CONTEXT = "Ann wrote  the letter in May. It rained, and the dog slept on its bed."
CHINESE = "下了一整天的雨。安妮在五月写了信，然后睡着了。"


@pytest.fixture(scope="module")
def tokenizer():
    texts = [CONTEXT, CHINESE, "Who wrote it?"] * 3
    return train_tokenizer(texts, "wordpiece", 600, ENCODER_TOKENS)


class Pointing:
    """An engine that points at one word: +9 where a token of it begins, and where one ends."""

    def __init__(self, tokenizer, word: str, length: int = 32, null: float = 0.0, rows: int = 1):
        tensor = TensorInfo((rows, length), "int32")
        logits = TensorInfo((rows, length), "float32")
        outputs = {"start_logits": logits, "end_logits": logits}
        inputs = dict.fromkeys(("token_ids", "padding_mask", "segment_ids"), tensor)
        self.signatures = {"serve": SignatureInfo(inputs, outputs)}
        self.wanted, self.null, self.calls = tokenizer.encode(word), null, 0

    def run(self, name, inputs):
        self.calls += 1
        ids = inputs["token_ids"]
        start, end = (np.zeros(ids.shape, np.float32) for _ in range(2))
        count = len(self.wanted)
        for row in range(len(ids)):
            for at in range(ids.shape[1] - count + 1):
                if ids[row, at : at + count].tolist() == self.wanted:
                    start[row, at] = end[row, at + count - 1] = 9
            start[row, 0] = end[row, 0] = self.null / 2
        return {"start_logits": start, "end_logits": end}


def model(tokenizer, word: str, answering=(), **options) -> Model:
    manifest = {"name": "qa", "task": "question-answering", "abilities": ["answer"]}
    manifest["processing"] = {"answering": dict(answering)}
    engine = Pointing(tokenizer, word, **options)
    return Model(Bundle(Path("qa"), manifest), tokenizer, engine)


def test_an_answer_is_the_characters_of_the_context(tokenizer):
    answers = model(tokenizer, " the letter").answer("Who wrote it?", CONTEXT, n_best=3)
    assert answers[0][:3] == ("the letter", 11, 21)
    assert CONTEXT[11:21] == "the letter"
    assert len({one[1:3] for one in answers}) == 3
    assert answers[0].score > 0.9 > sum(one.score for one in answers[1:])


def test_chinese(tokenizer):
    (answer,) = model(tokenizer, "安妮", {"stride": 4}, length=24).answer("谁写了信？", CHINESE)
    assert (answer.text, answer.start, answer.end) == ("安妮", 8, 10)


def test_a_long_context_is_read_in_windows(tokenizer):
    able, late = model(tokenizer, " dog"), CONTEXT * 4
    (answer,) = able.answer("Who wrote it?", late)
    assert able.engine.calls > 3
    assert late[answer.start : answer.end] == "dog"


def test_several_questions_take_one_context_or_one_each(tokenizer):
    able = model(tokenizer, " dog", rows=2)
    both = able.answer(["Who?", "What?"], CONTEXT)
    assert [one[0].text for one in both] == ["dog", "dog"]
    each = able.answer(["Who?", "What?"], [CONTEXT, "A dog."])
    assert [one[0][:3] for one in each] == [("dog", 49, 52), ("dog", 2, 5)]
    assert able.answer([], []) == []


@pytest.mark.parametrize(
    ("null", "threshold", "text"),
    [(30, None, "dog"), (30, 0.0, None), (30, 13.0, "dog"), (30, 11.0, None), (10, 0.0, "dog")],
)
def test_no_answer_has_to_pass_the_threshold(tokenizer, null, threshold, text):
    able = model(tokenizer, " dog", {"threshold": threshold}, null=null)
    best, second = able.answer("Who?", CONTEXT, n_best=2)
    assert best.text == text
    assert best.score >= second.score
    assert (second.text is None) == (text == "dog" and threshold is not None)
    if text is None:
        assert best[:3] == (None, None, None)


def test_the_lowest_window_says_whether_there_is_no_answer(tokenizer):
    (context,) = read_contexts(tokenizer, [CONTEXT])
    parts = windows(tokenizer, [7], context.ids, 16, 4)
    quiet = [np.zeros(16) for _ in parts]
    loud = [np.where(np.arange(16) == 0, 5.0 if n else 50.0, 0.0) for n in range(len(parts))]
    read = list(zip(parts, loud, quiet, strict=True))
    (answer,) = best_answers(context, read, threshold=4.0)
    assert answer.text is None  # 5 - 4 is above 0
    assert best_answers(context, read, threshold=6.0)[0].text is not None


def test_scores_are_shares_of_all_spans(tokenizer):
    context = Context("a b c", [1, 2, 3], np.array([0, 2, 4]), np.array([1, 3, 5]))
    (window,) = windows(tokenizer, [7], context.ids, 16)
    count = len(context.ids)
    flat = [(window, np.zeros(16), np.zeros(16))]
    answers = best_answers(context, flat, n_best=99, max_answer=2)
    assert len(answers) == 2 * count - 1  # those of one token, and of two
    assert all(one.score == pytest.approx(1 / (2 * count - 1)) for one in answers)
    assert {one.text for one in best_answers(context, flat, n_best=99, max_answer=1)} == set("abc")


def test_white_space_is_no_part_of_an_answer():
    context = Context(
        "a  b", [1, 2, 3], np.array([0, 2, 3]), np.array([1, 2, 4])
    )  # the second token is white space alone
    read = [(Window([9, 1, 2, 3], [0] * 4, 0, 3, 1), np.zeros(4), np.zeros(4))]
    assert {one.text for one in best_answers(context, read, n_best=9)} == {"a", "b", "a  b"}


def test_offsets_are_characters_in_every_piece_of_a_long_text(tokenizer):
    text = ("字🙂 word\n" * 3000) + "end"
    ((ids, offsets),) = tokenizer.encode_offsets([text])
    assert ids == tokenizer.encode(text)
    assert offsets[-1][1] == len(text)
    assert all(
        text[start:end].strip() in tokenizer.decode([*ids[max(0, at - 4) : at + 5]])
        for at, (start, end) in list(enumerate(offsets))[-30:-8]
    )


def test_lower_case_keeps_every_place():
    assert [lowered(text) for text in ("ABC", "İX", "ΣΑΣ")] == ["abc", "İx", "σας"]


@pytest.mark.parametrize(
    ("question", "context", "what"),
    [
        (" ", CONTEXT, "the question is empty"),
        ("Who?", "\n", "the context is empty"),
        (["Who?", ""], CONTEXT, "the question is empty"),
        (["Who?"], [CONTEXT, CONTEXT], "1 questions and 2 contexts"),
        ("Who?", [CONTEXT], "a context must be str, not list"),
        (5, CONTEXT, "a question must be str, not int"),
        ("Who?", None, "a context must be str, not NoneType"),
    ],
)
def test_bad_input_is_named(tokenizer, question, context, what):
    with pytest.raises(DataError, match=what):
        model(tokenizer, " dog").answer(question, context)


def test_a_question_that_leaves_no_room(tokenizer):
    with pytest.raises(OverflowTextError, match="the model reads 32: there is no room"):
        model(tokenizer, " dog").answer("Who wrote it? " * 9, CONTEXT)


@pytest.mark.parametrize("n_best", [0, True, 1.5])
def test_n_best_is_a_count(tokenizer, n_best):
    with pytest.raises(ModelzooError, match="n_best must be a whole number"):
        model(tokenizer, " dog").answer("Who?", CONTEXT, n_best)


@pytest.mark.parametrize("wrong", [{"max_answer": 0}, {"max_answer": 10**9}, {"stride": -1}])
def test_what_a_bundle_says_is_bounded(tokenizer, wrong):
    with pytest.raises(BundleError, match="must be from"):
        model(tokenizer, " dog", wrong).answer("Who?", CONTEXT)


def test_a_model_without_such_logits_does_not_answer(tokenizer):
    able = model(tokenizer, " dog")
    able.abilities = ("embed",)
    with pytest.raises(ModelzooError, match="cannot `answer`; it can `embed`"):
        able.answer("Who?", CONTEXT)
