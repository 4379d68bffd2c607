"""The vocabulary of a GGUF file, every part of it checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.errors import WeightsError

__all__ = ["BYTE", "CONTROL", "OTHER", "UNKNOWN", "UNUSED", "USER_DEFINED", "Vocabulary"]

# Types of tokens, in `tokenizer.ggml.token_type`; 1 is a plain one.
UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 2, 3, 4, 5, 6
OTHER = "take the tokenizer.json of the model instead: open_gguf(path, tokenizer=False)"


class Vocabulary:
    """The tokens of a file, and what its metadata say of them."""

    def __init__(self, metadata: Mapping[str, Any], where: str) -> None:
        self.metadata, self.where = metadata, where
        self.tokens = self.strings("tokens")
        self.ids = {token: id for id, token in enumerate(self.tokens)}
        if len(self.ids) < len(self.tokens):
            twice = next(token for id, token in enumerate(self.tokens) if self.ids[token] != id)
            raise self.wrong("tokens", f"the token {twice!r} stands there twice")
        there = "tokenizer.ggml.token_type" in metadata
        self.types = self.numbers("token_type") if there else None

    def strings(self, key: str) -> list[str]:
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "it must be a list of texts")
        return values

    def numbers(self, key: str) -> list:
        """One number a token."""
        values = self._list(key)
        if not all(type(value) in (int, float) for value in values):
            raise self.wrong(key, "it must be a list of numbers")
        if len(values) < len(self.tokens):
            raise self.wrong(key, f"it has {len(values)} entries for {len(self.tokens)} tokens")
        return values

    def flag(self, key: str, default: bool) -> bool:
        value = self.metadata.get(f"tokenizer.ggml.{key}", default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"it is {value!r}, neither true nor false")
        return value

    def token(self, key: str) -> str | None:
        """The token whose id a key has; `None` without the key."""
        id = self.metadata.get(f"tokenizer.ggml.{key}")
        if id is None:
            return None
        if type(id) is not int or not 0 <= id < len(self.tokens):
            raise self.wrong(key, f"it is {id!r}, and there are {len(self.tokens)} tokens")
        return self.tokens[id]

    def of_type(self, *types: int) -> set[str]:
        """The tokens of some types; none where the file keeps no types."""
        pairs = zip(self.tokens, self.types or (), strict=False)
        return {token for token, type in pairs if type in types}

    def wrong(self, key: str, what: str) -> WeightsError:
        name = f"tokenizer.ggml.{key}"
        return WeightsError(
            f"the tokenizer cannot be read: {what}", where=f"{self.where}: {name}", next_step=OTHER
        )

    def _list(self, key: str) -> list:
        values = self.metadata.get(f"tokenizer.ggml.{key}")
        if not isinstance(values, list) or (key == "tokens" and not values):
            raise self.wrong(key, "it is missing" if values is None else "it must be a list")
        return values
