"""Labels of texts, pairs of texts, images, sounds and videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.encoding import EncodesTexts, check_top, is_one_text, many_texts
from modelzoo.runtime.abilities.entailment import HYPOTHESIS, above, entailed, entailment, pairs_of
from modelzoo.runtime.abilities.labels import check_numbers, check_threshold, labelled
from modelzoo.runtime.abilities.media import MediaAbilities, is_one_medium, medium_of
from modelzoo.runtime.abilities.protocols import Classifies

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Labels, Medium, Several


class ClassifyAbility(EncodesTexts, MediaAbilities, Classifies):
    """What `runtime.Model` does with a model that gives labels to what it reads: mixed into it."""

    @overload
    def classify(
        self,
        text: Medium,
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        hypothesis: str | None = None,
        several: bool = False,
    ) -> Labels: ...
    @overload
    def classify(
        self,
        text: Several[Medium],
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        hypothesis: str | None = None,
        several: bool = False,
    ) -> list[Labels]: ...
    def classify(
        self,
        text,
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
        *,
        labels: Sequence[str] | None = None,
        hypothesis: str | None = None,
        several: bool = False,
    ) -> list:
        """Labels and their probabilities, the likeliest first.

        Of a model with `problem_type` "multi_label_classification" each label has a probability by
        itself, so that several may apply, or none: where its manifest has `thresholds`, the answer
        is the labels that reach theirs. Of one with "regression" it is a number, not a probability.

        Args:
            text: a text, a pair of texts (a tuple), or a list of either; for a model that reads
                media an image, a sound or a video (see `MediaAbilities`), or a list of them.
            top: only this number of labels, whatever the thresholds of the manifest.
            truncate: cut a text, or a sound, that is too long.
            threshold: only labels with at least this probability, instead of the manifest's; 0
                gives all.
            labels: labels of your own, of a model of natural-language inference, which says what
                follows from a text: how likely a sentence with the label follows (Yin et al. 2019).
            hypothesis: this sentence, with {} for the label. Default: "This text is about {}."
            several: each of these labels has a probability by itself, so that several may apply.

        Returns:
            [(label, probability)], for a list one such list each.

        Raises:
            OverflowTextError: longer than the model's static length.
            DataError: a medium that cannot be read.
            ModelzooError: a bundle that does not classify; a threshold outside 0 to 1.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("classifier.bundle").classify("a fine film", top=1)
            [('positive', 0.98...)]
            >>> load("nli.bundle").classify("It rained.", top=1, labels=["sport", "weather"])
            [('weather', 0.97...)]
        """
        self._need("classify")
        check_top(top)
        problem_type = self.manifest.get("problem_type")
        check_threshold(threshold, problem_type)
        if labels is not None:
            how = hypothesis or HYPOTHESIS
            answers = self._entailed(text, labels, how, several, truncate)
            answers = [above(answer, threshold)[:top] for answer in answers]
            return answers[0] if isinstance(text, str) else answers
        if hypothesis is not None or several:
            raise ModelzooError(
                "hypothesis and several are for labels of your own",
                next_step="pass labels=[...], or leave them out",
            )
        labels = self.manifest.get("labels")
        least = threshold
        if threshold is None and top is None:
            least = self.manifest.get("thresholds")

        def answer(outputs, *_) -> list:
            return labelled(outputs["logits"], labels, top, problem_type, least)

        kind = medium_of(self.engine.signatures["serve"])
        if kind is not None:
            answers = self._media_answers(kind, "serve", text, answer, truncate)
            return answers[0] if is_one_medium(text) else answers
        answers = self._answers("serve", text, truncate, answer)
        return answers[0] if is_one_text(text) else answers

    def _entailed(self, text, labels, hypothesis: str, several: bool, truncate: bool) -> list:
        """(label, probability) of each label for each text, the likeliest first."""
        yes, no = entailment(self.manifest.get("labels"), self.manifest["name"])
        texts = [text] if isinstance(text, str) else many_texts(text)
        pairs = pairs_of(texts, labels, hypothesis)
        logits = self._answers("serve", pairs, truncate, lambda outputs, _: outputs["logits"])
        check_numbers(np.array(logits), "the model's answer")
        rows = np.reshape(logits, (len(texts), len(labels), -1))
        return [entailed(row, list(labels), yes, no, several) for row in rows]
