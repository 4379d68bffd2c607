"""The words of a text as methods that count words compare them."""

from __future__ import annotations

from modelzoo.runtime.text.words import find_words

__all__ = ["keywords"]


def keywords(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; Chinese characters one by one.

    >>> keywords("The cat, 电影!")
    ['the', 'cat', '电', '影']
    """
    found = (text[start:end].lower() for start, end in find_words(text))
    return [word for word in found if word[-1].isalnum()]
