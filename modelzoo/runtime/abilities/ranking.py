"""Texts in the order in which they answer a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.encoding import check_top
from modelzoo.runtime.abilities.generating import ScoreAbility
from modelzoo.runtime.abilities.labels import check_numbers, sigmoid

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Labels


class RankAbility(ScoreAbility):
    """What `runtime.Model` does with a question and texts: mixed into it."""

    def rank(
        self,
        query: str,
        candidates: Sequence[str],
        *,
        top: int | None = None,
        truncate: bool = False,
        per_token: bool = False,
    ) -> Labels:
        """Texts and how well they answer a question, the best first.

        A model that writes says instead how likely each is after the text `query`; see
        `abilities.scoring.Scoring.rank`.

        Args:
            candidates: one text or more; what stands there twice is read twice.
            top: only this number of them.
            truncate: cut a text that is too long, of a reranker.
            per_token: of a model that writes, compare the mean of the tokens, not their sum.

        Returns:
            [(candidate, score)], scores from 0 to 1.

        Raises:
            OverflowTextError: longer than the model's static length.
            ModelzooError: no candidate, or an empty one; a bundle that does not rank.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("reranker.bundle").rank("What do cats eat?", ["It rained.", "Cats eat fish."])
            [('Cats eat fish.', 0.97...), ('It rained.', 0.01...)]
        """
        check_top(top)
        if "rank" not in self.abilities:
            return super().rank(query, candidates, per_token=per_token)[:top]
        if isinstance(candidates, str) or not len(candidates):
            raise ModelzooError(f"candidates must be a list of one or more, not {candidates!r}")
        for text in (query, *candidates):
            if not isinstance(text, str) or not text.strip():
                raise ModelzooError(
                    f"a question or candidate must be a text that is not empty, not {text!r}"
                )
        pairs = [(query, text) for text in candidates]
        logits = self._answers("serve", pairs, truncate, lambda outputs, _: outputs["logits"])
        scores = np.array(logits)[:, 0]
        check_numbers(scores, "the model's answer")
        order, shares = np.argsort(-scores, kind="stable")[:top], sigmoid(scores)
        return [(str(candidates[n]), float(shares[n])) for n in order]
