"""How the next token is chosen from logits. numpy only.

Axis letters: B rows of a batch, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

import numpy as np

from modelzoo.errors import ModelzooError, nearest

# Top-p looks at this many most likely tokens first; a peaked distribution, the usual case, never
# needs more, and sorting 256 numbers is free beside sorting a vocabulary of 50,000.
NUCLEUS_GUESS = 256

WHEN_FULL = ("stop", "slide")


def log_prob(logits: np.ndarray, token: int) -> tuple[float, float]:
    """A token's log-probability under logits (V,), and by how much the likeliest's is greater.

    >>> [round(number, 4) for number in log_prob(np.zeros(2), 1)]
    [-0.6931, 0.0]
    """
    logits = logits.astype(np.float64)
    best = logits.max()
    gap = float(best - logits[token])
    return -gap - math.log(np.exp(logits - best).sum()), gap


class SamplingOptions(TypedDict, total=False):
    """The fields of `Sampling`, as keyword arguments of `generate` and the like."""

    max_new_tokens: int | None
    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    stop_tokens: Sequence[int]
    stop: str | Sequence[str]
    seed: int
    when_full: str
    speculate: bool


@dataclass(frozen=True)
class Sampling:
    """What to generate: how many tokens, how they are drawn, and where to stop.

    Args:
        max_new_tokens: tokens to generate at most; None goes on to the end of the window.
        when_full: what happens at the end of the model's window. "stop" ends the row, and rejects
            a prompt that is longer. "slide" leaves out the beginning, half a window at a time:
            the rest is read again from position 0, so that the next token is the one that the
            rest alone, given as a prompt, is continued with.
        temperature: 0 takes the most likely token (the lowest id of equals); above 0, logits are
            divided by it and a token is drawn.
        top_k: draw from the k most likely tokens only.
        top_p: draw from the smallest set of most likely tokens whose probability reaches p; with
            `top_k`, probability among those k.
        repetition_penalty: above 1, tokens of the prompt and of the text so far become less
            likely: their logits are divided by it if positive and multiplied if negative (CTRL).
        stop_tokens: ids that end a row; not part of its output.
        stop: strings that end a row; its text ends before them.
        seed: of the random numbers; the same seed gives the same text.
        speculate: guess tokens from the text so far and check several in one pass, where the model
            can and it pays. The text is the same; what it costs is not.

    Raises:
        ModelzooError: a value out of its range, "slide" without `max_new_tokens`, or `top_k` or
            `top_p` at temperature 0.

    Example:
        >>> Sampling(temperature=0.8, top_p=0.95, seed=7).top_p
        0.95
    """

    max_new_tokens: int | None = 64
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    stop_tokens: Sequence[int] = ()
    stop: Sequence[str] = ()
    seed: int = 0
    when_full: str = "stop"
    speculate: bool = True

    def __post_init__(self):
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        object.__setattr__(self, "stop_tokens", tuple(self.stop_tokens))
        _check("max_new_tokens", self.max_new_tokens, int, "1 or more", lambda n: n >= 1, True)
        _check("temperature", self.temperature, float, "0 or more", lambda t: t >= 0)
        _check("top_k", self.top_k, int, "1 or more", lambda k: k >= 1, True)
        _check("top_p", self.top_p, float, "above 0 and at most 1", lambda p: 0 < p <= 1, True)
        _check("repetition_penalty", self.repetition_penalty, float, "above 0", lambda r: r > 0)
        _check("seed", self.seed, int, "0 or more", lambda s: s >= 0)
        if not isinstance(self.speculate, bool):
            raise ModelzooError(f"speculate must be True or False; got {self.speculate!r}")
        if self.when_full not in WHEN_FULL:
            raise ModelzooError(
                f"when_full must be {' or '.join(map(repr, WHEN_FULL))}; got {self.when_full!r}",
                did_you_mean=nearest(str(self.when_full), WHEN_FULL),
            )
        if self.when_full == "slide" and self.max_new_tokens is None:
            raise ModelzooError(
                "max_new_tokens=None goes on to the end of the window, and a window that slides "
                "has no end",
                next_step="give max_new_tokens",
            )
        for token in self.stop_tokens:
            _check("stop_tokens", token, int, "0 or more", lambda t: t >= 0)
        for text in self.stop:
            _check("stop", text, str, "not empty", bool)
        if self.temperature == 0 and not (self.top_k is None and self.top_p is None):
            name = "top_p" if self.top_k is None else "top_k"
            raise ModelzooError(
                f"{name} has no effect at temperature 0, which always takes the likeliest token",
                next_step="add temperature=1.0",
            )

    @classmethod
    def of(cls, **options) -> Sampling:
        """`Sampling(**options)`, but an unknown option is a ModelzooError with the nearest one."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise ModelzooError(
                    f"unknown generation option {name!r}",
                    did_you_mean=nearest(name, known),
                    next_step=f"the options are {', '.join(known)}",
                )
        return cls(**options)


