"""The values of an example: texts, labels, numbers and weights, read or refused."""

from __future__ import annotations

import math
import re
from typing import Any

from modelzoo.errors import DataError

MEDIA = ("image", "audio", "video")  # whose bytes are no text
LISTS = ("words", "tags", "spans")  # which their task reads
TEXT_FIELDS = ("text", "text_a", "text_b", "source", "target", "question", "answer")
ANY = "any"  # the problem where nobody reads the labels
_FLOAT = re.compile(r"^(-?\d+)\.0+$", re.ASCII)  # a whole number, as CSV has it


def value_of(
    name: str, value: object, where: str, checked: bool, problem_type: str | None = None
) -> Any:
    if getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy scalar
    if isinstance(value, bytes) and name not in MEDIA:
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{name!r} is not UTF-8: {error}", where=where) from error
    if name == "label":
        return LABELS.get(problem_type, as_label)(value, where)
    if name in LISTS:
        return value
    if checked and name == "score":
        return as_numbers(value, where)
    if checked and name == "negatives":
        return as_texts(value, where)
    if (checked or name in TEXT_FIELDS) and not isinstance(value, str):
        raise DataError(f"{name!r} must be text, not {describe(value)}", where=where)
    return value


def as_label(value: object, where: str) -> int | str:
    """A class: a name, or a whole number (which a data frame may have turned into a float)."""
    if isinstance(value, str) and value.strip():
        return _FLOAT.sub(r"\1", value.strip())
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    if isinstance(value, int):
        return int(value)
    none = value is None or isinstance(value, str) or (isinstance(value, float) and value != value)
    raise DataError(
        f"a label must be a name or a whole number, not {describe(value)}",
        where=where,
        next_step="leave out the examples that have no label"
        if none
        else f"for numbers as targets: {_PROBLEM}=regression; else write them as classes"
        if isinstance(value, float)
        else f"for several labels at once: {_PROBLEM}=multi_label_classification",
    )


def as_labels(value: object, where: str) -> list[str]:
    """Several classes, each once: a list of names, or one text with "|" between them.

    >>> as_labels("rude|long", ""), as_labels(["rude", 3], ""), as_labels("", "")
    (['rude', 'long'], ['rude', '3'], [])
    """
    parts = value.split("|") if isinstance(value, str) and value.strip() else value
    if isinstance(parts, str | None):  # an empty column
        parts = []
    several = parts if isinstance(parts, list | tuple) else [parts]
    return list(dict.fromkeys(str(as_label(one, where)) for one in several))


def as_numbers(value: object, where: str) -> list[float]:
    """The numbers that a regression learns: one, a list, or one text with "|" between them.

    >>> as_numbers("0.5|3", ""), as_numbers(2, "")
    ([0.5, 3.0], [2.0])
    """
    parts = value.split("|") if isinstance(value, str) else value
    several = parts if isinstance(parts, list | tuple) and parts else [parts]
    try:
        found = [math.nan if isinstance(one, bool) else float(one) for one in several]
    except (TypeError, ValueError):
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise DataError(
            f"the label of a regression must be a number, or a list of numbers, not "
            f"{describe(value)}",
            where=where,
            next_step="leave out the examples that have no number",
        )
    return found


def as_texts(value: object, where: str) -> list[str]:
    """One text, or a list of them."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts:
        raise DataError(f"it must be a text or a list of texts, not {describe(value)}", where=where)
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"it must be a text, not {describe(text)}", where=where)
    return list(texts)


# What reads a label, by the problem that a classifier is trained for; `as_label` by default.
LABELS = {
    "multi_label_classification": as_labels,
    "regression": as_numbers,
    ANY: lambda value, where: value,
}
_PROBLEM = "--set task_options.problem_type"


def as_weight(value: object, where: str) -> float:
    """What an example counts: a number, 0 or more."""
    try:
        weight = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise DataError(
            f"'weight' must be a number, 0 or more, not {describe(value)}",
            where=where,
            next_step="rename the column if it does not say what an example counts in training",
        )
    return weight


def describe(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 40 else text[:36] + '...'}"
