"""Examples that are longer than a model reads: one error or one warning for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from modelzoo.errors import OverflowTextError, warn


def check_lengths(
    lengths: Sequence[int],
    limit: int,
    truncate: bool,
    *,
    what: str = "",
    next_step: str | None = None,
) -> None:
    """Refuse what is longer than `limit`, or warn that it is cut.

    Args:
        lengths: tokens of each example.
        limit: tokens that the model takes.
        truncate: whether the caller cuts what is longer.
        what: which text of an example, "source" for one.
        next_step: what to do about it. Default: to take the length of the longest.

    Raises:
        OverflowTextError: an example is longer, and `truncate` is off.

    Example:
        >>> check_lengths([3, 9], 8, truncate=False)
        Traceback (most recent call last):
        modelzoo.errors.OverflowTextError: example 2 has 9 tokens, and the model takes 8
          next: take a length of 9, or truncate=True
    """
    long = [number for number, length in enumerate(lengths, start=1) if length > limit]
    if not long:
        return
    if not truncate:
        of = f"the {what} of example" if what else "example"
        raise OverflowTextError(
            f"{of} {long[0]} has {lengths[long[0] - 1]} tokens, and the model takes {limit}",
            next_step=next_step or f"take a length of {max(lengths)}, or truncate=True",
        )
    warn(
        f"{len(long)} of {len(lengths)} {what + ' ' if what else ''}texts are longer than {limit} "
        f"tokens (the longest: {max(lengths)}) and are cut"
    )
