"""The abilities of bundles: methods of `runtime.Model`, and how each is called. stdlib only."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ABILITIES", "Ability"]


@dataclass(frozen=True)
class Ability:
    """How one method of `runtime.Model` is called, and what it gives.

    Attributes:
        reads: what an input is: "text", "media", "either", as the model decides, or "both";
            "turns" of a conversation; a "labelled" medium, which comes with labels to choose from;
            "choices" of how a text goes on; "candidates" that are put in order.
        gives: "text", "label", "token", "span", "answer" or "vector".
        truncates: whether it has an argument `truncate`.
        options: of `modelzoo run`, those that go with it alone.
    """

    reads: str
    gives: str
    truncates: bool = True
    options: tuple[str, ...] = ()


# Where several fit an input, the first is taken.
ABILITIES = {
    "generate": Ability("text", "text"),
    "chat": Ability("turns", "text", truncates=False, options=("system", "set")),
    "caption": Ability("media", "text", truncates=False, options=("prompt",)),
    "transcribe": Ability("media", "text", truncates=False),
    "classify": Ability("either", "label", options=("pair", "threshold")),
    "nearest": Ability("both", "label"),
    "fill_mask": Ability("text", "token"),
    "tag": Ability("text", "span", truncates=False),
    "answer": Ability("text", "answer", truncates=False, options=("context",)),
    "zero_shot": Ability("labelled", "label", truncates=False, options=("template",)),
    "score": Ability("choices", "label", truncates=False, options=("choices",)),
    "rank": Ability("candidates", "label"),
    "embed": Ability("text", "vector"),
    "embed_text": Ability("text", "vector"),
    "embed_image": Ability("media", "vector", truncates=False),
    "embed_audio": Ability("media", "vector"),
    "embed_video": Ability("media", "vector", truncates=False),
}
