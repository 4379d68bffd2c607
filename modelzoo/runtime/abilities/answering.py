"""Answers to a question about a text: the parts of the text that a bundle points at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, overload

import numpy as np

from modelzoo.errors import BundleError, DataError, ModelzooError
from modelzoo.runtime.abilities.encoding import EncodesTexts
from modelzoo.runtime.abilities.labels import check_numbers
from modelzoo.runtime.engines.static_shapes import sizes_of
from modelzoo.runtime.text.spans import DEFAULTS, Answer, best_answers, read_contexts, windows

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Several

__all__ = ["OUTPUTS", "AnsweringAbility", "questions_and_contexts"]

_MOST = 4096  # tokens of an answer
OUTPUTS = ("start_logits", "end_logits")  # of a signature that answers


class AnsweringAbility(EncodesTexts):
    """What `runtime.Model` does with a question and a context: mixed into it."""

    @overload
    def answer(self, question: str, context: str, n_best: int = 1) -> list[Answer]: ...
    @overload
    def answer(
        self, question: Several[str], context: str | Several[str], n_best: int = 1
    ) -> list[list[Answer]]: ...
    def answer(self, question, context, n_best: int = 1) -> list:
        """The parts of a text that answer a question, the likeliest first.

        A context that is longer than the model reads is read in windows that overlap.

        Args:
            question: a text, or a list of texts.
            context: the text to find the answer in; for several questions one for all of them, or
                a list of one each.
            n_best: answers to give.

        Returns:
            Answers, each with `text`, `start`, `end` and `score`; for a list of questions a list
            of these. The text is `context[start:end]`; it is `None` for "no answer", which a model
            gives that was trained on questions without one.

        Raises:
            DataError: an empty question or context, or as many of one as not of the other.
            OverflowTextError: the question leaves no room for the context.
            ModelzooError: a bundle that does not answer.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("qa.bundle").answer("Who wrote it?", "The letter is by Ann.")
            [Answer(text='Ann', start=17, end=20, score=0.8...)]
        """
        self._need("answer")
        if not isinstance(n_best, int) or isinstance(n_best, bool) or n_best < 1:
            raise ModelzooError(f"n_best must be a whole number, 1 or more; got {n_best!r}")
        asked = questions_and_contexts(question, context)
        how, lowercase = self._answering(), bool(self.bundle.processing.get("lowercase"))
        texts = list(dict.fromkeys(text for pair in asked for text in pair))
        known = dict(zip(texts, read_contexts(self._text, texts, lowercase), strict=True))
        sizes = sizes_of(self.engine.signatures, "serve")
        rows = []
        for number, (one, text) in enumerate(asked):
            if not known[text].ids:
                raise DataError(f"the context has no tokens: {text[:40]!r}")
            parts = (known[one].ids, known[text].ids)
            rows += [
                (number, window)
                for window in windows(self._text, *parts, sizes[-1].length, how["stride"])
            ]
        encoded = [(window.token_ids, window.segment_ids) for _, window in rows]
        read = defaultdict(list)

        def ends(outputs, _) -> tuple[np.ndarray, np.ndarray]:
            start, end = (outputs[name] for name in OUTPUTS)
            return start, end

        for (number, window), (start, end) in zip(
            rows, self._run_encoded(sizes, encoded, ends), strict=True
        ):
            check_numbers(np.stack([start, end]), "the model's answer")
            read[number].append((window, start, end))
        answers = [
            best_answers(known[text], read[number], n_best, how["max_answer"], how["threshold"])
            for number, (_, text) in enumerate(asked)
        ]
        return answers[0] if isinstance(question, str) else answers

    def _answering(self) -> dict:
        how = {**DEFAULTS, **(self.bundle.processing.get("answering") or {})}
        for name, least in (("stride", 0), ("max_answer", 1)):
            if not least <= how[name] <= _MOST:
                raise BundleError(
                    f"processing.answering.{name} must be from {least} to {_MOST}, not {how[name]}",
                    where=self.bundle.directory,
                    next_step="export the model again",
                )
        return how


def questions_and_contexts(question, context) -> list[tuple[str, str]]:
    """Each question with its context.

    Raises:
        DataError: one that is empty or not a text; other numbers of both.

    >>> questions_and_contexts(["Who?", "When?"], "Ann, in May.")
    [('Who?', 'Ann, in May.'), ('When?', 'Ann, in May.')]
    """
    one = not isinstance(question, Iterable) or isinstance(question, str)
    questions: list = [question] if one else list(question)
    alone = one or not isinstance(context, Iterable) or isinstance(context, str)
    contexts: list = [context] * len(questions) if alone else list(context)
    if len(questions) != len(contexts):
        raise DataError(
            f"there are {len(questions)} questions and {len(contexts)} contexts",
            next_step="pass a context for each question, or one text for all of them",
        )
    for what, texts in (("question", questions), ("context", contexts)):
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"a {what} must be str, not {type(text).__name__}")
            if not text.strip():
                raise DataError(f"the {what} is empty", next_step=f"pass a {what} with words")
    return list(zip(questions, contexts, strict=True))
