"""Batches for text classification: a text, or a pair of texts, and its class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.lengths import check_lengths
from modelzoo.data.packing import FramedRows, encode_texts
from modelzoo.data.raw import CLASSIFICATION, read_examples, without_labels
from modelzoo.errors import DataError, nearest

__all__ = ["classification_batches", "framed_texts", "label_names"]


def classification_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    labels: Sequence[str | int] | None = None,
    truncate: bool = True,
    trim: bool = False,
    unlabelled: bool = False,
    problem_type: str | None = None,
) -> Batches:
    """Texts as "[CLS] a [SEP]" or "[CLS] a [SEP] b [SEP]", padded to one length.

    Args:
        examples: `text` and `label`, or `text_a`, `text_b` and `label`: dicts, tuples, or whatever
            else `read_examples` reads.
        length: T.
        labels: the class names in the order of their numbers, as of an earlier training. If not
            given, those of the examples: sorted, as numbers if all are whole numbers. Examples
            may give a named class by its number.
        truncate: cut what is longer, and warn once with the count; else it is an error.
        trim: T is at most the length of the longest example, rounded up to a multiple of 8.
        unlabelled: the examples have no labels; y and sample_weight are `None`.
        problem_type: what a label is; see `read_examples`.

    Returns:
        Batches of
        x = {"token_ids", "segment_ids": (B, T) int32, "padding_mask": (B, T) bool},
        y = (B,) int32, and sample_weight = (B,) float32. `labels` are the class names, as str.
        Where several labels may apply, y is (B, labels) float32 with 1 for each that does; of a
        regression it holds the numbers, and there are no `labels`.

    Raises:
        DataError: a label that `labels` does not hold; one class alone; another number of numbers.
        OverflowTextError: a text is longer, and `truncate` is off.
    """
    first, second, found = _columns(examples, unlabelled, problem_type)
    names, classes = targets_of(found, labels, unlabelled, problem_type)
    framed = framed_texts(tokenizer, first, second, length, truncate)
    texts = FramedRows(*framed, tokenizer, length, trim)

    def make(rows: np.ndarray, generator: np.random.Generator) -> Batch:
        return texts.inputs(rows), *labelled(classes, rows)

    batches = Batches(
        make,
        num_rows=len(texts),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        labels=names,
        unlabelled=unlabelled,
        length=texts.length,
    )
    batches.texts = list(map("\n".join, zip(first, second, strict=True))) if second else first
    return batches


def framed_texts(
    tokenizer,
    first: Sequence[str],
    second: Sequence[str],
    length: int,
    truncate: bool,
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and segments of texts, or of pairs of texts, framed for an encoder.

    Args:
        second: empty for single texts.

    Raises:
        OverflowTextError: a text is longer, and `truncate` is off.
    """
    a_ids = [ids.tolist() for ids in encode_texts(tokenizer, first)]
    b_ids = [ids.tolist() for ids in encode_texts(tokenizer, second)] if second else None
    tokens, segments, lengths = [], [], []
    for row, a in enumerate(a_ids):
        b = b_ids[row] if b_ids else None
        ids, segment = tokenizer.frame_pair(a, b)
        lengths.append(len(ids))
        if truncate and len(ids) > length:
            ids, segment = tokenizer.frame_pair(a, b, length, truncate=True)
        tokens.append(ids)
        segments.append(segment)
    check_lengths(lengths, length, truncate)
    return tokens, segments


def _columns(
    examples: object, unlabelled: bool = False, problem_type: str | None = None
) -> tuple[list[str], list[str], list]:
    """The first texts, the second texts (empty where there are none), and the labels."""
    first, second, labels = [], [], []
    fields = without_labels(CLASSIFICATION) if unlabelled else CLASSIFICATION
    for example in read_examples(examples, fields=fields, problem_type=problem_type):
        if not unlabelled:
            label = example["label"]
            labels.append(label if isinstance(label, list) else str(label))
        if "text_a" in example:
            first.append(example["text_a"])
            second.append(example["text_b"])
        else:
            first.append(example["text"])
    if second and len(second) != len(first):
        raise DataError("some examples are single texts and others pairs")
    return first, second, labels


def label_names(examples: object, problem_type: str | None = None) -> tuple[str, ...]:
    """The class names in examples, sorted; as numbers if all are whole numbers.

    Of a regression a name for each of its numbers: `value`, or `value_1`, `value_2` …
    """
    found = _columns(examples, problem_type=problem_type)[2]
    if problem_type == "regression":
        return _value_names(len(found[0]))
    if problem_type == "multi_label_classification":
        return _sorted_names({name for names in found for name in names})
    return names_of(found)


