"""The one generation loop: Keras models and device bundles both run it. numpy only.

Axis letters: B rows of a batch, T tokens of a prefill chunk, V vocabulary.

A model's state has one slot a position, so where a token is fed says where it is kept. A query at
position p sees the slots 0..p of its row. Hence rows of unequal length need no mask: what padding
leaves in the slots past a row's end is overwritten by that row's own tokens before it can be seen.

Hence, too, a draft can be checked without being undone: the slots of its rejected tokens lie behind
the row's end. Every token is chosen from the logits of its own place by the row's own sampler, so
drafts change how many passes a text takes, and no token of it. Only a single row drafts: in a batch
the passes are those of its slowest row, and more tokens cost it more.

A row that slides is read again while the others stand still: for them each chunk holds what is
in those slots already. So a row of a batch gets what it gets alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, overload

import numpy as np

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime.generation.drafting import Drafter
from modelzoo.runtime.generation.prefill import NOTHING, left_out, prefill
from modelzoo.runtime.generation.sampling import Sampler, Sampling, greedy, log_prob
from modelzoo.runtime.generation.steppers import DraftStepper, Stepper
from modelzoo.runtime.generation.stop_strings import RowText

# For one text its continuation, for a list a list; as a stream pieces, for a list (row, piece).
Written: TypeAlias = str | list[str] | Iterator[str] | Iterator[tuple[int, str]]


class Generation:
    """An iterator over (row, token) that also says how each row ended.

    Args:
        start: the stepper's state already holds that many of the prompts' first tokens; of a prompt
            that is longer than a window that slides, those that are not left out.
        logprobs: whether to keep `log_probs`.

    Attributes:
        prompts: the ids that each row continues.
        tokens: the tokens generated so far, one list a row.
        log_probs: the model's log-probability of each, whatever `sampling` makes of it.
        finish_reasons: None while a row goes on; then "stop" (a stop token or string) or "length"
            (`max_new_tokens` reached, or the window full and not to slide).
        passes: calls that gave logits, a number a row.
        drafted, accepted: tokens that were drafted, and those of them that were right, a number a
            row.
    """

    def __init__(
        self,
        stepper: Stepper,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling | None = None,
        ranks: Sequence[int] | None = None,
        start: int = 0,
        logprobs: bool = False,
    ):
        sampling = sampling or Sampling()
        self._stepper, self._start = stepper, max(start, getattr(stepper, "kept", 0))
        self._slides = sampling.when_full == "slide" and stepper.max_length is not None
        self.prompts = [[int(token) for token in prompt] for prompt in prompts]
        self._limits = _limits(stepper, self.prompts, sampling)
        self._stop_tokens = frozenset(sampling.stop_tokens)
        if ranks is None:
            ranks = duplicate_ranks(self.prompts)
        self._samplers = [
            Sampler(sampling, prompt, rank)
            for prompt, rank in zip(self.prompts, ranks, strict=True)
        ]
        self._plain = sampling.temperature == 0 and sampling.repetition_penalty == 1.0
        self.tokens: list[list[int]] = [[] for _ in self.prompts]
        self.log_probs: list[list[float]] = [[] for _ in self.prompts]
        self._logprobs = logprobs
        self.finish_reasons: list[str | None] = [None] * len(self.prompts)
        self.passes, self.drafted, self.accepted = ([0] * len(self.prompts) for _ in range(3))
        able = len(self.prompts) == 1 and hasattr(stepper, "draft_lengths")
        self._checks = cast(DraftStepper, stepper) if able and sampling.speculate else None
        self._run = self._loop()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return self

    def __next__(self) -> tuple[int, int]:
        return next(self._run)

    def stop(self, row: int) -> None:
        """End a row from outside, as a stop string does."""
        self.finish_reasons[row] = "stop"

    def _loop(self) -> Iterator[tuple[int, int]]:
        stepper, rows = self._stepper, [self._window(prompt) for prompt in self.prompts]
        prefill(stepper, rows, self._start)
        current = [row[-1] for row in rows]
        positions = [len(row) - 1 for row in rows]
        drafter = None if self._checks is None else Drafter(self.prompts[0])
        while None in self.finish_reasons:
            draft = self._draft(drafter, positions[0])
            logits = self._pass(current, positions, draft)
            for row, reason in enumerate(self.finish_reasons):
                if reason is not None:
                    continue
                self.passes[row] += 1
                self.drafted[row] += len(draft)
                for place in range(len(draft) + 1):
                    token = self._choose(row, logits[row, place])
                    right = place < len(draft) and token == draft[place]
                    self.accepted[row] += right
                    if token in self._stop_tokens:
                        self.finish_reasons[row] = "stop"
                    else:
                        self._note(drafter, token, drafted=bool(draft))
                        self.tokens[row].append(token)
                        if self._logprobs:
                            self.log_probs[row].append(log_prob(logits[row, place], token)[0])
                        if len(self.tokens[row]) == self._limits[row]:
                            self.finish_reasons[row] = "length"
                        yield row, token
                    if self.finish_reasons[row] is not None:
                        current[row] = NOTHING  # its last position stays: a valid slot, never read
                        break
                    current[row] = token
                    positions[row] += 1
                    if not right:
                        break
            if self._slides and stepper.max_length in positions:
                self._slide(positions)

    def _choose(self, row: int, logits: np.ndarray) -> int:
        return greedy(logits) if self._plain else self._samplers[row](logits)

    def _draft(self, drafter: Drafter | None, position: int) -> list[int]:
        """The draft to check from a position on; mostly none."""
        if drafter is None or self._checks is None:
            return []
        lengths, room = self._checks.draft_lengths(position), self._limits[0] - len(self.tokens[0])
        return drafter.draft(lengths, room, self._checks.pass_times)

    def _note(self, drafter: Drafter | None, token: int, drafted: bool) -> None:
        if drafter is not None and self._checks is not None:
            drafter.add(token, None if drafted else self._checks.pass_times)

    def _pass(self, current: list[int], positions: list[int], draft: list[int]) -> np.ndarray:
        """Take in each row's current token, and the draft behind it: the logits (B, T, V).

        T is 1 or, with a draft, the length of a `verify` call: it may be longer than the draft.
        """
        # New arrays each time: a stepper may hold on to what it is given.
        token_ids, places = (np.array(x, np.int32)[:, None] for x in (current, positions))
        checks = self._checks
        if checks is None:
            return self._stepper.decode(token_ids, places)[:, None]
        times, begin = checks.pass_times, time.perf_counter()  # of the window that it is in now
        if not draft:
            logits = checks.decode(token_ids, places)[:, None]
        else:
            length = min(n for n in checks.draft_lengths(positions[0]) if n > len(draft))
            filled = [*draft, *[NOTHING] * (length - 1 - len(draft))]
            token_ids = np.concatenate([token_ids, np.array([filled], np.int32)], axis=1)
            logits = checks.verify(token_ids, places + np.arange(length, dtype=np.int32))
        times.add(token_ids.shape[1], time.perf_counter() - begin)
        return logits

    def _slide(self, positions: list[int]) -> None:
        """Read the rows again whose next position lies outside the window."""
        histories = [p + t for p, t in zip(self.prompts, self.tokens, strict=True)]
        full = [row for row, place in enumerate(positions) if place == self._stepper.max_length]
        rows = [self._window(history) for history in histories]
        for row in full:
            positions[row] = len(rows[row]) - 1
        prefill(self._stepper, rows, end=max(positions[row] for row in full))

    def _window(self, history: list[int]) -> list[int]:
        """What of a row's tokens the model sees: those whose slots the state has, or will have."""
        return history[left_out(len(history), self._stepper.max_length) :]


