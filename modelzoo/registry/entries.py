"""What a list of recipes holds, and how it shows itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Entries", "Entry"]


@dataclass(frozen=True)
class Entry:
    """One line of the list.

    Attributes:
        problem: why the recipe cannot be used, or `None`.
        weights: where its published weights lie, `hf://owner/name`, or `None`.
        aliases: what the model is called elsewhere.
        kind: "recipe", or "bundle" for one that a plugin brings: trained, exported, ready to run.
    """

    name: str
    summary: str
    task: str | None
    architecture: str | None
    parameters: int | None
    plugin: str | None
    source: str
    problem: str | None = None
    weights: str | None = None
    aliases: tuple[str, ...] = ()
    kind: str = "recipe"

    def has(self, word: str) -> bool:
        """Whether a word, upper or lower case, is in the name, an alias, the task or the summary.

        Example:
            >>> Entry("gpt-1", "Text", "causal-lm", "gpt", 1, None, "").has("LM")
            True
        """
        texts = (self.name, self.task or "", self.summary, *self.aliases)
        return any(word.lower() in text.lower() for text in texts)


class Entries(list[Entry]):
    """A list of entries, which is shown as a table: as text, and in a notebook."""

    HEADER = ("name", "task", "parameters", "weights", "summary")

    def __repr__(self) -> str:
        rows = [self.HEADER[:-1], *(row[:-1] for row in self._rows())]
        name, task, count, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
        return "\n".join(f"{a:{name}}  {b:{task}}  {c:>{count}}  {d}" for a, b, c, d in rows)

    def _repr_html_(self) -> str:
        from html import escape

        def line(cells: tuple[str, ...], kind: str) -> str:
            return "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells)

        lines = [line(self.HEADER, "th"), *(line(row, "td") for row in self._rows())]
        return f"<table>{''.join(f'<tr>{one}</tr>' for one in lines)}</table>"

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                entry.name,
                entry.task or "-",
                "-" if entry.parameters is None else f"{entry.parameters:,}",
                "yes" if entry.weights or entry.kind == "bundle" else "-",
                entry.summary,
            )
            for entry in self
        ]
