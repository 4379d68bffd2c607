"""Training and validation examples, by document: no document is in both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from modelzoo.errors import DataError

__all__ = ["split"]


def split(
    examples: Iterable[dict[str, Any]], validation_fraction: float = 0.1, seed: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Splits examples at random into (training, validation), each in its first order.

    A single text document is cut instead, at the paragraph, else the line, else the character
    nearest to the fraction; its end is the validation text.

    Args:
        examples: what `read_examples` yields.
        validation_fraction: from 0 (no validation) to below 1; else each side gets at least one.
        seed: another seed, another split.

    Questions about one context stay on one side, and each part of a mixture is split by itself.

    Raises:
        DataError: the fraction is out of range, or a single example cannot be cut.

    Example:
        >>> from modelzoo.data import read_examples
        >>> training, validation = split(read_examples("reviews.csv"), 0.2, seed=1)
        >>> len(training), len(validation)
        (8, 2)
    """
    if not 0 <= validation_fraction < 1:
        raise DataError(f"validation_fraction must be in [0, 1), not {validation_fraction}")
    examples = list(examples)
    if validation_fraction == 0:
        return examples, []
    if examples and "part" in examples[0]:
        return _part_by_part(examples, validation_fraction, seed)
    if len(examples) == 1 and set(examples[0]) == {"text"}:
        text = examples[0]["text"]
        at = _cut(text, round(len(text) * (1 - validation_fraction)))
        if 0 < at < len(text):
            return [{"text": text[:at]}], [{"text": text[at:]}]
    if len(examples) < 2:
        raise DataError(
            f"{len(examples)} example cannot be split into training and validation",
            next_step="add examples, or take validation_fraction=0",
        )
    count = min(len(examples) - 1, max(1, round(len(examples) * validation_fraction)))
    order = np.random.default_rng([seed, 0x5917]).permutation(len(examples))
    held_out = set(order[:count].tolist())
    if examples[0].keys() >= {"context", "answers"}:
        held_out = _of_whole_contexts(examples, order, count)
    training = [example for i, example in enumerate(examples) if i not in held_out]
    return training, [examples[i] for i in sorted(held_out)]


def _part_by_part(examples: list[dict], fraction: float, seed: int) -> tuple[list, list]:
    parts: dict[str, list[dict]] = {}
    for example in examples:
        own = {key: value for key, value in example.items() if key != "part"}
        parts.setdefault(example["part"], []).append(own)
    both: tuple[list, list] = [], []
    for part, own in parts.items():
        for side, found in zip(both, split(own, fraction, seed), strict=True):
            side += [{"part": part, **example} for example in found]
    return both


def _of_whole_contexts(examples: list[dict], order: np.ndarray, count: int) -> set[int]:
    """Examples to hold out, at least `count` of them, each with all that share its context."""
    sharing: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        sharing.setdefault(example["context"], []).append(number)
    held_out: set[int] = set()
    for number in order:
        own = sharing[examples[number]["context"]]
        if len(held_out) < count and len(held_out | set(own)) < len(examples):
            held_out.update(own)
    if not held_out:
        raise DataError(
            "all questions are about one context, which cannot be in training and validation",
            next_step="add contexts, or take validation_fraction=0",
        )
    return held_out


def _cut(text: str, target: int) -> int:
    """The boundary nearest to `target`, paragraphs first."""
    for boundary in (r"\n\s*\n", r"\n"):
        cuts = [match.end() for match in re.finditer(boundary, text)]
        cuts = [cut for cut in cuts if 0 < cut < len(text)]
        if cuts:
            nearest = min(cuts, key=lambda cut: abs(cut - target))
            if abs(nearest - target) <= len(text) // 20:
                return nearest
    return target
