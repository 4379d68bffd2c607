"""A tokenizer with fewer pieces that reads some texts exactly as the whole one does.

Which pieces these texts need, by kind of vocabulary, so that removing all others changes nothing:

- BPE: the pieces of the texts, and each piece that was merged on the way to them. The merge with
  the best rank comes first; as long as it is there, no merge that is missing could have been it.
- Unigram: the pieces of the texts. The best path through all pieces is the best through fewer. The
  piece with the lowest score stays, since the score of an unknown character is below it.
- WordPiece: the pieces of the texts. The longest match stays the longest. Of a word that is unknown
  the matches stay that come before the place where nothing matches.

Any other text still comes back: the bytes of a vocabulary with byte fallback stay, and elsewhere
each piece that pieces of one letter cannot spell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from modelzoo.errors import ExportError
from modelzoo.runtime.text.tokenizer import Tokenizer

__all__ = ["Smaller", "kept_rows", "smaller_tokenizer"]

_SPACE = "\u2581"  # SentencePiece's; as bytes it would not come back as a space
_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_BATCH = 512  # texts that are encoded at once


@dataclass(frozen=True)
class Smaller:
    """What is left of a tokenizer.

    Attributes:
        tokenizer: with ids from 0 on, in the order of the old ones.
        rows: the old id of each id.
        needed: tokens without which the texts would be read in another way, or others lost.
    """

    tokenizer: Tokenizer
    rows: tuple[int, ...]
    needed: int


def smaller_tokenizer(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    size: int | None = None,
    stay: Iterable[int] = (),
) -> Smaller:
    """Remove the tokens that no text needs.

    Args:
        texts: they keep their pieces.
        size: fill up to this number of tokens, with the pieces that the tokenizer itself ranks
            most frequent. Default: what is needed and no more.
        stay: ids that are needed besides those of the texts; control tokens and all other added
            ones stay in any case.

    Raises:
        ExportError: a kind of vocabulary that cannot be cut, a `size` below what is needed or
            above what the tokenizer has, or a tokenizer that cannot be numbered again.

    Example:
        >>> tokenizer = Tokenizer.load("tokenizer.json")
        >>> less = smaller_tokenizer(tokenizer, ["In the beginning"])
        >>> less.tokenizer.decode(less.tokenizer.encode("God said")), less.needed < 300
        ('God said', True)
    """
    whole = json.loads(tokenizer.to_str())
    pieces = _pieces_of(whole["model"], whole["decoder"])
    added = {token["content"]: token["id"] for token in whole["added_tokens"]}
    framed: list[int] = []
    _renumbered(whole["post_processor"], lambda id: framed.append(id) or id)
    used = {*stay, *framed, *tokenizer.roles.values(), *tokenizer.stop_tokens}
    for batch in _batches(texts):
        used.update(*tokenizer.encode_batch(batch))
    wanted = {tokenizer.id_to_token(id) for id in used} | added.keys() | pieces.always
    kept = pieces.closed(wanted | set(_before_unknown(pieces, tokenizer, texts)))

    outside = len(added.keys() - pieces.vocab.keys())
    needed, there = len(kept) + outside, len(added.keys() | pieces.vocab.keys())
    if size is not None:
        _check_size(size, needed, there)
        pieces.fill(kept, size - outside)
    rows = sorted({*added.values(), *(pieces.vocab[piece] for piece in kept)})
    found = Smaller(_numbered(tokenizer, whole, pieces, kept, rows), tuple(rows), needed)
    _check(tokenizer, found, texts)
    return found


def kept_rows(whole: Tokenizer, smaller: Tokenizer) -> tuple[int, ...]:
    """The id in `whole` of each id of a tokenizer that was cut from it.

    Raises:
        ExportError: it was cut from another one.
    """
    tokens = [smaller.id_to_token(id) for id in range(smaller.vocab_size)]
    rows = [None if token is None else whole.token_to_id(token) for token in tokens]
    found = tuple(row for row in rows if row is not None)
    if len(found) < len(rows):
        missing = tokens[rows.index(None)]
        raise ExportError(
            f"the bundle's tokenizer has {missing!r}, which the model's has not: its vocabulary "
            "was cut from another one",
            next_step="compare it with the model directory that it was exported from",
        )
    return found


# === Kinds of vocabularies ===


@dataclass(frozen=True, kw_only=True)
class _Pieces:
    """The pieces of one kind of vocabulary.

    Attributes:
        state: the `model` of a `tokenizer.json`.
        vocab: piece -> id.
        order: all pieces, the most frequent first, as far as the vocabulary says so.
        always: pieces that stay whatever the texts are.
    """

    state: dict[str, Any]
    vocab: dict[str, int]
    order: list[str]
    always: frozenset[str] = frozenset()

    def letters(self, piece: str) -> list[str]:
        """The pieces of one letter that a piece begins as."""
        prefix = self.state.get("continuing_subword_prefix") or ""
        suffix = self.state.get("end_of_word_suffix") or ""
        suffix = suffix if piece.endswith(suffix) else ""
        body = piece.removeprefix(prefix).removesuffix(suffix)
        letters = [prefix + letter for letter in body]
        if letters:
            letters[0] = letters[0] if piece.startswith(prefix) else body[0]
            letters[-1] += suffix
        return letters

    def way(self, piece: str) -> set[str]:
        """The pieces from which one comes about, itself among them."""
        return {piece}

    def cut(self, kept: set[str], number: dict[int, int]) -> dict[str, Any]:
        """The `model` with the kept pieces alone; `number` is old id -> new id."""
        ids = {piece: number[id] for piece, id in self.vocab.items() if piece in kept}
        return {**self.state, "vocab": ids}

    def closed(self, pieces: Iterable[str]) -> set[str]:
        """The pieces that the vocabulary has, with those on the way to them."""
        return {one for piece in pieces if piece in self.vocab for one in self.way(piece)}

    def fill(self, kept: set[str], size: int) -> None:
        """Add the most frequent pieces, each with those on its way, as far as they fit."""
        for piece in self.order:
            if len(kept) == size:
                return
            more = self.way(piece) - kept
            if len(kept) + len(more) <= size:
                kept |= more

    def unspelled(self) -> Iterator[str]:
        """The pieces that pieces of one letter cannot replace, those of one letter included."""
        for piece in self.vocab:
            letters = self.letters(piece)
            if len(letters) < 2 or not all(letter in self.vocab for letter in letters):
                yield piece


@dataclass(frozen=True, kw_only=True)
class _Merged(_Pieces):
    """BPE. `ranks`: the pair of a merge -> its place."""

    ranks: dict[tuple[str, str], int]

    def way(self, piece: str) -> set[str]:
        letters = self.letters(piece)
        found = {piece, *letters} & self.vocab.keys()
        while len(letters) > 1:
            rank, at = min(
                (self.ranks.get(pair, math.inf), at) for at, pair in enumerate(pairwise(letters))
            )
            if rank == math.inf:
                return {piece}  # no merge leads to it: it is taken whole, or never
            letters[at : at + 2] = [_merged(letters[at], letters[at + 1], self.state)]
            found.add(letters[at])
        return found

    def cut(self, kept: set[str], number: dict[int, int]) -> dict[str, Any]:
        merges = [
            [a, b]
            for a, b in self.ranks
            if a in kept and b in kept and _merged(a, b, self.state) in kept
        ]
        return {**super().cut(kept, number), "merges": merges}


@dataclass(frozen=True, kw_only=True)
class _Scored(_Pieces):
    """Unigram, whose vocabulary is a list of pieces and scores."""

    def cut(self, kept: set[str], number: dict[int, int]) -> dict[str, Any]:
        vocab, unknown = self.state["vocab"], self.state.get("unk_id")
        pairs = [vocab[id] for id in sorted(self.vocab[piece] for piece in kept)]
        return {
            **self.state,
            "vocab": pairs,
            "unk_id": None if unknown is None else number[unknown],
        }


def _pieces_of(state: dict[str, Any], decoder: dict | None) -> _Pieces:
    """
    Raises:
        ExportError: a kind of vocabulary that is not among those above.
    """
    always: set[str] = set()
    if state["type"] == "BPE":
        ranks = {tuple(pair): rank for rank, pair in enumerate(state["merges"])}
        order = dict.fromkeys(_merged(a, b, state) for a, b in ranks)
        vocab = state["vocab"]
        rest = [piece for piece in vocab if piece not in order]
        pieces = _Merged(state=state, vocab=vocab, order=[*order, *rest], ranks=ranks)
    elif state["type"] == "Unigram":
        scores = dict(state["vocab"])
        vocab = {piece: id for id, (piece, _) in enumerate(state["vocab"])}
        order = sorted(scores, key=lambda piece: -scores[piece])
        pieces = _Scored(state=state, vocab=vocab, order=order)
        always.add(min(scores, key=lambda piece: scores[piece]))
        if state.get("unk_id") is not None:
            always.add(state["vocab"][state["unk_id"]][0])
    elif state["type"] == "WordPiece":
        vocab = state["vocab"]
        pieces = _Pieces(state=state, vocab=vocab, order=sorted(vocab, key=vocab.__getitem__))
    else:
        raise ExportError(
            f"the tokenizer is of the kind {state['type']}, and vocabularies of the kinds BPE, "
            "Unigram and WordPiece can be cut",
            next_step="leave export.vocabulary out",
        )
    if state.get("unk_token") in pieces.vocab:
        always.add(state["unk_token"])
    by_bytes = state.get("byte_fallback") and "ByteFallback" in json.dumps(decoder)
    if by_bytes and pieces.vocab.keys() >= _BYTES:
        always |= _BYTES | ({_SPACE} & pieces.vocab.keys())
    else:
        always.update(pieces.unspelled())
    return replace(pieces, always=frozenset(always))


def _merged(a: str, b: str, state: dict[str, Any]) -> str:
    return a + b[len(state.get("continuing_subword_prefix") or "") :]


def _before_unknown(pieces: _Pieces, tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[str]:
    """The pieces that WordPiece finds in an unknown word before it finds none."""
    if pieces.state["type"] != "WordPiece":
        return
    unknown = pieces.vocab[pieces.state["unk_token"]]
    backend, prefix = tokenizer._backend, pieces.state["continuing_subword_prefix"]
    for batch in _batches(texts):
        for text, ids in zip(batch, tokenizer.encode_batch(batch), strict=True):
            if unknown not in ids:
                continue
            if backend.normalizer is not None:
                text = backend.normalizer.normalize_str(text)
            words = [(text, (0, len(text)))]
            if backend.pre_tokenizer is not None:
                words = backend.pre_tokenizer.pre_tokenize_str(text)
            for word, _ in words:
                yield from _matches(word, prefix, pieces.vocab)


def _matches(word: str, prefix: str, vocab: dict[str, int]) -> Iterator[str]:
    start = 0
    while start < len(word):
        before = prefix if start else ""
        ends = (end for end in range(len(word), start, -1) if before + word[start:end] in vocab)
        end = next(ends, None)
        if end is None:
            return
        yield before + word[start:end]
        start = end


# === The new file ===


def _numbered(tokenizer: Tokenizer, whole: dict, pieces: _Pieces, kept, rows) -> Tokenizer:
    """The tokenizer of the kept pieces, with the roles and stop tokens of the whole one."""
    number = {row: id for id, row in enumerate(rows)}
    state = {
        **whole,
        "model": pieces.cut(kept, number),
        "added_tokens": [{**one, "id": number[one["id"]]} for one in whole["added_tokens"]],
        "post_processor": _renumbered(whole["post_processor"], number.__getitem__),
    }
    roles = {
        role: None if id is None else number[id] for role, id in tokenizer.stated_roles.items()
    }
    stops = [token for id in tokenizer.stop_tokens if (token := tokenizer.id_to_token(id))]
    return Tokenizer.from_str(json.dumps(state), roles, stops)


def _renumbered(state, number: Callable[[int], int]):
    """A post-processor's state with other ids."""
    if isinstance(state, list):
        return [_renumbered(one, number) for one in state]
    if not isinstance(state, dict):
        return state
    changed = {}
    for key, value in state.items():
        if key == "ids" and isinstance(value, list):
            changed[key] = [number(id) for id in value]
        elif key in ("cls", "sep") and isinstance(value, list):
            changed[key] = [value[0], number(value[1])]
        else:
            changed[key] = _renumbered(value, number)
    return changed


