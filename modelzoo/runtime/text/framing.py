"""Token ids with the control tokens around them, the same in training and on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelzoo.errors import OverflowTextError
from modelzoo.runtime.text.roles import missing_role

__all__ = ["frame_source", "join_pair"]


def join_pair(
    roles: Mapping[str, int],
    a: Sequence[int],
    b: Sequence[int] | None = None,
    max_length: int | None = None,
    *,
    truncate: bool = False,
) -> tuple[list[int], list[int]]:
    """[CLS] a [SEP], or [CLS] a [SEP] b [SEP], and the segment of each token (0 or 1).

    A vocabulary without these tokens has a single text as it is. What is too long is cut from the
    end of the longer of the two.

    Raises:
        OverflowTextError: longer than `max_length`, and `truncate` was not asked for.
        TokenizerError: a pair, and no token has the role "sep".
    """
    if b is not None and "sep" not in roles:
        raise missing_role("sep")
    cls = [roles["cls"]] if "cls" in roles else []
    sep = [roles["sep"]] if "sep" in roles else []
    a, rest = list(a), list(b or ())
    if max_length is not None:
        extra = len(cls) + len(sep) * (1 if b is None else 2)
        room = max(0, max_length - extra)
        if len(a) + len(rest) > room:
            if not truncate:
                raise _overflow(len(a) + len(rest) + extra, max_length)
            half = (room + 1) // 2
            a, rest = a[: max(room - len(rest), half)], rest[: max(room - len(a), room - half)]
    first = [*cls, *a, *sep]
    second = [] if b is None else [*rest, *sep]
    return first + second, [0] * len(first) + [1] * len(second)


def frame_source(
    roles: Mapping[str, int],
    ids: Sequence[int],
    max_length: int | None = None,
    *,
    truncate: bool = False,
) -> list[int]:
    """What the encoder of a sequence-to-sequence model reads: [bos] text eos.

    bos stands only where the vocabulary has one of its own (BART has, T5 has not).

    Raises:
        OverflowTextError: longer than `max_length`, and `truncate` was not asked for.
        TokenizerError: no token has the role "eos".
    """
    if "eos" not in roles:
        raise missing_role("eos")
    eos = roles["eos"]
    bos = [roles["bos"]] if roles.get("bos", eos) != eos else []
    if max_length is not None and len(bos) + len(ids) + 1 > max_length:
        if not truncate:
            raise _overflow(len(bos) + len(ids) + 1, max_length)
        ids = ids[: max(0, max_length - 1 - len(bos))]
    return [*bos, *ids, eos]


def _overflow(length: int, max_length: int) -> OverflowTextError:
    return OverflowTextError(
        f"the text has {length} tokens; the model reads {max_length}",
        next_step="shorten the text, or pass truncate=True to cut it",
    )
