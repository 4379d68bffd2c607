"""A row's tokens as text: streamed, and ended before a stop string. stdlib only."""

from __future__ import annotations

from collections.abc import Sequence


class RowText:
    """One row's tokens as text that ends before the first stop string to be completed."""

    def __init__(self, stream, stop: Sequence[str]):
        self._stream = stream
        self._stop = stop
        self._held = ""  # may be the beginning of a stop string
        self.stopped = False

    def push(self, token: int) -> str:
        return self._filter(self._stream.push(token))

    def finish(self) -> str:
        """The rest, once no token follows."""
        if self.stopped:
            return ""
        text = self._filter(self._stream.flush())
        return text if self.stopped else text + self._held

    def _filter(self, text: str) -> str:
        if not self._stop:
            return text
        text = self._held + text
        spots = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if spots:  # the one that is complete first, whatever pieces the text came in
            self.stopped = True
            return text[: min(spots)[1]]
        held = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`.

    >>> _overlap("the en", "end")
    2
    """
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