# === Checks ===


def _check_size(size: int, needed: int, there: int) -> None:
    if size < needed:
        raise ExportError(
            f"export.vocabulary_size is {size:,}, and the corpus needs {needed:,} tokens: its own "
            "pieces, those that spell any other text, and all added tokens",
            next_step=f"take {needed} or more, or a corpus with fewer different words",
        )
    if size > there:
        raise ExportError(
            f"export.vocabulary_size is {size:,}, and the tokenizer has {there:,} tokens",
            next_step=f"take fewer than {there}, or leave export.vocabulary out to keep them all",
        )


def _check(whole: Tokenizer, found: Smaller, texts: Iterable[str]) -> None:
    """
    Raises:
        ExportError: the library numbers the tokens in another way, or cuts a text in another way.
    """
    smaller, rows = found.tokenizer, found.rows
    tokens = [smaller.id_to_token(id) for id in range(smaller.vocab_size)]
    if tokens != [whole.id_to_token(row) for row in rows]:
        raise ExportError(
            "the tokenizer gives its added tokens other ids than those after its vocabulary, so it "
            "cannot be numbered again",
            next_step="leave export.vocabulary out",
        )
    for batch in _batches(texts):
        both = zip(batch, whole.encode_batch(batch), smaller.encode_batch(batch), strict=True)
        for text, right, ids in both:
            if right != [rows[id] for id in ids]:
                raise ExportError(
                    f"the smaller tokenizer cuts {text[:40]!r} in another way than the whole one",
                    next_step="report it together with the tokenizer.json; leave "
                    "export.vocabulary out",
                )


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = list(texts)
    yield from (texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH))
