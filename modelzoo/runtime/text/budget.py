"""What one rendering of a chat template may use: steps, bytes and seconds. stdlib only.

A template is a stranger's code. Whatever it makes is paid for before it is made: a text by its
length, a list by its elements, and a list in a list in a list by all that it would print. Values
never change while a template runs, so the size of each is found out once.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["MAX_BYTES", "MAX_SECONDS", "MAX_STEPS", "Budget", "Size", "TooMuch"]

# A step is about a tenth of a microsecond. Long conversations have more of each, see `begin`.
MAX_STEPS = 6_000_000
MAX_BYTES = 32_000_000  # of all that is made
MAX_SECONDS = 10.0  # of this thread's own time: what steps and bytes do not see
MAX_BITS = 14_000  # of a whole number; Python prints no more than 4,300 digits
MAX_DIGITS = 300  # of a precision

_LISTS = (list, tuple, dict, type({}.keys()), type({}.values()), type({}.items()))
_SPECIFIER = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(\*|\d+)?(?:\.(\*|\d+))?")
_SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029"


class TooMuch(Exception):
    """The template loops or writes without end, or as good as that."""


class Size(NamedTuple):
    """What a value takes when it is printed or compared.

    Attributes:
        bytes: at most, as Python or JSON shows it.
        count: of the values in it, and in those, itself among them.
        depth: of lists in lists.
    """

    bytes: int
    count: int = 1
    depth: int = 0


class Budget:
    """Counts down from the maxima; `begin` before each rendering."""

    def __init__(self):
        self.begin(None)

    def begin(self, given: Any) -> None:
        """All is left; `given` is what the template reads, and may use again and again."""
        self._known: dict[int, tuple[Any, Size]] = {}
        self._steps = self._bytes = sys.maxsize
        self._look, self._end = 0, time.thread_time() + MAX_SECONDS
        size = self.size(given)
        letters = size.bytes // 6  # a letter counts for six
        self._steps = self._look = MAX_STEPS + 2000 * size.count + 20 * letters
        self._bytes = MAX_BYTES + 64 * letters

    # === Paying ===

    def step(self, count: int = 1) -> None:
        """Pay for the time of `count` nodes or elements."""
        self._steps -= count
        if self._steps < 0:
            raise TooMuch(f"it takes more than {MAX_STEPS:,} steps")
        if self._steps < self._look:
            self._look = self._steps - 10_000
            if time.thread_time() > self._end:
                raise TooMuch(f"it takes more than {MAX_SECONDS:g} seconds")

    def write(self, count: int) -> None:
        """Pay for `count` bytes that are about to be made."""
        self.need(count)
        self._bytes -= count

    def need(self, count: int) -> None:
        """Raise unless this number of bytes is left; they are not paid for."""
        if count > self._bytes:
            raise TooMuch(f"it makes more than {MAX_BYTES:,} bytes of text and lists")

    def read(self, *values: Any) -> None:
        """Pay for a comparison of these values with others."""
        for value in values:
            if isinstance(value, str | bytes):
                self.step(len(value) >> 10)
            elif isinstance(value, _LISTS):
                size = self.size(value)
                self.step(size.count + (size.bytes >> 10))

    def print(self, *values: Any) -> None:
        """Pay for these values as text."""
        self.write(sum(self.text_size(value) for value in values))

    def made(self, value: Any) -> Any:
        """Pay for a new value and return it."""
        if isinstance(value, str | bytes):
            self.write(sys.getsizeof(value))
        elif isinstance(value, _LISTS):
            self.write(64 + (100 if isinstance(value, dict) else 8) * len(value))
            self.size(value)
        elif isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise TooMuch(f"it makes a number of more than {MAX_BITS:,} bits")
        return value

    def counted(self, values: Iterable) -> Iterator:
        """The same values; each is paid for when it comes."""
        for value in values:
            self.step(8)
            yield value

    # === Sizes ===

    def text_size(self, value: Any) -> int:
        """Bytes of `str(value)`, at most."""
        return sys.getsizeof(value) if isinstance(value, str) else self.size(value).bytes

    def size(self, value: Any) -> Size:
        """What a value takes inside of a list that is printed."""
        if isinstance(value, str | bytes):
            return Size(8 + len(value) * (6 if value.isascii() else 12))
        if isinstance(value, int):
            return Size(8 + value.bit_length() // 3)
        if not isinstance(value, _LISTS):
            return Size(100)
        if id(value) in self._known:
            return self._known[id(value)][1]
        self.step(4 * len(value))
        total, count, depth = 16, 1, 0
        for part in _parts(value):
            size = self.size(part)
            total, count, depth = total + size.bytes, count + size.count, max(depth, size.depth)
        if total > self._bytes:
            raise TooMuch("it makes a list that holds too much")
        found = Size(total, count, depth + 1)
        # A plain list is measured again as fast, unless it is read all the time.
        if depth or self._bytes == sys.maxsize:
            self._bytes -= 256
            self._known[id(value)] = value, found
        return found

    # === Operations ===

    def operator(self, sign: str, left: Any, right: Any) -> None:
        """Pay for what an operator makes."""
        if sign == "+" and isinstance(left, str) and isinstance(right, str):
            both = 1 if left.isascii() and right.isascii() else 4
            self.write(64 + both * (len(left) + len(right)))
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length(), right.bit_length()
            if sign == "**" and max(bits[0], 1) * abs(right) > MAX_BITS and abs(left) > 1:
                raise TooMuch("what ** gives is too large")
            if (sum(bits) if sign == "*" else max(bits)) > MAX_BITS:
                raise TooMuch(f"what {sign} gives is too large")
        elif sign == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | bytes | list | tuple) and isinstance(times, int):
                    self.write(64 + width(one) * len(one) * max(times, 0))
        elif sign == "+" and isinstance(left, str | bytes | list | tuple):
            both = max(width(left), width(right))
            self.write(64 + both * (len(left) + (len(right) if hasattr(right, "__len__") else 0)))
        elif sign == "%" and isinstance(left, str | bytes):
            self.percent(left, right)

    def percent(self, text: str | bytes, values: Any) -> None:
        """Pay for `text % values`."""
        found = _SPECIFIER.findall(text if isinstance(text, str) else text.decode("latin-1"))
        several = values if isinstance(values, tuple) else (values,)
        numbers = [abs(value) for value in several if isinstance(value, int)]
        widest = max(numbers, default=0)
        sizes = [self.size(value).bytes for value in several]
        if isinstance(values, Mapping):
            sizes *= len(found)
        fields = (field for pair in found for field in pair if field)
        self.write(sum(sizes) + sum(widest if f == "*" else number(f) for f in fields))
        self.write(width(text) * len(text))

    def replace(self, text: Any, old: Any, new: Any) -> None:
        """Pay for `text.replace(old, new)`, of texts or of bytes."""
        length = len(text) if isinstance(text, str | bytes) else self.size(text).bytes
        plain = isinstance(text, str | bytes) and isinstance(old, type(text)) and len(old)
        times = _count(text, old) if plain else length + 1
        self.write(max(width(text), width(new)) * (length + times * self._length(new)))

    def join(self, between: Any, parts: list) -> None:
        """Pay for `between.join(parts)`."""
        self.print(*parts)
        self.write(max(width(between), 1) * self._length(between) * len(parts))

    def split(self, text: Any, at: Any) -> None:
        """Pay for the pieces of a text."""
        if isinstance(at, str | bytes) and len(at):
            pieces = _count(text, at)
        else:
            spaces = _SPACES if isinstance(text, str) else _SPACES.encode("latin-1", "ignore")
            pieces = sum(_count(text, spaces[n : n + 1]) for n in range(len(spaces)))
        self.write(64 * (pieces + 1) + width(text) * len(text))

    def precision(self, digits: Any) -> None:
        """Refuse a rounding to more digits than a float has."""
        if number(digits) > MAX_DIGITS:
            raise TooMuch(f"it rounds to more than {MAX_DIGITS} digits")

    def _length(self, value: Any) -> int:
        return len(value) if isinstance(value, str | bytes) else self.size(value).bytes


def number(value: Any) -> int:
    """The size of a number, or of digits; 0 of anything else."""
    if isinstance(value, str):
        # More digits than that are more than there ever is.
        return int(value[:12]) if value[:12].isdecimal() else 0
    return abs(value) if isinstance(value, int) else 0


def width(value: Any) -> int:
    """Bytes of an element: 1 to 4 of a letter, 8 of anything else."""
    if isinstance(value, str):
        return 1 if value.isascii() else 4
    return 1 if isinstance(value, bytes) else 8


def _count(text: Any, part: Any) -> int:
    """How often a part is in a text, or in bytes."""
    return text.count(part)


def _parts(value: Any) -> Iterator:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    else:
        yield from value
