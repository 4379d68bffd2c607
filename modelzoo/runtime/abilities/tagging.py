"""Tags of words, and the spans that they give: names in a text, parts of speech, Chinese words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from modelzoo.errors import BundleError, DataError, ModelzooError
from modelzoo.runtime.abilities.encoding import EncodesTexts
from modelzoo.runtime.abilities.labels import check_numbers, softmax
from modelzoo.runtime.engines.static_shapes import sizes_of
from modelzoo.runtime.text.words import (
    Place,
    entities,
    find_words,
    frame_words,
    is_bio,
    join_words,
    surfaces,
    windows,
)

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Several, Span

_OVERLAP = 0.5  # of the parts of a text that is longer than the model reads


class TagAbility(EncodesTexts):
    """What `runtime.Model` does with a model that gives each token logits: mixed into it."""

    @overload
    def tag(self, text: str | tuple[str, ...], group: bool = True) -> list[Span]: ...
    @overload
    def tag(self, text: Several[str | Sequence[str]], group: bool = True) -> list[list[Span]]: ...
    def tag(self, text, group: bool = True) -> list:
        """The spans that a model finds in a text, or the tag of each word.

        A text that is longer than the model reads is read in parts, half of which the next part
        reads again; the tag of a word is the one with the highest mean probability over the parts
        that hold it.

        Args:
            text: a text; the words of one, as a tuple; or a list of texts, or of lists of words.
            group: join the words of a span, and leave out the words of none (tags B-, I- and O).
                With `False`, and for plain tags, there is an entry for each word.

        Returns:
            [{"text", "label", "start", "end", "score"}], in the order of the text: `start` and
            `end` in characters (of the words joined by a space, where words are given), and
            `score` the mean probability of the tags. For a list, one such list each.

        Raises:
            DataError: not a text, and not words.
            ModelzooError: a bundle that does not tag.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("names.bundle").tag("Angela Merkel visited Paris")[0]
            {'text': 'Angela Merkel', 'label': 'PER', 'start': 0, 'end': 13, 'score': 0.98...}
        """
        self._need("tag")
        found = [words_of(item) for item in texts_of(text)]
        probabilities = self._probabilities(found)
        labels = self.manifest["labels"]
        answers = [
            _spans(labels, *words, shares, group)
            for words, shares in zip(found, probabilities, strict=True)
        ]
        return answers[0] if isinstance(text, str | tuple) else answers

    def _probabilities(self, texts: list[tuple[str, list[Place]]]) -> list[np.ndarray]:
        """(words, labels) of each text, the mean over the parts that hold a word."""
        sizes = sizes_of(self.engine.signatures, "serve")
        length, count = sizes[-1].length, len(self.manifest["labels"])
        sums = [np.zeros((len(places), count)) for _, places in texts]
        times = [np.zeros((len(places), 1)) for _, places in texts]
        parts, encoded, firsts = [], [], []
        for number, (text, places) in enumerate(texts):
            words = self._word_tokens(text, places)
            cuts = windows(self._text, [len(ids) for ids in words], length, _OVERLAP)
            for first, end in cuts if words else ():
                ids, segments, at = frame_words(self._text, words[first:end], length)
                parts.append((number, slice(first, end)))
                encoded.append((ids, segments))
                firsts.append(at)
        rows = self._run_encoded(sizes, encoded, lambda outputs, _: outputs["logits"])
        for (number, words), logits, at in zip(parts, rows, firsts, strict=True):
            check_numbers(logits[at], "the model's answer")
            if logits.shape[-1] != count:
                raise BundleError(
                    f"the model has {logits.shape[-1]} tags, and {count} labels are stated for "
                    "them",
                    next_step="export the model again",
                )
            sums[number][words] += softmax(logits[at])
            times[number][words] += 1
        return [total / np.maximum(seen, 1) for total, seen in zip(sums, times, strict=True)]

    def _word_tokens(self, text: str, places: list[Place]) -> list[list[int]]:
        found = self._text.encode_batch([self._prepared(word) for word in surfaces(text, places)])
        return [ids or [self._text.role("unk")] for ids in found]


def texts_of(text) -> list:
    """What `tag` is asked for, as a list of texts and of lists of words."""
    if isinstance(text, str | tuple):
        return [text]
    if isinstance(text, bytes) or not isinstance(text, Iterable):
        raise ModelzooError(f"a text, a tuple of words, or a list, not {type(text).__name__}")
    return list(text)


def words_of(item) -> tuple[str, list[Place]]:
    """A text and where its words are, of a text or of a list of words."""
    if isinstance(item, str):
        return item, find_words(item)
    if not isinstance(item, list | tuple):
        raise DataError(f"a text or a list of words, not {type(item).__name__}")
    for word in item:
        if not isinstance(word, str) or not word.strip():
            raise DataError(f"a word must be text, not {word!r}")
    return join_words([word.strip() for word in item])


def _spans(
    labels: list[str], text: str, places: list[Place], probabilities: np.ndarray, group: bool
) -> list[Span]:
    best = probabilities.argmax(-1)
    scores = probabilities.max(-1) if len(places) else np.zeros(0)
    tags = [labels[number] for number in best]
    if group and is_bio(labels):
        runs = entities(tags)
    else:
        runs = [(tag, at, at + 1) for at, tag in enumerate(tags)]
    found: list[Span] = []
    for label, first, end in runs:
        start, stop = places[first][0], places[end - 1][1]
        score = float(scores[first:end].mean())
        found.append(
            {"text": text[start:stop], "label": label, "start": start, "end": stop, "score": score}
        )
    return found
