"""An encoder's signature in several static sizes: which of them a text, or a list, goes through.

The weights are shared, so a bundle holds `serve` for its longest text, `serve_32` for short ones,
and maybe `serve_32x8` for eight at once. The sizes are read from the shapes, not from the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelzoo.runtime.engines.base import SignatureInfo


@dataclass(frozen=True, order=True)
class Size:
    """A signature of `rows` texts with `length` tokens each."""

    length: int
    rows: int
    name: str


def sizes_of(signatures: Mapping[str, SignatureInfo], base: str) -> tuple[Size, ...]:
    """`base` and those that do the same, the shortest and fewest rows first.

    They are called `base`, an underscore and more, and have inputs and outputs of the same names.
    """

    def size(name: str) -> Size:
        rows, length = signatures[name].inputs["token_ids"].shape
        return Size(length, rows, name)

    own = signatures[base]
    return tuple(
        sorted(
            size(name)
            for name, info in signatures.items()
            if name == base
            or (
                name.startswith(f"{base}_")
                and set(info.inputs) == set(own.inputs)
                and set(info.outputs) == set(own.outputs)
            )
        )
    )


def plan_calls(sizes: Sequence[Size], lengths: Sequence[int]) -> list[tuple[Size, list[int]]]:
    """(size, texts) of the calls that read texts of these lengths, none longer than all sizes.

    Each text goes through the shortest that holds it. Of several that need the same length, as
    many as there are rows go together; a call is filled up only where nothing smaller is left.

    >>> plan_calls([Size(8, 1, "a"), Size(8, 2, "b"), Size(16, 1, "c")], [3, 9, 8, 1])
    [(Size(length=8, rows=2, name='b'), [0, 2]), (Size(length=8, rows=1, name='a'), [3]), \
(Size(length=16, rows=1, name='c'), [1])]
    """
    needing: dict[int, list[int]] = {}
    for text, length in enumerate(lengths):
        needed = min(size.length for size in sizes if size.length >= length)
        needing.setdefault(needed, []).append(text)
    calls = []
    for length in sorted(needing):
        left = needing[length]
        fitting = sorted((size for size in sizes if size.length == length), key=lambda s: s.rows)
        while left:
            size = max(
                (size for size in fitting if size.rows <= len(left)),
                key=lambda size: size.rows,
                default=fitting[0],
            )
            calls.append((size, left[: size.rows]))
            left = left[size.rows :]
    return calls