@dataclass(frozen=True)
class Result:
    """One row's text, its tokens (stop token left out) and "stop" or "length".

    Attributes:
        passes: calls of the model that gave the tokens.
        drafted, accepted: tokens that were guessed and checked, and those that were right.
        log_probs: the model's log-probability of each token, where it was asked for.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: str
    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    log_probs: tuple[float, ...] = ()


def generate_tokens(
    stepper: Stepper,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling | None = None,
    *,
    ranks: Sequence[int] | None = None,
) -> Generation:
    """Continue token prompts: an iterator over (row, token) in the order of generation.

    A row ends at a stop token (not yielded), at `max_new_tokens`, or when the window is full: the
    last token yielded is then the one that the window's last position predicts. With
    `when_full="slide"` a full window does not end it; the tokens' order stays as it is.

    Args:
        stepper: a fresh one, with one row a prompt.
        prompts: lists of ids, none empty, of any lengths.
        ranks: see `duplicate_ranks`; for prompts whose tokens alone do not tell them apart, as
            with an encoder-decoder, where all begin with the same start token.

    Raises:
        OverflowTextError: a prompt is longer than the window, and that is not to slide.
        ModelzooError: an empty prompt, an id outside the vocabulary, another number of prompts
            than the stepper has rows, or no limit at all (`max_new_tokens=None` and no window).

    Example:
        >>> from modelzoo.runtime import load
        >>> model = load("gpt.bundle")
        >>> prompts = [model.tokenizer.encode("In the beginning")]
        >>> found = generate_tokens(model.engine.stepper(), prompts, Sampling(max_new_tokens=3))
        >>> model.tokenizer.decode(token for row, token in found)
        ' God created heaven'
    """
    return Generation(stepper, prompts, sampling, ranks)


def generate_results(
    stepper: Stepper,
    tokenizer,
    prompts: Sequence[str | Sequence[int]],
    sampling: Sampling | None = None,
    *,
    ranks: Sequence[int] | None = None,
    logprobs: bool = False,
) -> list[Result]:
    """Continue texts (or lists of ids): one Result a prompt, its text without the prompt."""
    generation = _start(stepper, tokenizer, prompts, sampling, ranks, logprobs)
    pieces: list[list[str]] = [[] for _ in prompts]
    for row, piece in text_pieces(generation, tokenizer, sampling, generation.prompts):
        pieces[row].append(piece)
    reasons = [reason for reason in generation.finish_reasons if reason is not None]  # of all rows
    counts = zip(generation.passes, generation.drafted, generation.accepted, strict=True)
    rows = zip(pieces, generation.tokens, reasons, counts, generation.log_probs, strict=True)
    return [
        Result("".join(texts), tuple(tokens), reason, *counted, tuple(log_probs))
        for texts, tokens, reason, counted, log_probs in rows
    ]


@overload
def generate_text(
    stepper: Stepper,
    tokenizer,
    prompts: str,
    sampling: Sampling | None = None,
    stream: Literal[False] = False,
    *,
    ranks: Sequence[int] | None = None,
) -> str: ...
@overload
def generate_text(
    stepper: Stepper,
    tokenizer,
    prompts: str,
    sampling: Sampling | None = None,
    *,
    stream: Literal[True],
    ranks: Sequence[int] | None = None,
) -> Iterator[str]: ...
@overload
def generate_text(
    stepper: Stepper,
    tokenizer,
    prompts: Sequence[str | Sequence[int]],
    sampling: Sampling | None = None,
    stream: Literal[False] = False,
    *,
    ranks: Sequence[int] | None = None,
) -> list[str]: ...
@overload
def generate_text(
    stepper: Stepper,
    tokenizer,
    prompts: Sequence[str | Sequence[int]],
    sampling: Sampling | None = None,
    *,
    stream: Literal[True],
    ranks: Sequence[int] | None = None,
) -> Iterator[tuple[int, str]]: ...
def generate_text(
    stepper: Stepper,
    tokenizer,
    prompts: str | Sequence[str | Sequence[int]],
    sampling: Sampling | None = None,
    stream: bool = False,
    *,
    ranks: Sequence[int] | None = None,
) -> Written:
    """Continue a text, or a list of texts or of id lists. What comes back is the continuation.

    The tokenizer's "eos" role is a stop token. An empty text starts from its "bos" or "eos" role.

    Returns:
        str for a str, list[str] for a list. With `stream`, an iterator: of pieces (str) for a str,
        of (row, piece) for a list. Pieces joined equal the text, and none is ever taken back: what
        may become part of a stop string, or is half a character, waits.

    Example:
        >>> from modelzoo.runtime import load
        >>> model = load("gpt.bundle")
        >>> stepper, sampling = model.engine.stepper(), Sampling(max_new_tokens=5)
        >>> generate_text(stepper, model.tokenizer, "In the beginning", sampling)
        ' God created heaven'
    """
    single = isinstance(prompts, str)
    prompts = [prompts] if single else prompts
    if stream:
        generation = _start(stepper, tokenizer, prompts, sampling, ranks)
        pieces = text_pieces(generation, tokenizer, sampling, generation.prompts)
        return (piece for _, piece in pieces) if single else pieces
    results = generate_results(stepper, tokenizer, prompts, sampling, ranks=ranks)
    return results[0].text if single else [result.text for result in results]


def encode_prompt(tokenizer, text: str) -> list[int]:
    """A text's ids, after those that the tokenizer puts before every text (Gemma's bos).

    For an empty text the bos role, else eos, that a model starts from.
    """
    token_ids = [*tokenizer.prefix, *tokenizer.encode(text)]
    if token_ids:
        return token_ids
    for role in ("bos", "eos"):
        if role in tokenizer.roles:
            return [tokenizer.roles[role]]
    raise ModelzooError(
        "the prompt is empty, and the tokenizer has no bos or eos token to start from",
        next_step="give a prompt with at least one token",
    )


def duplicate_ranks(prompts: Sequence) -> list[int]:
    """For each prompt, how many equal ones come before it: copies draw different numbers.

    >>> duplicate_ranks(["a", "b", "a"])
    [0, 0, 1]
    """
    counts: dict = {}
    ranks = []
    for prompt in prompts:
        key = prompt if isinstance(prompt, str) else tuple(prompt)
        ranks.append(counts.get(key, 0))
        counts[key] = ranks[-1] + 1
    return ranks


def _limits(stepper: Stepper, prompts: list[list[int]], sampling: Sampling) -> list[int]:
    """Check the prompts; tokens that each row may generate."""
    if not prompts or len(prompts) != stepper.batch_size:
        raise ModelzooError(
            f"{len(prompts)} prompts for a stepper that has {stepper.batch_size} rows"
        )
    if sampling.max_new_tokens is None and stepper.max_length is None:
        raise ModelzooError(
            "max_new_tokens=None goes on to the end of the window, and this model has no window",
            next_step="give max_new_tokens",
        )
    limits = []
    for row, prompt in enumerate(prompts):
        where = f"prompt {row}" if len(prompts) > 1 else None
        if not prompt:
            raise ModelzooError("the prompt has no tokens", where=where)
        for token in (min(prompt), max(prompt)):
            if not 0 <= token < stepper.vocab_size:
                raise ModelzooError(
                    f"token id {token} is outside the vocabulary of {stepper.vocab_size}",
                    where=where,
                    next_step="use the tokenizer that the model was trained with",
                )
        limit = sampling.max_new_tokens
        if stepper.max_length is not None and sampling.when_full == "stop":
            room = stepper.max_length - len(prompt) + 1
            if room < 1:
                raise OverflowTextError(
                    f"the prompt has {len(prompt)} tokens, and the model's window "
                    f"{stepper.max_length}",
                    where=where,
                    next_step='shorten the prompt, or leave out its beginning: when_full="slide"',
                )
            limit = room if limit is None else min(limit, room)
        limits.append(limit)
    return limits


def _start(stepper, tokenizer, prompts, sampling, ranks, logprobs=False) -> Generation:
    """Encode the prompts, stop at the tokenizer's own stop tokens too, and begin."""
    sampling = sampling or Sampling()
    stop_tokens = (*sampling.stop_tokens, *tokenizer.stop_tokens)
    sampling = replace(sampling, stop_tokens=stop_tokens)
    token_ids = [
        encode_prompt(tokenizer, prompt) if isinstance(prompt, str) else list(prompt)
        for prompt in prompts
    ]
    return Generation(stepper, token_ids, sampling, ranks, logprobs=logprobs)


def check_logprobs(stream: bool) -> None:
    """Raise a ModelzooError where pieces of text were asked for as well."""
    if stream:
        raise ModelzooError(
            "logprobs are those of a whole text, and stream gives it in pieces",
            next_step="leave stream out",
        )


def text_pieces(
    generation: Generation, tokenizer, sampling, after: Sequence[Sequence[int]] = ()
) -> Iterator[tuple[int, str]]:
    """(row, piece of text) as soon as a piece is certain.

    Args:
        after: the ids that each row's text continues: SentencePiece's first space belongs to the
            continuation. A reply in a chat continues nothing.
    """
    stop = sampling.stop if sampling else ()
    before = after or [()] * len(generation.tokens)
    rows = [RowText(tokenizer.stream(after=ids), stop) for ids in before]
    for row, token in generation:
        piece = rows[row].push(token)
        if rows[row].stopped:
            generation.stop(row)
        if piece:
            yield row, piece
    for row, text in enumerate(rows):
        piece = text.finish()
        if text.stopped:
            generation.stop(row)
        if piece:
            yield row, piece