def _check(name: str, value: Any, kind: type, meaning: str, valid, optional: bool = False) -> None:
    """Refuse a value of another type or out of range; nan fails every comparison."""
    if value is None and optional:
        return
    kinds = {int: (int, np.integer), float: (int, float, np.integer, np.floating), str: str}[kind]
    typed = isinstance(value, kinds) and not isinstance(value, bool)
    if not typed or not valid(value) or (kind is float and value == math.inf):
        article = {int: "a whole number", float: "a number", str: "a string"}[kind]
        raise ModelzooError(f"{name} must be {article}, {meaning}; got {value!r}")


class Sampler:
    """Draws the tokens of one row; keeps that row's random numbers and the tokens it has seen.

    Args:
        sampling: how to draw.
        prompt: ids of the row's prompt, for the repetition penalty.
        rank: how many earlier rows of the batch have the same prompt. The random numbers depend
            on (seed, rank) only, so a batch gives what its prompts give one by one.

    Example:
        >>> Sampler(Sampling(), prompt=[1, 2])(np.array([0.1, 0.7, 0.2], np.float32))
        1
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int] = (), rank: int = 0):
        self._sampling = sampling
        self._rng = np.random.default_rng([sampling.seed, rank])
        self._seen = dict.fromkeys(prompt) if sampling.repetition_penalty != 1.0 else None

    def __call__(self, logits: np.ndarray) -> int:
        """One token id from logits (V,) float32, which are left as they are."""
        sampling = self._sampling
        if self._seen:
            logits = penalized(logits, self._seen, sampling.repetition_penalty)
        if sampling.temperature == 0:
            token = greedy(logits)
        else:
            ids, cumulative = candidates(
                logits, sampling.temperature, sampling.top_k, sampling.top_p
            )
            draw = self._rng.random() * cumulative[-1]
            place = int(np.searchsorted(cumulative, draw, side="right"))
            token = place if ids is None else int(ids[place])
        if self._seen is not None:
            self._seen[token] = None
        return token


def greedy(logits: np.ndarray) -> int:
    """The likeliest token of logits (V,), the lowest id of equals."""
    token = int(logits.argmax())  # argmax stops at the first nan, so this one look finds any
    if not math.isfinite(logits[token]):
        raise _not_numbers()
    return token


def penalized(logits: np.ndarray, seen, penalty: float) -> np.ndarray:
    """A copy of logits (V,) in which the seen ids are less likely, as in CTRL."""
    logits = logits.copy()
    ids = np.fromiter(seen, np.intp, len(seen))
    values = logits[ids]
    logits[ids] = np.where(values > 0, values / penalty, values * penalty)
    return logits


def candidates(
    logits: np.ndarray, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> tuple[np.ndarray | None, np.ndarray]:
    """The tokens that may be drawn and their cumulative weights.

    Args:
        logits: (V,) float32.

    Returns:
        ids (N,), likeliest first, or None for the whole vocabulary in its own order; and the
        running sum (N,) float64 of weights proportional to their probabilities.
    """
    highest = logits.max()
    if not math.isfinite(highest):
        raise _not_numbers()
    ids = None
    if top_k is not None and top_k < logits.size:
        ids = top(logits, top_k)
        logits = logits[ids]
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the highest to exp(-inf)
        weights = np.exp((logits - highest) / np.float32(max(temperature, 1e-30)))
    if top_p is None or top_p == 1.0:
        return ids, np.cumsum(weights, dtype=np.float64)

    total = weights.sum(dtype=np.float64)
    target = top_p * total
    # Tokens below this together weigh less than 1 - p: the nucleus is complete without them.
    likely = np.flatnonzero(weights >= (1 - top_p) * total / weights.size)
    count = NUCLEUS_GUESS
    while True:
        chosen = likely[top(weights[likely], count)]
        cumulative = np.cumsum(weights[chosen], dtype=np.float64)
        if cumulative[-1] >= target or count >= likely.size:
            break
        count *= 8
    size = min(int(np.searchsorted(cumulative, target, side="left")) + 1, chosen.size)
    chosen = chosen[:size]
    return (chosen if ids is None else ids[chosen]), cumulative[:size]


def top(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` highest values (V,), highest first, of equals the lower index."""
    if count >= values.size:
        return np.argsort(-values, kind="stable")
    least = np.partition(values, values.size - count)[values.size - count]
    indices = np.flatnonzero(values >= least)
    if indices.size > count:  # equals at the edge: keep the lowest ids of them
        above = indices[values[indices] > least]
        equal = indices[values[indices] == least]
        indices = np.sort(np.concatenate([above, equal[: count - above.size]]))
    return indices[np.argsort(-values[indices], kind="stable")]


def _not_numbers() -> ModelzooError:
    return ModelzooError(
        "the model's logits are not numbers (nan or infinite)",
        next_step="check the export with `modelzoo verify`, or the training loss for nan",
    )
