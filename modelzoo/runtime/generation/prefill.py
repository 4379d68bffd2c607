"""Prompts are read in chunks of static length. numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelzoo.errors import ModelzooError

NOTHING = -1  # the token id that says "no token here"

# A forward pass reads all weights once, whatever its length: about the cost of ten tokens'
# arithmetic. It decides between one half-empty long chunk and several short ones.
PASS_COST = 10


def prefill(stepper, prompts: list[list[int]], start: int = 0, end: int | None = None) -> None:
    """Take in all but each prompt's last token, which the first decode call is for.

    Args:
        start: the state already holds the tokens before this position.
        end: what lies at this position and after it need not be read; where a chunk reaches
            beyond, it holds the prompts' own tokens.

    What a stepper says that it has `kept`, an image at the beginning, is not read again.
    """
    sizes = getattr(stepper, "prefill_lengths", (stepper.prefill_length,))
    kept = getattr(stepper, "kept", 0)
    longest = max(len(prompt) for prompt in prompts) - 1
    if end is not None:
        longest = min(longest, end)
    for at, size in plan_chunks(longest, sizes, stepper.max_length, max(start, kept), kept):
        token_ids = np.full((len(prompts), size), NOTHING, np.int32)
        for row, prompt in enumerate(prompts):
            history = prompt[at : min(at + size, len(prompt) - 1)]
            token_ids[row, : len(history)] = history
        positions = np.arange(at, at + size, dtype=np.int32)
        stepper.prefill(token_ids, np.tile(positions, (len(prompts), 1)))


def left_out(length: int, max_length: int | None) -> int:
    """How many of a history's first tokens a sliding window leaves out: whole halves of it.

    It depends on the length alone, so a text that was generated past the window's end, and the
    same text as a prompt, are read from the same token on.

    >>> [left_out(length, 16) for length in (16, 17, 24, 25)]
    [0, 8, 8, 16]
    """
    if max_length is None or length <= max_length:
        return 0
    half = (max_length + 1) // 2
    return -(-(length - max_length) // half) * half


def shared_start(a: Sequence[int], b: Sequence[int]) -> int:
    """How many items two sequences have in common from their start on.

    >>> shared_start([1, 2, 3], [1, 2, 4])
    2
    """
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return min(len(a), len(b))


def plan_chunks(
    length: int, sizes: Sequence[int], max_length: int | None, start: int = 0, kept: int = 0
) -> list[tuple[int, int]]:
    """(start, size) of the prefill calls that read the tokens from `start` to `length`.

    The size that costs least for each useful token is taken each time. A chunk that would pass the
    end of the window starts earlier instead, and reads again what is already there; but no chunk
    begins before `kept`.

    >>> plan_chunks(10, [4], max_length=11)
    [(0, 4), (4, 4), (7, 4)]
    """
    chunks = []
    sizes = [size for size in sizes if max_length is None or size <= max_length - kept]
    if start < length and not sizes:
        raise ModelzooError("no prefill size of this model fits its window")
    while start < length:
        left = length - start
        size = min(sizes, key=lambda size: ((size + PASS_COST) / min(size, left), -size))
        if max_length is not None and start + size > max_length:
            chunks.append((max_length - size, size))
        else:
            chunks.append((start, size))
        start += size
    return chunks
