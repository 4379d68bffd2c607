"""Words of a text, the tokens of each, and the spans that tags over words give.

Training and devices read these functions both, so that a word has the same tokens in either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from modelzoo.runtime.text.framing import pair_frame

__all__ = ["Place", "entities", "find_words", "frame_words", "is_bio", "join_words", "surfaces"]
__all__ += ["stray_inside", "windows"]

Place = tuple[int, int]  # where a word begins in its text, and where it ends

# Scripts that are written without spaces: each character is a word.
_ALONE = "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_ALONE += "\U00020000-\U0003ffff"
_WORD = (
    rf"[{_ALONE}]"
    r"|\d+(?:[.,]\d+)+"  # 1,000 and 2.5
    rf"|[^\W{_ALONE}]+"
    r"|(?<=\w)['’]\w{1,2}\b"  # 's, 're
    r"|\S"
)
_STANDS_ALONE = rf"[{_ALONE}\u3000-\u303f\uff00-\uffef]"
_BIO = re.compile(r"[BIES]-.")
_pattern = cache(re.compile)  # tables of Unicode take milliseconds, and few bundles need them


def find_words(text: str) -> list[Place]:
    """Where the words of a text are; punctuation marks and Chinese characters are words.

    >>> text = "Merkel's trip: 北京"
    >>> [text[start:end] for start, end in find_words(text)]
    ['Merkel', "'s", 'trip', ':', '北', '京']
    """
    return [found.span() for found in _pattern(_WORD).finditer(text)]


def join_words(words: Sequence[str]) -> tuple[str, list[Place]]:
    """The text of some words, and where each is in it: a space between two, but none in Chinese.

    >>> join_words(["to", "Paris"])
    ('to Paris', [(0, 2), (3, 8)])
    >>> join_words(["北", "京"])[0]
    '北京'
    """
    text, places, alone = "", [], _pattern(_STANDS_ALONE)
    for word in words:
        if text and not (alone.match(text[-1]) and alone.match(word)):
            text += " "
        places.append((len(text), len(text) + len(word)))
        text += word
    return text, places


def surfaces(text: str, places: Sequence[Place]) -> list[str]:
    """Each word as it is encoded: with a space before it where its text has one.

    >>> surfaces("to Paris.", [(0, 2), (3, 8), (8, 9)])
    ['to', ' Paris', '.']
    """
    return [
        (" " if start and text[start - 1].isspace() else "") + text[start:end]
        for start, end in places
    ]


def frame_words(
    tokenizer, words: Sequence[Sequence[int]], length: int
) -> tuple[list[int], list[int], list[int]]:
    """Token ids in their frame, the segment of each, and where the first token of each word is.

    Args:
        words: the tokens of each; of words whose first token does not fit there is no place.
        length: tokens at most.
    """
    ids: list[int] = []
    firsts: list[int] = []
    for word in words:
        firsts.append(len(ids))
        ids += word
    before, room = _frame(tokenizer, length)
    framed, segments = tokenizer.frame_pair(ids, None, length, truncate=True)
    return framed, segments, [before + first for first in firsts if first < room]


def windows(tokenizer, lengths: Sequence[int], length: int, overlap: float = 0.0) -> list[Place]:
    """(first word, end) of the parts in which a text is read: each is as long as fits.

    Args:
        lengths: tokens of each word. Of a word that is longer than a part, its beginning is read.
        length: tokens of a part, with its frame.
        overlap: the share of a part that the next one reads again, in whole words.
    """
    _, room = _frame(tokenizer, length)
    found, first = [], 0
    while True:
        end, used = first, 0
        while end < len(lengths) and (end == first or used + lengths[end] <= room):
            used += lengths[end]
            end += 1
        found.append((first, end))
        if end == len(lengths):
            return found
        # The next word has to fit after those that are read again.
        first, again = end, min(overlap * room, room - lengths[end]) - lengths[end - 1]
        while again >= 0 and first - 1 > found[-1][0]:
            first -= 1
            again -= lengths[first - 1]


def _frame(tokenizer, length: int) -> tuple[int, int]:
    """Control tokens before a text, and tokens that are left for the text itself."""
    pieces = [piece for piece, _ in (tokenizer.frame or pair_frame(tokenizer.roles)).single]
    return pieces.index("A"), max(1, length - len(pieces) + 1)


def is_bio(labels: Sequence[str]) -> bool:
    """Whether tags say where spans begin (B-PER), go on (I-PER, E-PER) or stand alone (S-PER).

    >>> is_bio(["O", "B-PER", "I-PER"]), is_bio(["NOUN", "VERB"])
    (True, False)
    """
    return any(map(_BIO.match, labels)) and all(tag == "O" or _BIO.match(tag) for tag in labels)


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first word, end) of each span, as `seqeval` reads tags by default.

    A span begins at B- or S-, and at any tag of a type that the word before it has not.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    found: list[tuple[str, int, int]] = []
    before = ("O", "")
    for at, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix != "O":
            begins = prefix in "BS" or before[0] in "OES" or before[1] != kind
            first = at if begins else found.pop()[1]
            found.append((kind, first, at + 1))
        before = (prefix, kind)
    return found


def stray_inside(tags: Sequence[str]) -> Iterator[int]:
    """The words that go on with a span that none before them has begun.

    >>> list(stray_inside(["I-PER", "I-PER", "I-LOC"]))
    [0, 2]
    """
    for at, tag in enumerate(tags):
        before = tags[at - 1] if at else "O"
        ended = before[0] in "OES" or before[2:] != tag[2:]
        if tag[0] in "IE" and ended:
            yield at
