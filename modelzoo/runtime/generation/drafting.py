"""Drafts of the next tokens, copied from the text itself and checked in one pass. stdlib only.

Where the last tokens stand earlier in the prompt or the output, what followed them there is likely
to follow again (Yang et al. 2023, "Inference with Reference"; known as prompt lookup). One pass
over a draft gives the logits after each of its tokens. A draft of k right tokens therefore saves k
passes, and a wrong one costs the time by which that pass is longer than a pass of one token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

LONGEST = 4  # tokens that a match is looked for with, at most

# How likely a match of n tokens is followed by the same token again, before a text has shown it:
# rounded from 64 texts of nine kinds by SmolLM2-135M. Other numbers change little.
_CHANCES = {1: 0.2, 2: 0.45, 3: 0.6, 4: 0.8}
_RATE = 0.1  # share of the newest token in a chance

_KEPT = 8  # passes of each length whose times count
_SURE = 3  # passes of a length before its time decides anything
_RETRY = 64  # passes after which a length that rests is tried again


class Lookup:
    """The tokens of a text, and where each run of one to four of them stood last.

    Example:
        >>> text = Lookup([7, 1, 2, 3, 9, 1, 2])
        >>> text.match()
        (2, 3)
        >>> text.continuation(3, 3)
        [3, 9, 1]
    """

    def __init__(self, tokens: Sequence[int] = ()):
        self.tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # run of tokens -> the place after it
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Go on with a token."""
        place = len(self.tokens)
        for size in range(1, min(LONGEST, place) + 1):
            self._after[tuple(self.tokens[place - size :])] = place
        self.tokens.append(token)

    def match(self) -> tuple[int, int] | None:
        """How many of the last tokens stand earlier too, and the place after the latest such run.

        `None` if not even the last token does.
        """
        for size in range(min(LONGEST, len(self.tokens)), 0, -1):
            place = self._after.get(tuple(self.tokens[-size:]))
            if place is not None:
                return size, place
        return None

    def continuation(self, place: int, count: int) -> list[int]:
        """`count` tokens from a place on; past the end of the text it repeats what it found.

        >>> Lookup([1, 2, 1, 2]).continuation(2, 5)
        [1, 2, 1, 2, 1]
        """
        period = len(self.tokens) - place
        return [self.tokens[place + number % period] for number in range(count)]


class PassTimes:
    """How long passes of each length take, as measured while they run.

    The first pass of a length sets up what later ones reuse, so it is kept apart. Of the latest the
    shortest counts: other programs make a pass longer, nothing makes it shorter.

    Attributes:
        first: length -> seconds of its first pass.
        spared: passes that drafts would have spared a text that was written without them.

    Example:
        >>> times = PassTimes()
        >>> for seconds in (9.0, 2.0, 3.0):
        ...     times.add(1, seconds)
        >>> times.first[1], times.of(1), times.of(4)
        (9.0, 2.0, None)
    """

    def __init__(self) -> None:
        self.first: dict[int, float] = {}
        self.spared = 0
        self._latest: dict[int, deque[float]] = {}
        self._passes = 0
        self._last: dict[int, int] = {}  # length -> number of its latest pass

    def add(self, length: int, seconds: float) -> None:
        """A pass of `length` tokens took so long."""
        if length not in self.first:
            self.first[length] = seconds
        else:
            self._latest.setdefault(length, deque(maxlen=_KEPT)).append(seconds)
        self._passes += 1
        self._last[length] = self._passes

    def of(self, length: int) -> float | None:
        """Seconds of a pass of `length` tokens; `None` before one was measured."""
        latest = self._latest.get(length)
        return min(latest) if latest else None

    def ratio(self, length: int) -> float | None:
        """A pass of `length` tokens in passes of one token; `None` before those were measured.

        1 while it is not sure, and once in a while after: so a length is tried, and tried again.
        """
        one, own = self.of(1), self.of(length)
        if one is None:
            return None
        if own is None or len(self._latest[length]) < _SURE:
            return 1.0
        return own / one if self._passes - self._last[length] < _RETRY else 1.0


class Drafter:
    """Proposes drafts for one text, as long as its matches and the times of passes make them pay.

    Args:
        tokens: the prompt.

    Example:
        >>> times = PassTimes()
        >>> for length, seconds in ((1, 9.0), (1, 1.0), (4, 9.0), (4, 1.1), (4, 1.1), (4, 1.1)):
        ...     times.add(length, seconds)
        >>> Drafter([7, 1, 2, 3, 9, 7, 1]).draft((4,), room=64, times=times)
        [2, 3, 9]
    """

    def __init__(self, tokens: Sequence[int]):
        self._lookup, self._chances = Lookup(tokens), dict(_CHANCES)

    def draft(self, lengths: Sequence[int], room: int, times: PassTimes) -> list[int]:
        """The tokens to check in the next pass; none where a pass of one token is worth more.

        Args:
            lengths: tokens T that a pass may take in: the last token of the text and T - 1 more.
            room: tokens that the text may still get.
            times: of the passes.
        """
        found = self._lookup.match()
        if found is None:
            return []
        size, place = found
        best, longest = 1.0, 0  # tokens in the time of a pass of one token
        for length in lengths:
            ratio, count = times.ratio(length), min(length, room) - 1
            if ratio is not None and self._expected(size, count) / ratio > best:
                best, longest = self._expected(size, count) / ratio, count
        return self._lookup.continuation(place, longest)

    def add(self, token: int, times: PassTimes | None = None) -> None:
        """The text goes on with a token, which the match before it foretold or did not.

        Args:
            times: of passes that do not check drafts, to note what these would have spared.
        """
        found = self._lookup.match()
        if found is not None:
            size, place = found
            right = self._lookup.tokens[place] == token
            if times is not None and right and self._chances[size] >= 0.5:
                times.spared += 1
            self._chances[size] += _RATE * (right - self._chances[size])
        self._lookup.add(token)

    def _expected(self, size: int, count: int) -> float:
        """Tokens that a pass with a draft of `count` gives; each right one makes the match longer.

        The token after the last right one comes for free, as in a pass without a draft.
        """
        total, chance = 1.0, 1.0
        for number in range(count):
            chance *= self._chances[min(size + number, LONGEST)]
            total += chance
        return total
