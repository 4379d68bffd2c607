"""Text to token ids and back: one `tokenizer.json`, the same on the device as in training.

`Tokenizer` is a thin wrapper around Hugging Face `tokenizers`. What it adds:

- roles: which token pads, ends, separates, masks, whatever it is called in this vocabulary;
- text stays text: a literal "<|endoftext|>" in it never becomes the control token;
- Chinese comes back without spaces between its characters;
- text as it is generated (`stream`), never half a character.
"""

from __future__ import annotations

import binascii
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders

from modelzoo.errors import ModelzooError, TokenizerError, parsing
from modelzoo.files import read_file, write_atomic
from modelzoo.runtime.text.cutting import can_be_cut, cut
from modelzoo.runtime.text.framing import (
    frame_of,
    pair_frame,
    source_frame,
    unknown_post_processor,
)
from modelzoo.runtime.text.roles import WELL_KNOWN, find_roles, missing_role
from modelzoo.runtime.text.token_stream import (
    ByteStream,
    TokenStream,
    WindowStream,
    byte_level_decoder,
)

__all__ = ["Tokenizer"]

# Han, kana, bopomofo and their full-width punctuation: writing without spaces. Hangul has spaces.
_PUNCTUATION = (
    "\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_CJK = (
    _PUNCTUATION + "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_CJK += "\U00020000-\U0003ffff"
_SPACE_IN_CJK = re.compile(
    f"(?<=[{_CJK}]) (?=[{_CJK}])|(?<=[{_PUNCTUATION}]) | (?=[{_PUNCTUATION}])"
)
# Whisper's added tokens for seconds. They are not marked special, and are not part of the text.
_TIMESTAMP = re.compile(r"<\|\d+\.\d\d\|>")
_HEARS = "<|startoftranscript|>"
_CHARSMAP = re.compile(r'"precompiled_charsmap"\s*:\s*"([A-Za-z0-9+/=\\]*)"')
_MOST_BYTES = 256 << 20  # of a tokenizer.json; the largest have a tenth of it


def backend_of(
    text: str,
    where: object,
    error: type[ModelzooError],
    next_step: str,
    what: str = "not a tokenizer.json, or cut off",
) -> tokenizers.Tokenizer:
    """The tokenizer of the library for the text of a `tokenizer.json`.

    Raises:
        error: it is none; or a part of it is of a kind that the library ends the process for.
    """
    with parsing(where, error, what, next_step=next_step):
        _check_charsmap(text)
        try:
            return tokenizers.Tokenizer.from_str(text)
        except Exception as problem:  # tokenizers raises the bare base class
            wrong = unknown_post_processor(text)
            if wrong is not None:
                raise error(wrong, where=where, next_step=next_step) from problem
            raise


def _check_charsmap(text: str) -> None:
    """
    Raises:
        ValueError: a SentencePiece normaliser that states a larger table than it has. The library
            asks for that much memory, up to 8 GB, and ends the process where there is less.
    """
    for found in _CHARSMAP.finditer(text) if '"precompiled_charsmap"' in text else ():
        head = binascii.a2b_base64(found[1][:8].ljust(8, "A"))
        stated, there = int.from_bytes(head[:4], "little"), len(found[1]) * 3 // 4
        if stated > there:
            raise ValueError(f"precompiled_charsmap states {stated:,} bytes and has {there:,}")


class Tokenizer:
    """A `tokenizers.Tokenizer` with roles.

    Args:
        backend: the Hugging Face tokenizer to wrap. It is taken over: truncation and padding are
            switched off, and special tokens in text are encoded as the text they are.
        roles: role -> token or id, over what the well-known names give: `{"eos": "<|im_end|>"}`;
            "" or `None` for a role that no token has.
        stop_tokens: tokens that end a text, besides eos.

    Attributes:
        roles: role -> id, of pad, bos, eos, unk, cls, sep, mask and start those that there are.
        stop_tokens: ids that end a text, eos among them.
        prefix: ids that the file itself puts before a text, a bos for one.
        special_ids: ids of all control tokens.
        silent_ids: ids that `decode` leaves out: control tokens, and Whisper's timestamps.
        frame: what the file puts around one text and around two; `None` where it does not say.
        vocab_size: highest id + 1, what an embedding table needs.

    Example:
        >>> tokenizer = Tokenizer.load("tokenizer.json")
        >>> tokenizer.decode(tokenizer.encode("你好, world"))
        '你好, world'
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        roles: Mapping[str, str | int | None] | None = None,
        stop_tokens: Iterable[str] = (),
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True
        if backend.decoder is None and type(backend.model).__name__ == "WordPiece":
            prefix = backend.model.continuing_subword_prefix
            backend.decoder = decoders.WordPiece(prefix=prefix, cleanup=True)
        self._backend = backend
        vocabulary = backend.get_vocab()
        added = backend.get_added_tokens_decoder()
        self.vocab_size: int = max(vocabulary.values(), default=-1) + 1
        self.special_ids: frozenset[int] = frozenset(
            id for id, token in added.items() if token.special
        )
        hears = _HEARS in vocabulary
        self.silent_ids: frozenset[int] = self.special_ids | {
            id for id, token in added.items() if hears and _TIMESTAMP.fullmatch(token.content)
        }
        self.frame = frame_of(backend)
        self.roles: dict[str, int] = find_roles(vocabulary, roles)
        self.stop_tokens: frozenset[int] = frozenset(
            find_roles(vocabulary, {"eos": token})["eos"] for token in stop_tokens
        ) | ({self.roles["eos"]} if "eos" in self.roles else set())
        self.prefix: tuple[int, ...] = tuple(
            itertools.takewhile(self.special_ids.__contains__, backend.encode("a").ids)
        )

        decoder = None if backend.decoder is None else json.loads(backend.decoder.__getstate__())
        self._decoder = decoder
        self._byte_level = byte_level_decoder(decoder)
        self._is_wordpiece = bool(decoder) and decoder["type"] == "WordPiece"
        self._can_be_cut = can_be_cut(backend)
        self._token_bytes: dict[int, bytes] = {}
        # SentencePiece vocabularies hold "</s>" as a piece of text too: the model itself would turn
        # the literal into the control token. Such ids become unk.
        special = sorted(self.special_ids - {self.roles.get("unk")})
        encoded = self._raw_encode_batch([backend.id_to_token(id) or "" for id in special])
        self._injected = {id for id, ids in zip(special, encoded, strict=True) if id in ids}

    # === Reading and writing ===

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        roles: Mapping[str, str | int | None] | None = None,
        stop_tokens: Iterable[str] = (),
    ) -> Tokenizer:
        """Reads a `tokenizer.json`, or the one in a directory.

        Raises:
            TokenizerError: there is none, or it is cut off, or no tokenizer.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "tokenizer.json"
        if not path.exists():
            raise TokenizerError(
                f"no such tokenizer file: {path}",
                next_step="modelzoo tokenizer train --data PATH --vocab-size N -o tokenizer.json",
            )
        raw = read_file(path, TokenizerError, "the tokenizer", most=_MOST_BYTES)
        with parsing(path, TokenizerError, "cannot read the tokenizer"):
            text = raw.decode("utf-8-sig")
        return cls.from_str(text, roles, stop_tokens, where=path)

    @classmethod
    def from_str(
        cls,
        text: str,
        roles: Mapping[str, str | int | None] | None = None,
        stop_tokens: Iterable[str] = (),
        *,
        where: object = None,
    ) -> Tokenizer:
        """Reads the text of a `tokenizer.json`; `where` is named in errors."""
        again = "copy it from its source again, or `modelzoo tokenizer train` one"
        backend = backend_of(text, where, TokenizerError, again)
        with parsing(where, TokenizerError, "this tokenizer is damaged", next_step=again):
            return cls(backend, roles, stop_tokens)

    def to_str(self) -> str:
        return self._backend.to_str(pretty=True)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a `tokenizer.json` that any Hugging Face tool opens; never half of one.

        Raises:
            OutputError: the folder is missing or not writable; the path is as it was.
        """
        write_atomic(path, self.to_str())

    # === Text to ids ===

    def encode(self, text: str, *, allow: Iterable[str] = ()) -> list[int]:
        """The ids of a text, no control token added.

        Args:
            text: any text. Control tokens spelled out in it are text.
            allow: roles whose literal does count: `("mask",)` for "Paris is the [MASK] of France".
                One space before it belongs to the token that it stands for, and is dropped.
        """
        allowed = [self.role(role) for role in allow]
        literals = {token: id for id in allowed if (token := self.id_to_token(id)) is not None}
        if not literals:
            return self.encode_batch([text])[0]
        pattern = " ?(" + "|".join(map(re.escape, literals)) + ")"
        ids: list[int] = []
        for index, part in enumerate(re.split(pattern, text)):
            if index % 2:
                ids.append(literals[part])
            elif part:
                ids += self.encode(part)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, on all cores."""
        texts = list(texts)
        pieces = [cut(text) if self._can_be_cut else [text] for text in texts]
        encoded = iter(self._raw_encode_batch([piece for text in pieces for piece in text]))
        batch = [[id for _ in text for id in next(encoded)] for text in pieces]
        if self._injected:
            unk = self.roles.get("unk")
            batch = [[unk if id in self._injected else id for id in ids] for ids in batch]
            batch = [[id for id in ids if id is not None] for ids in batch]
        return batch

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """As `encode_batch`, with the characters of each token: its first, and one after its last.

        Some tokenizers count the space before a word as a part of it.

        Example:
            >>> Tokenizer.load("tokenizer.json").encode_offsets(["a b"])[0][1]
            [(0, 1), (1, 2), (2, 3)]
        """
        pieces = [cut(text) if self._can_be_cut else [text] for text in texts]
        encoded = iter(self._encodings([piece for text in pieces for piece in text], fast=False))
        unk, batch = self.roles.get("unk"), []
        for text in pieces:
            ids: list[int] = []
            offsets: list[tuple[int, int]] = []
            begun = 0
            for piece in text:
                one = next(encoded)
                for id, (start, end) in zip(one.ids, one.offsets, strict=True):
                    id = unk if id in self._injected else id
                    if id is not None:
                        ids.append(id)
                        offsets.append((begun + start, begun + end))
                begun += len(piece)
            batch.append((ids, offsets))
        return batch

    def encode_pair(
        self,
        text_a: str,
        text_b: str | None = None,
        max_length: int | None = None,
        *,
        truncate: bool = False,
        allow: Iterable[str] = (),
    ) -> tuple[list[int], list[int]]:
        """[CLS] a [SEP], or [CLS] a [SEP] b [SEP], and the segment of each token (0 or 1).

        The file's post-processor says what stands where: RoBERTa's pairs have two separators.

        Raises:
            OverflowTextError: longer than `max_length`, and `truncate` was not asked for.
            TokenizerError: a pair, no post-processor, and no token has the role "sep".
        """
        b = None if text_b is None else self.encode(text_b, allow=allow)
        a = self.encode(text_a, allow=allow)
        return self.frame_pair(a, b, max_length, truncate=truncate)

    def frame_pair(
        self,
        a: Sequence[int],
        b: Sequence[int] | None = None,
        max_length: int | None = None,
        *,
        truncate: bool = False,
    ) -> tuple[list[int], list[int]]:
        """As `encode_pair`, of ids without control tokens."""
        frame = self.frame or pair_frame(self.roles)
        return frame.join(a, b, max_length, truncate=truncate)

    def around_second(self, length: int) -> tuple[int, int]:
        """How many tokens a pair has before its second text and after it.

        Args:
            length: tokens of the first.

        Example:
            >>> Tokenizer.load("bert.bundle").around_second(7)  # [CLS] a [SEP] b [SEP]
            (9, 1)
        """
        frame = self.frame or pair_frame(self.roles)
        if frame.pair is None:
            raise missing_role("sep")
        pieces = [piece for piece, _ in frame.pair]
        at = pieces.index("B")
        before = sum(length if piece == "A" else 1 for piece in pieces[:at])
        return before, sum(length if piece == "A" else 1 for piece in pieces[at + 1 :])

    def encode_source(
        self, text: str, max_length: int | None = None, *, truncate: bool = False
    ) -> list[int]:
        """[bos] text eos, what an encoder-decoder reads; bos where it is not eos itself.

        A file with a post-processor has its frame instead.

        Raises:
            OverflowTextError: longer than `max_length`, and `truncate` was not asked for.
            TokenizerError: no post-processor, and no token has the role "eos".
        """
        return self.frame_source(self.encode(text), max_length, truncate=truncate)

    def frame_source(
        self, ids: Sequence[int], max_length: int | None = None, *, truncate: bool = False
    ) -> list[int]:
        """As `encode_source`, of ids without control tokens."""
        frame = self.frame or source_frame(self.roles)
        return frame.join(ids, None, max_length, truncate=truncate)[0]

    # === Ids to text ===

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """The text of ids; ids that the vocabulary does not hold are left out."""
        silent = self.silent_ids if skip_special else ()
        ids = [int(id) for id in ids if 0 <= id < self.vocab_size and id not in silent]
        with parsing(None, TokenizerError, "these tokens cannot be decoded"):
            text = self._backend.decode(ids, skip_special_tokens=skip_special)
        return _SPACE_IN_CJK.sub("", text) if self._is_wordpiece else text

    def stream(self, skip_special: bool = True, after: Sequence[int] = ()) -> TokenStream:
        """Decodes one token at a time: `push(id)` and, at the end, `flush()`.

        All that they return, joined, is exactly `decode` of all the ids.

        Args:
            after: ids that the text continues. Their text is not returned; it decides whether the
                first word has a space before it (SentencePiece, WordPiece).
        """
        if self._byte_level is not None:
            return ByteStream(self, skip_special, self._byte_level, self._token_bytes)
        before = after if self._decoder else ()  # without a decoder tokens are but listed
        return WindowStream(self, skip_special, self._decoder, before)

    # === Vocabulary ===

    def token_to_id(self, token: str) -> int | None:
        return self._backend.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        return self._backend.id_to_token(id) if 0 <= id < self.vocab_size else None

    @property
    def stated_roles(self) -> dict[str, int | None]:
        """`roles`, and `None` for each that a well-known name would give and no token has."""
        denied = [
            role
            for role, names in WELL_KNOWN.items()
            if role not in self.roles and any(self.token_to_id(name) is not None for name in names)
        ]
        return {**self.roles, **dict.fromkeys(denied)}

    def role(self, role: str) -> int:
        """The id that has a role.

        Raises:
            TokenizerError: no token has it.
        """
        if role not in self.roles:
            raise missing_role(role)
        return self.roles[role]

    def tokens(self, text: str) -> list[tuple[int, str, str]]:
        """(id, token, text) of each token, to look at. Half a character shows as U+FFFD."""
        return [
            (id, self.id_to_token(id) or "", self.decode([id], False)) for id in self.encode(text)
        ]

    def __repr__(self) -> str:
        model = type(self._backend.model).__name__
        return f"Tokenizer({model}, vocab_size={self.vocab_size}, roles={self.roles})"

    def __reduce__(self) -> tuple:
        stops = [self.id_to_token(id) for id in self.stop_tokens]
        return _restore, (self.to_str(), self.stated_roles, stops)

    # === Helpers ===

    def _raw_encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._encodings(texts)]

    def _encodings(self, texts: list[str], fast: bool = True) -> list[tokenizers.Encoding]:
        """
        Args:
            fast: without offsets.
        """
        encode = self._backend.encode_batch_fast if fast else self._backend.encode_batch
        with parsing(None, TokenizerError, "this text cannot be encoded"):
            try:
                return encode(texts, add_special_tokens=False)
            except TypeError as error:
                raise _not_text(texts, error) from error


def _restore(text: str, roles: dict[str, int | None], stop_tokens: list[str]) -> Tokenizer:
    return Tokenizer.from_str(text, roles, stop_tokens)


def _not_text(texts: list, error: TypeError) -> TokenizerError:
    for text in texts:
        if not isinstance(text, str):
            return TokenizerError(f"a text must be str, not {type(text).__name__}")
        at = re.search("[\ud800-\udfff]", text)
        if at:
            return TokenizerError(
                f"the text holds a lone surrogate ({at.group()!a}) at character {at.start()}",
                next_step='read it with errors="replace"',
            )
    return TokenizerError(f"this text cannot be encoded: {error}")
