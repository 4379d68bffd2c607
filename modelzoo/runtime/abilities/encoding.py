"""Texts through the signatures of a bundle that read them in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime.abilities.ability import Ability
from modelzoo.runtime.engines.static_shapes import Size, plan_calls, sizes_of


class EncodesTexts(Ability):
    """What the abilities share that read texts: from a text to arrays, and to an answer of each."""

    def _answers(self, base: str, texts, truncate: bool, answer, check=None, allow=()) -> list:
        """`answer(outputs, token_ids)` of each text, or pair, with its own row of the outputs.

        All texts are looked at before any is run; each goes through the smallest signature of
        those like `base` that it fits, and texts of similar length together where one has rows.
        """
        texts = [texts] if is_one_text(texts) else many_texts(texts)
        sizes = sizes_of(self.engine.signatures, base)
        encoded = [self._encoded(one, sizes[-1].length, truncate, allow) for one in texts]
        if check is not None:
            for text, (token_ids, _) in zip(texts, encoded, strict=True):
                check(text, token_ids)
        return self._run_encoded(sizes, encoded, answer)

    def _run_encoded(
        self, sizes: Sequence[Size], encoded: Sequence[tuple[list, list]], answer: Callable
    ) -> list:
        """`answer(outputs, token_ids)` of each (token ids, segments), as in `_answers`."""
        answers: list = [None] * len(encoded)
        for one, outputs in self._outputs(sizes, encoded):
            answers[one] = answer(outputs, encoded[one][0])
        return answers

    def _outputs(
        self, sizes: Sequence[Size], encoded: Sequence[tuple[list, list | None]]
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """The number of each (token ids, segments), call by call, with its row of the outputs."""
        for size, group in plan_calls(sizes, [len(token_ids) for token_ids, _ in encoded]):
            rows = [self._padded(size.name, *encoded[one]) for one in group]
            rows += rows[-1:] * (size.rows - len(rows))
            inputs = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
            outputs = self.engine.run(size.name, inputs)
            for row, one in enumerate(group):
                yield one, {key: value[row] for key, value in outputs.items()}

    def _encoded(self, text, length: int, truncate: bool, allow=()) -> tuple[list, list]:
        """The token ids of a text, or of a pair of texts, and their segments."""
        a, b = text if isinstance(text, tuple) else (text, None)
        token_ids, segment_ids = self._text.encode_pair(
            self._prepared(a),
            None if b is None else self._prepared(b),
            length,
            truncate=truncate,
            allow=allow,
        )
        if not token_ids:
            raise ModelzooError("the text has no tokens")
        return token_ids, segment_ids

    def _padded(self, name: str, token_ids, segment_ids=None) -> dict[str, np.ndarray]:
        """(1, T) int32 arrays of those inputs that the signature has, padded on the right."""
        info = self.engine.signatures[name].inputs
        length = info["token_ids"].shape[1]
        if len(token_ids) > length:
            raise OverflowTextError(
                f"the text has {len(token_ids)} tokens; the model reads {length}",
                next_step="shorten the text, or pass truncate=True to cut it",
            )
        values = {
            "token_ids": (token_ids, self._text.role("pad")),
            "padding_mask": ([1] * len(token_ids), 0),
            "segment_ids": (segment_ids or [0] * len(token_ids), 0),
        }
        return {
            key: np.array([[*row, *[pad] * (length - len(row))]], np.int32)
            for key, (row, pad) in values.items()
            if key in info
        }

    def _prepared(self, text: str) -> str:
        if not isinstance(text, str):
            raise ModelzooError(f"a text must be str, not {type(text).__name__}")
        return text.lower() if self._processing.get("lowercase") else text

    def _word(self, token: int) -> str:
        text = self._text.decode([int(token)], skip_special=False)
        return text.strip() or text


def is_one_text(text) -> bool:
    """Whether it is a text or a pair, and not a list of them."""
    return isinstance(text, str | tuple)


def many_texts(texts) -> list:
    """A list of texts; rejected here if it is none, by name and not by its first odd use."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ModelzooError(f"a text, or a list of texts, not {type(texts).__name__}")
    return list(texts)


def check_top(top) -> None:
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
        raise ModelzooError(f"top must be a whole number, 1 or more; got {top!r}")
