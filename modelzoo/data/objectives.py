"""Objectives of a mixture: what an encoder reads and what a decoder writes, of raw examples.

Each makes `Rows` of a part's examples. Pictures are read elsewhere: a row has those of the example
of its number. B is the rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from modelzoo.data.packing import encode_texts
from modelzoo.data.sentences import split_sentences
from modelzoo.errors import DataError, TokenizerError, warn
from modelzoo.recipe.mixture import Part

__all__ = ["MAKERS", "SENTINEL", "Ids", "Rows", "corrupted"]

SENTINEL = "<extra_id_{}>"  # T5's name of the token that stands for the n-th span
NOISE, MEAN_SPAN = 0.15, 3.0  # share of the tokens that is cut out, in spans of this mean length

Ids = Sequence[int]
# (row numbers (B,), random generator) -> the ids of each source and of each target
Draw = Callable[[np.ndarray, np.random.Generator], tuple[list[Ids], list[Ids]]]


@dataclass(frozen=True)
class Rows:
    """What an objective makes of the examples of a part.

    Attributes:
        count: rows.
        draw: gives ids without control tokens; the same for the same generator.
        source, target: tokens of the longest ones.
    """

    count: int
    draw: Draw
    source: int
    target: int


def _pairs(part: Part, examples: Sequence[Mapping], tokenizer, length: int) -> Rows:
    """One text for another, or for what the pictures show."""
    *read, written = (field for field in part.fields if field != part.medium)
    sources = _ids(tokenizer, [part.prompt + "".join(one[f] for f in read) for one in examples])
    targets = _ids(tokenizer, [one[written] for one in examples])

    def draw(rows, generator):
        return [sources[row] for row in rows], [targets[row] for row in rows]

    return Rows(len(examples), draw, max(map(len, sources)), max(map(len, targets)))


def _span_corruption(part: Part, examples: Sequence[Mapping], tokenizer, length: int) -> Rows:
    """Spans of the text move from the source to the target (Raffel et al. 2020, 3.1.4)."""
    sentinels = _sentinels(tokenizer)
    prompt = _ids(tokenizer, [part.prompt])[0]
    size = _most_tokens(length - len(tokenizer.frame_source(prompt)), len(sentinels))
    documents = _ids(tokenizer, [one["text"] for one in examples])
    chunks = [ids[at : at + size] for ids in documents for at in range(0, len(ids), size)]
    chunks = [chunk for chunk in chunks if len(chunk) > 1]
    if not chunks:
        raise DataError("no text has two tokens, of which one could be cut out")

    def draw(rows, generator):
        cut = [corrupted(chunks[row], sentinels, generator) for row in rows]
        return [[*prompt, *source] for source, _ in cut], [target for _, target in cut]

    longest = max(map(len, chunks))
    noise, spans = _noise_of(longest)
    return Rows(len(chunks), draw, len(prompt) + longest - noise + spans, noise + spans)


def corrupted(
    ids: Ids, sentinels: Ids, generator: np.random.Generator
) -> tuple[list[int], list[int]]:
    """A text without some of its spans, and the spans: each in the other's place is a sentinel.

    Args:
        ids: two tokens or more.
        sentinels: of the spans in their order.

    Returns: the source, which begins with a token of the text, and the target.

    Example:
        >>> source, target = corrupted([5, 6, 7, 8], [90, 91], np.random.default_rng(0))
        >>> source, target
        ([5, 6, 7, 90], [90, 8])
    """
    noise, spans = _noise_of(len(ids))
    kept = _segments(len(ids) - noise, spans, generator)
    lost = _segments(noise, spans, generator)
    source, target, at = [], [], 0
    for sentinel, keep, lose in zip(sentinels, kept, lost, strict=False):
        source += [*ids[at : at + keep], sentinel]
        target += [sentinel, *ids[at + keep : at + keep + lose]]
        at += keep + lose
    return source, target


def _noise_of(tokens: int) -> tuple[int, int]:
    """Tokens that are cut out of this many, and in how many spans."""
    noise = min(max(round(tokens * NOISE), 1), tokens - 1)
    return noise, min(max(round(noise / MEAN_SPAN), 1), tokens - noise)


def _segments(total: int, count: int, generator: np.random.Generator) -> list[int]:
    """`count` lengths of at least 1 that sum to `total`, all such lists alike."""
    cuts = np.sort(generator.choice(total - 1, count - 1, replace=False)) + 1 if count > 1 else []
    return np.diff([0, *cuts, total]).tolist()


def _most_tokens(room: int, sentinels: int) -> int:
    """Tokens of a text of which `room` are left when spans are replaced."""
    tokens = max(room, 2)
    while True:
        noise, spans = _noise_of(tokens + 1)
        if tokens + 1 - noise + spans > room or spans > sentinels:
            return tokens
        tokens += 1


def _sentinels(tokenizer) -> list[int]:
    found: list[int] = []
    while (token := tokenizer.token_to_id(SENTINEL.format(len(found)))) is not None:
        found.append(token)
    if not found:
        raise TokenizerError(
            f"span-corruption needs a tokenizer with the tokens {SENTINEL.format(0)}, "
            f"{SENTINEL.format(1)} and so on, and this one has none",
            next_step="train one: modelzoo tokenizer --task mixture, or leave --tokenizer out",
        )
    return found


def _next_sentence(part: Part, examples: Sequence[Mapping], tokenizer, length: int) -> Rows:
    """Whether a sentence follows another in a document; half of them are of another place."""
    split = ([one.strip() for one in split_sentences(example["text"])] for example in examples)
    pairs = [pair for sentences in split for pair in pairwise(filter(None, sentences))]
    if not pairs:
        raise DataError(
            "no document has two sentences, of which one follows the other",
            next_step="add documents of several sentences each; where the held-out ones are too "
            "short, raise train.validation_fraction",
        )
    firsts = _ids(tokenizer, [f"{part.prompt}{first}\n" for first, _ in pairs])
    seconds = _ids(tokenizer, [second for _, second in pairs])
    half_others = _half_others([second for _, second in pairs])
    answers = _ids(tokenizer, [part.yes, part.no])

    def draw(rows, generator):
        others, right = half_others(rows, generator)
        sources = [[*firsts[a], *seconds[b]] for a, b in zip(rows, others, strict=True)]
        return sources, [answers[0 if one else 1] for one in right]

    longest = max(map(len, firsts)) + max(map(len, seconds))
    return Rows(len(pairs), draw, longest, max(map(len, answers)))


def _image_text_matching(part: Part, examples: Sequence[Mapping], tokenizer, length: int) -> Rows:
    """Whether a text is that of the image; half of the rows have another row's."""
    texts = [one["text"] for one in examples]
    sources = _ids(tokenizer, [part.prompt + text for text in texts])
    answers = _ids(tokenizer, [part.yes, part.no])
    half_others = _half_others(texts)

    def draw(rows, generator):
        others, right = half_others(rows, generator)
        return [sources[row] for row in others], [answers[0 if one else 1] for one in right]

    return Rows(len(texts), draw, max(map(len, sources)), max(map(len, answers)))


def _half_others(texts: Sequence[str]) -> Callable:
    """Gives for each of some rows itself or, as often, a row with another text."""
    alike = len(set(texts)) == 1
    if alike:
        warn(f"all texts are {texts[0]!r}: none is wrong")

    def draw(rows: np.ndarray, generator: np.random.Generator) -> tuple[list[int], list[bool]]:
        right = [alike or bool(one) for one in generator.random(len(rows)) < 0.5]
        chosen = []
        for row, own in zip(rows, right, strict=True):
            other = int(row)
            while not own and texts[other] == texts[row]:
                other = int(generator.integers(len(texts)))
            chosen.append(other)
        return chosen, right

    return draw


MAKERS: dict[str, Callable[..., Rows]] = {
    "captioning": _pairs,
    "image-text-matching": _image_text_matching,
    "next-sentence": _next_sentence,
    "span-corruption": _span_corruption,
    "text-to-text": _pairs,
    "video-captioning": _pairs,
    "visual-question-answering": _pairs,
}


def _ids(tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [ids.tolist() for ids in encode_texts(tokenizer, texts)]