def targets_of(
    found: list,
    labels: Sequence[str | int] | None,
    unlabelled: bool = False,
    problem_type: str | None = None,
) -> tuple[tuple[str, ...] | None, np.ndarray | None]:
    """The class names, `None` of a regression, and y of each row, `None` if unlabelled.

    >>> targets_of([["b"], ["a", "b"]], None, problem_type="multi_label_classification")[1].tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    if problem_type == "regression":
        return None, None if unlabelled else _numbers_of(found, labels)
    if problem_type != "multi_label_classification":
        return classes_of(found, labels, unlabelled)
    if unlabelled:
        return tuple(map(str, labels or ())), None
    names = tuple(map(str, labels or _sorted_names({name for some in found for name in some})))
    rows = np.repeat(np.arange(len(found)), [len(some) for some in found])
    y = np.zeros((len(found), len(names)), np.float32)
    y[rows, numbers_of([name for some in found for name in some], names, rows)] = 1
    return names, y


def _numbers_of(found: list[list[float]], labels: Sequence[str | int] | None) -> np.ndarray:
    """(N, numbers) float32."""
    wanted = len(labels or found[0])
    for row, numbers in enumerate(found, start=1):
        if len(numbers) != wanted:
            raise DataError(
                f"expected {wanted} numbers as a label, got {len(numbers)}", where=f"example {row}"
            )
    return np.array(found, np.float32)


def _value_names(count: int) -> tuple[str, ...]:
    return ("value",) if count == 1 else tuple(f"value_{n}" for n in range(1, count + 1))


def _sorted_names(distinct: set[str]) -> tuple[str, ...]:
    """Names in their order, "10" after "9"."""
    if not distinct:
        raise DataError(
            "no example has a label: there is nothing to learn",
            next_step="give the labels that apply: a list in .jsonl, a|b in a table",
        )
    return tuple(sorted(distinct, key=int if all(map(_is_number, distinct)) else str))


def classes_of(
    found: list[str], labels: Sequence[str | int] | None, unlabelled: bool = False
) -> tuple[tuple[str, ...], np.ndarray | None]:
    """The class names by number, and (N,) int32 the class of each row, `None` if unlabelled."""
    if unlabelled:
        return tuple(map(str, labels or ())), None
    names = names_of(found) if labels is None else tuple(map(str, labels))
    return names, numbers_of(found, names)


def labelled(classes: np.ndarray | None, rows: np.ndarray) -> tuple:
    """y and sample_weight of rows."""
    if classes is None:
        return None, None
    return classes[rows], np.ones(len(rows), np.float32)


def names_of(found: list[str]) -> tuple[str, ...]:
    distinct = set(found)
    if len(distinct) < 2:
        raise DataError(
            f"all examples have the same label, {found[0]!r}: there is nothing to tell apart",
            next_step="add examples of another class, or pass labels=[...]",
        )
    return _sorted_names(distinct)


def numbers_of(
    found: list[str], names: tuple[str, ...], rows: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """The number of each label: its place in `names`, or itself where all names are words.

    Args:
        rows: the example that each label is of, counted from 0. Default: each has one.
    """
    rows = range(len(found)) if rows is None else rows
    index = {name: number for number, name in enumerate(names)}
    if not any(map(_is_number, names)):  # a number is the class of this number
        numbers = {str(number): number for number in range(len(names))}
        mixed = [next((name for name in found if name in some), None) for some in (numbers, index)]
        if None not in mixed:
            number, name = mixed
            raise DataError(
                f"some labels are numbers and others are names: {number!r} in example "
                f"{rows[found.index(number)] + 1}, {name!r} in example "
                f"{rows[found.index(name)] + 1}",
                next_step=f"write all of them as names: {number} is {names[numbers[number]]!r}",
            )
        index |= numbers
    for row, name in zip(rows, found, strict=True):
        if name not in index:
            also = "" if _is_number(names[0]) else f", or 0 to {len(names) - 1}"
            raise DataError(
                f"label {name!r} is none of {', '.join(names)}{also}",
                where=f"example {row + 1}",
                did_you_mean=nearest(name, names),
            )
    return np.array([index[name] for name in found], np.int32)


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()
