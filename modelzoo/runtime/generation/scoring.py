"""How likely a text is, token by token. numpy only.

B rows, T tokens of a call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modelzoo.errors import ModelzooError, OverflowTextError, nearest
from modelzoo.runtime.abilities.labels import check_numbers
from modelzoo.runtime.generation.prefill import NOTHING, plan_chunks, prefill, shared_start
from modelzoo.runtime.generation.steppers import ScoreStepper

__all__ = ["TOO_LONG", "Scorer", "Scores"]

TOO_LONG = ("reject", "rolling")


@dataclass(frozen=True)
class Scores:
    """What a model says of a text's tokens.

    Attributes:
        tokens: the ids that were scored; what was given is not among them.
        log_probs: the natural logarithm of each one's probability, after those before it.
        likeliest: whether no other token is more probable there.

    Example:
        >>> scores = Scores((5, 9), (-0.5, -1.5), (True, False))
        >>> scores.total, scores.greedy, round(scores.perplexity, 3)
        (-2.0, False, 2.718)
    """

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    likeliest: tuple[bool, ...]

    @property
    def total(self) -> float:
        """The log-probability of them all."""
        return math.fsum(self.log_probs)

    @property
    def greedy(self) -> bool:
        """Whether `generate` at temperature 0 writes exactly these tokens."""
        return all(self.likeliest)

    @property
    def perplexity(self) -> float:
        """The exponential of the mean negative log-probability; nan of no tokens."""
        if not self.tokens:
            return math.nan
        return math.exp(min(-self.total / len(self.tokens), 700.0))


class Scorer:
    """Scores token lists one after another; what two in a row begin with is read once.

    Args:
        new_stepper: `new_stepper(length)`, a fresh state of one row with room for `length`
            positions or more, up to the model's window.
        max_length: the model's window; `None` for a recurrent model, whose state is not a list of
            slots: each list of tokens is then read from its start.

    Example:
        >>> from modelzoo.runtime import load
        >>> model = load("gpt.bundle")
        >>> scorer = Scorer(lambda length: model.engine.stepper(), max_length=64)
        >>> scorer.score(model.tokenizer.encode("In the beginning God"), first=3).greedy
        True
    """

    def __init__(self, new_stepper: Callable[[int], ScoreStepper], max_length: int | None):
        self.max_length, self._new = max_length, new_stepper
        self._stepper: ScoreStepper | None = None
        self._held: list[int] = []  # the tokens in the state's first slots

    def score(self, ids: Sequence[int], first: int = 1, too_long: str = "reject") -> Scores:
        """Score `ids[first:]`, each after all tokens before it.

        Args:
            too_long: where there are more tokens than the window has room for, "reject"; or
                "rolling", one window after another: each token is scored once, the first of a
                window sees one token before it, and the last window is full.

        Raises:
            OverflowTextError: too many tokens, and "reject".
            ModelzooError: no signature that scores, a token outside the vocabulary, no token
                before the first that is scored, or another word for `too_long`.
        """
        ids, limit = [int(token) for token in ids], self.max_length
        if too_long not in TOO_LONG:
            raise ModelzooError(
                f"too_long must be {' or '.join(map(repr, TOO_LONG))}; got {too_long!r}",
                did_you_mean=nearest(str(too_long), TOO_LONG),
            )
        if not 1 <= first < len(ids):
            raise ModelzooError(
                f"expected a token to score and one before it, got {len(ids)} tokens, to score "
                f"from number {first} on"
            )
        if limit is not None and len(ids) - 1 > limit and too_long == "reject":
            raise OverflowTextError(
                f"the model reads {limit:,} tokens, and {len(ids) - 1:,} stand before the last one",
                next_step='shorten the text, or score window after window: too_long="rolling"',
            )
        found = [
            self._window(ids[begin:end], own - begin)
            for begin, own, end in windows(len(ids), first, limit)
        ]
        log_probs, gap = np.concatenate(found, axis=1)
        check_numbers(log_probs, "the log-probabilities")
        return Scores(tuple(ids[first:]), tuple(log_probs.tolist()), tuple((gap <= 0).tolist()))

    def _window(self, ids: list[int], first: int) -> np.ndarray:
        """(2, len(ids) - first): log-probabilities, and what they lack, in one window."""
        stepper, last = self._ready(ids), len(ids) - 1
        start = shared_start(self._held, ids)
        self._held = []  # until all calls are done
        if last - start > max(stepper.score_lengths):  # one call for all is the quickest
            prefill(stepper, [ids[:first]], start=min(start, first - 1))
            start = first - 1
        start = min(start, first - 1)
        found = np.zeros((2, len(ids)), np.float32)
        for at, size in plan_chunks(last, stepper.score_lengths, stepper.max_length, start):
            end = min(at + size, last)
            tokens = np.full((2, 1, size), NOTHING, np.int32)
            tokens[:, 0, : end - at] = ids[at:end], ids[at + 1 : end + 1]
            positions = np.arange(at, at + size, dtype=np.int32)[None]
            numbers = stepper.score(tokens[0], positions, tokens[1])
            found[:, at + 1 : end + 1] = [row[0, : end - at] for row in numbers]
        self._held = ids[:-1]
        return found[:, first:]

    def _ready(self, ids: list[int]) -> ScoreStepper:
        """A state that has room for the tokens, and can be gone on with."""
        room = None if self.max_length is None else min(len(ids), self.max_length)
        old = self._stepper
        if old is None or room is None or (old.max_length or 0) < room:
            self._stepper, self._held = None, []  # frees the old one first
            self._stepper = self._new(len(ids))
        stepper = self._stepper
        assert stepper is not None
        if not stepper.score_lengths:
            raise ModelzooError(
                "this model has no signature score_*, which gives log-probabilities",
                next_step="export it again, without export.score_lengths",
            )
        for token in (min(ids), max(ids)):
            if not 0 <= token < stepper.vocab_size:
                raise ModelzooError(
                    f"token id {token} is outside the vocabulary of {stepper.vocab_size}",
                    next_step="use the tokenizer that the model was trained with",
                )
        return stepper


def windows(length: int, first: int, limit: int | None) -> Iterator[tuple[int, int, int]]:
    """(begin, first, end) of the windows that score the tokens from `first` to `length`.

    Those from `first` to `end` are scored, and a window reads at most `limit` of those before.

    >>> list(windows(10, first=1, limit=4))
    [(0, 1, 5), (4, 5, 9), (5, 9, 10)]
    >>> list(windows(10, first=1, limit=None))
    [(0, 1, 10)]
    """
    while first < length:
        if limit is None:
            begin, end = 0, length
        else:
            end = min(length, limit + 1 if first <= limit else first + limit)
            begin = max(0, end - limit - 1)
        yield begin, first, end
        first = end
