"""Cuts text into sentences, English and Chinese alike, and loses no character."""

from __future__ import annotations

import itertools
import re

__all__ = ["split_sentences"]

# A sentence ends after "." and the like before white space, after "。" and the like anywhere, each
# with its closing quotes and brackets, and before an empty line. The white space begins the next
# sentence: byte-level vocabularies hold words together with the space before them.
_END = re.compile(r"""[.!?]+["'”’)\]]*(?=\s)|[。！？；…]+[”’」』）】]*|(?<=\S)(?=\s*\n\s*\n)""")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text; joined they are the text.

    >>> split_sentences("It rains. Really? 下雨了。是吗？")
    ['It rains.', ' Really?', ' 下雨了。', '是吗？']
    """
    cuts = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(cuts) if start < end]
    if len(pieces) > 1 and not pieces[-1].strip():
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces
