"""Batches for token classification: words, and the tag of each on its first token."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.packing import FramedRows, Ragged, encode_texts
from modelzoo.data.raw import TAGS, read_examples
from modelzoo.data.values import describe
from modelzoo.errors import DataError, nearest, warn
from modelzoo.runtime.text.words import (
    Place,
    find_words,
    frame_words,
    is_bio,
    join_words,
    stray_inside,
    surfaces,
    windows,
)

__all__ = ["TaggedBatches", "read_tagged", "tag_names", "token_classification_batches"]


class Tagged(dict):
    """An example as `read_tagged` gives it: `text`, `words`, `tags`."""


class TaggedBatches(Batches):
    """Batches that know whose words they hold.

    Attributes:
        sentences: the words of each example. Evaluation meets them in this order, each once.
    """

    sentences: list[list[str]]


def token_classification_batches(
    examples: object,
    tokenizer,
    *,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    labels: Sequence[str] | None = None,
    trim: bool = False,
) -> TaggedBatches:
    """Sentences as "[CLS] tokens [SEP]", padded to one length.

    Args:
        examples: `words` and `tags`, or `text` and `spans`; see `read_tagged`.
        length: T. What is longer is read in several rows, and no word is lost.
        labels: the tags in the order of their numbers. Default: those of the examples.
        trim: T is at most the length of the longest row, rounded up to a multiple of 8.

    Returns:
        Batches of
        x = {"token_ids", "segment_ids": (B, T) int32, "padding_mask": (B, T) bool},
        y = (B, T) int32, and sample_weight = (B, T) float32: 1 at the first token of each word.

    Raises:
        DataError: malformed examples, or a tag that `labels` does not hold.
    """
    examples = examples if _is_read(examples) else read_tagged(examples)
    names = tag_names(examples) if labels is None else tuple(map(str, labels))
    numbers = _numbers(examples, names)
    rows: list[tuple[list[int], list[int], list[int], list[int]]] = []
    for words, tags in zip(_encoded(examples, tokenizer), numbers, strict=True):
        for first, end in windows(tokenizer, [len(ids) for ids in words], length):
            ids, segments, places = frame_words(tokenizer, words[first:end], length)
            y, counts = [0] * len(ids), [0] * len(ids)
            for place, tag in zip(places, tags[first:end], strict=True):
                y[place], counts[place] = tag, 1
            rows.append((ids, segments, y, counts))
    if len(rows) > len(examples):
        warn(f"some texts are longer than {length} tokens: they are read in {len(rows):,} parts")
    tokens, segments, *targets = zip(*rows, strict=True)
    texts = FramedRows(tokens, segments, tokenizer, length, trim)
    columns = [Ragged(column) for column in targets]

    def make(chosen: np.ndarray, generator: np.random.Generator) -> Batch:
        y, counts = (one.padded(chosen, texts.length, 0)[0] for one in columns)
        return texts.inputs(chosen), y, counts.astype(np.float32)

    batches = TaggedBatches(
        make,
        num_rows=len(rows),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        labels=names,
        length=texts.length,
    )
    batches.sentences = [example["words"] for example in examples]
    return batches


def read_tagged(raw: object, columns: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Examples as `{"text": str, "words": [str], "tags": [str]}`.

    Args:
        raw: as `data.read_examples` takes it. An example has `words` and `tags`, lists of the same
            length, perhaps with the `text` that holds the words; or `text` and `spans`, each
            `{"start", "end", "label"}` in characters, which become the tags B-, I- and O. In a
            table lists are JSON, or words with spaces between them.
        columns: field -> the column that holds it.

    Raises:
        DataError: lists of unequal length; a span outside its text, within a word, or over another.

    Example:
        >>> spans = [{"start": 0, "end": 13, "label": "PER"}]
        >>> read_tagged([{"text": "Angela Merkel left", "spans": spans}])[0]["tags"]
        ['B-PER', 'I-PER', 'O']
    """
    examples = []
    for number, record in enumerate(read_examples(raw, columns, TAGS), start=1):
        where = f"example {number}"
        if "spans" in record:
            text, places = record["text"], find_words(record["text"])
            tags = _tags_of(text, places, _listed(record, "spans", where), where)
        else:
            words = [_word(word, where) for word in _listed(record, "words", where)]
            tags = [_tag(tag, where) for tag in _listed(record, "tags", where)]
            text, places = _placed(record.get("text"), words, where)
        if len(tags) != len(places):
            raise DataError(
                f"there are {len(places)} words and {len(tags)} tags",
                where=where,
                next_step="give each word one tag",
            )
        if not places:
            raise DataError("there is no word in the text", where=where, next_step="leave it out")
        words = [text[start:end] for start, end in places]
        examples.append(Tagged(text=text, words=words, tags=tags))
    _check_scheme(examples)
    return examples


def tag_names(examples: object) -> tuple[str, ...]:
    """The tags of examples, sorted, "O" first.

    Raises:
        DataError: all tags are the same.
    """
    examples = examples if _is_read(examples) else read_tagged(examples)
    found = {tag for example in examples for tag in example["tags"]}
    if len(found) < 2:
        raise DataError(
            f"all words have the same tag, {found.pop()!r}: there is nothing to tell apart",
            next_step="add examples with other tags, or pass labels=[...]",
        )
    return tuple(sorted(found, key=lambda tag: (tag != "O", tag)))


# === Reading ===


def _is_read(examples: object) -> bool:
    """Whether `read_tagged` has given them."""
    return isinstance(examples, list) and all(isinstance(one, Tagged) for one in examples)


def _listed(record: Mapping, field: str, where: str) -> list:
    value = record[field]
    if isinstance(value, str):
        if field != "spans" and not value.lstrip().startswith("["):
            return value.split()
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"{field!r} is not JSON: {error}", where=where) from error
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise DataError(f"{field!r} must be a list, not {describe(value)}", where=where)
    return [one.decode() if isinstance(one, bytes) else one for one in value]


def _word(word: object, where: str) -> str:
    if not isinstance(word, str) or not word.strip():
        raise DataError(f"a word must be text, not {describe(word)}", where=where)
    return word.strip()


def _tag(tag: object, where: str) -> str:
    if isinstance(tag, bool) or not isinstance(tag, str | int) or not str(tag).strip():
        raise DataError(f"a tag must be a name or a whole number, not {describe(tag)}", where=where)
    return str(tag).strip()


def _placed(text: str | None, words: list[str], where: str) -> tuple[str, list[Place]]:
    """The text of words, and where they are in it."""
    if text is None:
        return join_words(words)
    places, at = [], 0
    for word in words:
        start = text.find(word, at)
        if start < 0:
            raise DataError(
                f"the text does not hold the word {word!r} after character {at}",
                where=where,
                next_step="leave the text out, or give its own words in their order",
            )
        at = start + len(word)
        places.append((start, at))
    return text, places


def _tags_of(text: str, places: list[Place], spans: list, where: str) -> list[str]:
    """B-, I- and O of the words of a text, from spans in characters."""
    tags = ["O"] * len(places)
    starts = {start: number for number, (start, _) in enumerate(places)}
    ends = {end: number + 1 for number, (_, end) in enumerate(places)}
    for span in spans:
        if not isinstance(span, Mapping) or not {"start", "end", "label"} <= {*span}:
            raise DataError(
                f"a span must have start, end and label, not {describe(span)}", where=where
            )
        start, end, label = span["start"], span["end"], _tag(span["label"], where)
        whole = type(start) is int and type(end) is int
        if not whole or not 0 <= start < end <= len(text):
            raise DataError(
                f"the span {start!r} to {end!r} is not in the text, which has {len(text)} "
                "characters",
                where=where,
            )
        if start not in starts or end not in ends:
            raise DataError(
                f"the span {start} to {end}, {text[start:end]!r}, does not begin and end with a "
                "word",
                where=where,
                did_you_mean=_nearest_words(text, places, start, end),
                next_step="correct the offsets: start is the first character's, and end is after "
                "the last; or give words and tags",
            )
        first, last = starts[start], ends[end]
        if set(tags[first:last]) != {"O"}:
            raise DataError(
                f"two spans share the word {text[slice(*places[first])]!r} at character {start}",
                where=where,
                next_step="keep one of them",
            )
        tags[first:last] = [f"B-{label}", *[f"I-{label}"] * (last - first - 1)]
    return tags


def _nearest_words(text: str, places: list[Place], start: int, end: int) -> str | None:
    """The words that a span touches, with their offsets."""
    touched = [place for place in places if place[0] < end and start < place[1]]
    if not touched:
        return None
    first, last = touched[0][0], touched[-1][1]
    return f"{first} to {last}, {text[first:last]!r}"


def _check_scheme(examples: list[dict[str, Any]]) -> None:
    """Say once what of the tags is read otherwise than it may be meant."""
    names = {tag for example in examples for tag in example["tags"]}
    if is_bio(sorted(names)):
        stray = [sum(1 for _ in stray_inside(example["tags"])) for example in examples]
        if any(stray):
            first = next(number for number, count in enumerate(stray, start=1) if count)
            warn(
                f"{sum(stray):,} spans begin with I- and not with B-, the first in example "
                f"{first}: each is read as a span of its own"
            )
    elif any(tag.startswith("B-") for tag in names) and "O" in names:
        other = next(tag for tag in sorted(names) if tag != "O" and not is_bio([tag]))
        warn(
            f"the tag {other!r} does not begin with B-TYPE or I-TYPE: all tags are read as plain "
            "tags"
        )


# === Numbers ===


def _numbers(examples: Iterable[Mapping], names: tuple[str, ...]) -> list[list[int]]:
    """The number of each tag of each example."""
    index = {name: number for number, name in enumerate(names)}
    found = []
    unknown: Counter[str] = Counter()
    for example in examples:
        found.append([index.get(tag, -1) for tag in example["tags"]])
        unknown.update(tag for tag in example["tags"] if tag not in index)
    if unknown:
        tag, count = unknown.most_common(1)[0]
        many = f" and {len(unknown) - 1} more tags" if len(unknown) > 1 else ""
        raise DataError(
            f"the model was not trained on the tag {tag!r} ({count:,} words){many}; its tags are "
            f"{', '.join(names[:20])}{' …' if len(names) > 20 else ''}",
            did_you_mean=nearest(tag, names),
            next_step="rename these tags, or train with examples that have them",
        )
    return found


def _encoded(examples: Sequence[Mapping], tokenizer) -> list[list[list[int]]]:
    """The tokens of each word of each example; every different word is encoded once."""
    rows = []
    for number, example in enumerate(examples, start=1):
        text, places = _placed(example["text"], example["words"], f"example {number}")
        rows.append(surfaces(text, places))
    distinct = sorted({word for row in rows for word in row})
    found = zip(distinct, encode_texts(tokenizer, distinct), strict=True)
    known = {word: ids.tolist() or [tokenizer.role("unk")] for word, ids in found}
    return [[known[word] for word in row] for row in rows]
