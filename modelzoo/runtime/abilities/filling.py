"""What may stand where a text has a mask token."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.encoding import EncodesTexts, check_top, many_texts
from modelzoo.runtime.abilities.labels import check_numbers, softmax
from modelzoo.runtime.abilities.protocols import FillsMasks

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Labels, Several


class FillMaskAbility(EncodesTexts, FillsMasks):
    """What `runtime.Model` does with a masked language model: mixed into it."""

    @overload
    def fill_mask(
        self, text: str, top: int = 5, truncate: bool = False
    ) -> Labels | list[Labels]: ...
    @overload
    def fill_mask(
        self, text: Several[str], top: int = 5, truncate: bool = False
    ) -> list[Labels | list[Labels]]: ...
    def fill_mask(self, text: str | Several[str], top: int = 5, truncate: bool = False) -> list:
        """What may stand where the mask token does, the likeliest first.

        Args:
            text: holds the tokenizer's mask token, "[MASK]" for example, once or several times.

        Returns:
            [(token's text, probability)]; for several masks one such list each; for a list of
            texts, one such result each.

        Raises:
            ModelzooError: no mask in the text, or a bundle that does not fill masks.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("bert.bundle").fill_mask("Paris is the [MASK] of France.", top=1)
            [('capital', 0.94...)]
        """
        self._need("fill_mask")
        check_top(top)
        mask = self._text.role("mask")
        texts = [text] if isinstance(text, str) else many_texts(text)

        def check(text, token_ids) -> None:
            if mask not in token_ids:
                raise ModelzooError(
                    f"the text holds no mask (or it was cut off): {text!r}",
                    next_step=f"write {self._text.id_to_token(mask)} where a word is missing",
                )

        def fill(outputs, token_ids) -> list:
            check_numbers(outputs["logits"], "the model's answer")
            answers = []
            for place in (place for place, token in enumerate(token_ids) if token == mask):
                probabilities = softmax(outputs["logits"][place])
                ids = np.argsort(-probabilities, kind="stable")[:top]
                answers.append([(self._word(n), float(probabilities[n])) for n in ids])
            return answers[0] if len(answers) == 1 else answers

        answers = self._answers("serve", texts, truncate, fill, check, allow=("mask",))
        return answers[0] if isinstance(text, str) else answers
