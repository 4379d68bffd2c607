"""Text from tokens as they come: only what no later token can change, each token in O(1).

Two ways. A byte-level vocabulary is exact by itself: a token is bytes, and an incremental UTF-8
decoder holds what is not yet a character. Any other decoder is run over a short window, because
what it makes of a token depends on whether another one stands before it (a space, or none).
"""

from __future__ import annotations

import codecs
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_CONTEXT = 4  # tokens before the new one that the decoder sees


class TokenStream(Protocol):
    def push(self, id: int) -> str:
        """The text that is certain now; often "", and never half a character."""
        ...

    def flush(self) -> str:
        """The rest, once no token follows. A character cut off becomes U+FFFD, as in `decode`."""
        ...


class ByteStream:
    """For byte-level vocabularies."""

    def __init__(self, tokenizer, skip_special: bool, prefix: str, cache: dict[int, bytes]):
        self._tokenizer = tokenizer
        self._skip = tokenizer.silent_ids if skip_special else frozenset()
        self._prefix = prefix
        self._cache = cache
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        return "" if id in self._skip else self._utf8.decode(self._bytes(int(id)))

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)

    def _bytes(self, id: int) -> bytes:
        if id not in self._cache:
            token = (self._tokenizer.id_to_token(id) or "").removeprefix(self._prefix)
            to_byte = _bytes_of_characters()
            # An added token may hold characters outside the alphabet: then it is plain text.
            inside = all(character in to_byte for character in token)
            self._cache[id] = bytes(map(to_byte.__getitem__, token)) if inside else token.encode()
        return self._cache[id]


class WindowStream:
    """For all other decoders: WordPiece, Metaspace, byte fallback, none.

    Args:
        after: ids of the text before. The last of them that are text decide what the decoder makes
            of the first new one.
    """

    def __init__(
        self, tokenizer, skip_special: bool, decoder: dict | None, after: Sequence[int] = ()
    ):
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        parts = {part["type"] for part in _parts(decoder)}
        self._has_byte_fallback = "ByteFallback" in parts
        self._has_byte_level = "ByteLevel" in parts  # in an order that ByteStream does not know
        text = (id for id in reversed(after) if self._is_text(id))
        self._context = [*itertools.islice(text, _CONTEXT)][::-1]
        self._pending: list[int] = []

    def push(self, id: int) -> str:
        id = int(id)
        if not self._is_text(id):
            return ""  # must not push visible tokens out of the context
        token = self._tokenizer.id_to_token(id)
        self._pending.append(id)
        if self._has_byte_fallback and _BYTE_TOKEN.fullmatch(token):
            return ""  # bytes are judged as one run: wait for its end
        return self._emit(hold_incomplete=self._has_byte_level)

    def flush(self) -> str:
        return self._emit(hold_incomplete=False)

    def _is_text(self, id: int) -> bool:
        silent = self._skip_special and id in self._tokenizer.silent_ids
        return not silent and self._tokenizer.id_to_token(id) is not None

    def _emit(self, hold_incomplete: bool) -> str:
        if not self._pending:
            return ""
        before = self._decode(self._context)
        text = self._decode(self._context + self._pending)[len(before) :]
        if hold_incomplete and text.endswith("\ufffd"):
            return ""
        self._context = (self._context + self._pending)[-_CONTEXT:]
        self._pending = []
        return text

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special=self._skip_special)


def byte_characters() -> list[str]:
    """The 256 characters of GPT-2's byte-level alphabet: visible Latin-1 stands for itself."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


@functools.cache
def _bytes_of_characters() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(byte_characters())}


def byte_level_decoder(decoder: dict | None) -> str | None:
    """The prefix of continuing tokens, "" where there is none; `None` if not byte-level."""
    parts = list(_parts(decoder))
    if not parts or parts[-1]["type"] != "ByteLevel":
        return None
    if len(parts) == 1:
        return ""
    first = parts[0]
    if len(parts) == 2 and first["type"] == "Replace" and first["content"] == "":
        pattern = first["pattern"].get("Regex", "")
        if re.fullmatch(r"\^#+", pattern):
            return pattern[1:]
    return None


def _parts(decoder: dict | None) -> Iterator[dict]:
    if decoder is None:
        return
    if decoder["type"] == "Sequence":
        for part in decoder["decoders"]:
            yield from _parts(part)
    else:
        yield decoder
