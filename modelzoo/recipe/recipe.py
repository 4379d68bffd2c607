"""The class `Recipe`."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from modelzoo.files import values_digest
from modelzoo.recipe.values import Values


@dataclass(frozen=True)
class Recipe:
    """A fully resolved recipe.

    Attributes:
        name: `gpt-small`, `acme/tiny`, or the stem of the file.
        values: the merged tables and scalars, without `extends`. Treat as read-only.
        source: path of the file as text, or `<registered>`.
        plugin: the distribution that the recipe needs, `modelzoo-acme 0.2.1`; `None` for the core.
        extends: the names it was merged from, nearest parent first.
        line: where it begins in that file.
        text: its own text, where it is a table of a catalogue and not the whole file.
        weights: where its published weights lie, `hf://owner/name`, or `None`.
        aliases: what the model is called elsewhere: `("gpt2", "openai-community/gpt2")`.
    """

    name: str
    values: Values
    source: str
    plugin: str | None = None
    extends: tuple[str, ...] = ()
    line: int = 1
    text: str | None = None
    weights: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """`source`, or `source:line` where it is a table of a catalogue: what an error names."""
        return self.source if self.text is None else f"{self.source}:{self.line}"

    @property
    def architecture(self) -> str:
        return self.values["architecture"]

    @property
    def task(self) -> str | None:
        return self.values.get("task")

    @property
    def summary(self) -> str:
        return self.values.get("summary", "")

    @property
    def parameters(self) -> int | None:
        return self.values.get("parameters")

    @property
    def reference(self) -> str | None:
        return self.values.get("reference")

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of the values: equal digests build equal models."""
        return values_digest(self.values)

    def table(self, name: str) -> Values:
        """A copy of one of the `TABLES`, or `{}`."""
        return copy.deepcopy(self.values.get(name, {}))
