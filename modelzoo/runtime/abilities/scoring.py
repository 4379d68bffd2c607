"""How likely texts are to a model: mixed into `runtime.Model` and into Keras models alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime.abilities.labels import check_numbers, softmax
from modelzoo.runtime.abilities.sources import Source, is_one_source
from modelzoo.runtime.generation.prefill import shared_start
from modelzoo.runtime.generation.scoring import Scorer, Scores

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Given, Labels, Several
    from modelzoo.runtime.text.tokenizer import Tokenizer

__all__ = ["MaskedScoring", "Scoring", "joined", "targets"]


class Scoring:
    """`score` and `rank`, of what `_scores` gives: here of a model that writes.

    Such a model says how it reads a text (`_scored_ids`), and with what it scores (`_scorer`).
    """

    @overload
    def score(
        self, text: str, given: Given | None = None, *, too_long: str = "reject"
    ) -> Scores: ...
    @overload
    def score(
        self,
        text: Several[str],
        given: Given | Several[Given] | None = None,
        *,
        too_long: str = "reject",
    ) -> list[Scores]: ...
    def score(self, text, given=None, *, too_long: str = "reject") -> Any:
        """The log-probability of each token of a text.

        A text and what is given are read as one text, so what is scored begins at the first token
        that differs from those of `given` alone. Nothing given is the start of a document: the
        tokenizer's bos or eos token, if it has one; without one the first token is not scored.
        An encoder-decoder scores its target, with the token that ends it, given the source: a text,
        or for a model that reads media with it `{"text": ..., "image": ...}`, or `"video"`. A
        masked model hides one token after another: the pseudo-log-likelihood of Salazar et al.
        (2020, 2), in which each token is seen from both sides.

        Args:
            text: one, or a list of texts.
            given: what stands before it, or the source; for a list one for all, or a list.
            too_long: what to do with a text longer than the window: "reject", or "rolling", one
                window after another (decoders).

        Returns:
            `Scores`, with `tokens`, `log_probs`, `likeliest`, `total`, `greedy`, `perplexity`; for
            a list of texts a list of them.

        Raises:
            OverflowTextError: longer than the window, and "reject".
            ModelzooError: an empty text, or a model that cannot say.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("gpt.bundle").score(" God", given="In the beginning").greedy
            True
        """
        one = isinstance(text, str)
        texts = [text] if one else list(text)
        if given is None or is_one_source(given):
            givens = [self._given(given)] * len(texts)
        else:
            givens = [self._given(one) for one in cast(Sequence, given)]
        if len(givens) != len(texts):
            raise ModelzooError(
                f"expected one text to score for each one given, got {len(texts)} and {len(givens)}"
            )
        for each in texts:
            if not isinstance(each, str) or not each:
                raise ModelzooError(f"expected a text to score, got {each!r}")
        found = self._scores(list(zip(givens, texts, strict=True)), too_long)
        return found[0] if one else found

    def rank(self, query: Given, candidates: Sequence[str], *, per_token: bool = False) -> Labels:
        """Which of several continuations is likely after a text; the likeliest first.

        Each is scored as a whole with the text before it, from the first token in which any of
        them differs from it: candidates may share beginnings, or end in the middle of a token.

        Args:
            query: what stands before, exactly: a space between belongs to it or to the candidate.
            candidates: two or more continuations; for an encoder-decoder, targets.
            per_token: compare the mean log-probability of a token, not the sum, which favours
                short candidates.

        Returns:
            [(candidate, probability)], where the probabilities of the candidates sum to 1.

        Raises:
            ModelzooError: no candidates, an empty one, or one twice.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("gpt.bundle").rank("In the beginning", [" God", " dog"])[0][0]
            ' God'
        """
        candidates, given = check_candidates(candidates), self._given(query)
        found = self._scores([(given, one) for one in candidates], "reject", together=True)
        totals = [one.total / (len(one.tokens) if per_token else 1) for one in found]
        shares = softmax(np.array(totals))
        order = np.argsort(-shares, kind="stable")
        return [(candidates[n], float(shares[n])) for n in order]

    def _scores(
        self, rows: list[tuple[str | None, str]], too_long: str, together: bool = False
    ) -> list[Scores]:
        """The scores of (given, text) rows.

        Args:
            together: score all from the same token on, so that their totals can be compared.
        """
        encoded = [self._scored_ids(given, text) for given, text in rows]
        common = min((first for _, first in encoded), default=0)
        if together and common < 1:
            raise ModelzooError(
                "nothing stands before the candidates, and the tokenizer has no bos or eos token",
                next_step="give a text for them to continue",
            )
        found, scorer, before = [], None, None
        for (given, _), (ids, first) in zip(rows, encoded, strict=True):
            if scorer is None or given != before:
                scorer, before = self._scorer(given, scorer), given
            first = common if together else max(first, 1)
            found.append(
                scorer.score(ids, first, too_long) if first < len(ids) else Scores((), (), ())
            )
        return found

    def _given(self, given: Any) -> Any:
        """What is given, checked: here a text, or nothing."""
        return given if given is None or isinstance(given, str) else Source.of(given).text

    def _scored_ids(self, given: str | None, text: str) -> tuple[list[int], int]:
        """All ids that the model reads of a text, and the number of the first one to score."""
        raise NotImplementedError

    def _scorer(self, given: str | None, old: Scorer | None) -> Scorer:
        """What scores texts after `given`; the old one where that makes no difference."""
        raise NotImplementedError


class MaskedScoring(Scoring):
    """The same of a model that fills masks."""

    def _scores(
        self, rows: list[tuple[str | None, str]], too_long: str, together: bool = False
    ) -> list[Scores]:
        if too_long != "reject":
            raise ModelzooError(
                f"a masked model reads a text as a whole: too_long cannot be {too_long!r}",
                next_step="score its sentences one by one",
            )
        tokenizer, limit = self._scoring_tokenizer(), self._longest_masked()
        texts = [tokenizer.encode((given or "") + text) for given, text in rows]
        firsts = [
            shared_start(tokenizer.encode(given or ""), ids)
            for (given, _), ids in zip(rows, texts, strict=True)
        ]
        found = []
        for ids, first in zip(texts, firsts, strict=True):
            first = min(firsts) if together else first
            framed, segments = tokenizer.frame_pair(ids)
            if limit is not None and len(framed) > limit:
                raise OverflowTextError(
                    f"the text has {len(framed)} tokens, and the model reads {limit}",
                    next_step="shorten it, or score its sentences one by one",
                )
            begin = next(n for n in range(len(framed)) if framed[n : n + len(ids)] == ids)
            places = np.arange(begin + first, begin + len(ids))
            copies = np.tile(np.array(framed, np.int32), (len(places), 1))
            copies[np.arange(len(places)), places] = tokenizer.role("mask")
            own = tuple(ids[first:])
            log_probs, gap = self._masked(copies, segments, places, np.array(own, np.int32))
            check_numbers(log_probs, "the log-probabilities")
            found.append(Scores(own, tuple(log_probs.tolist()), tuple((gap <= 0).tolist())))
        return found

    def _scoring_tokenizer(self) -> Tokenizer:
        raise NotImplementedError

    def _longest_masked(self) -> int | None:
        """Tokens that the model reads at most."""
        raise NotImplementedError

    def _masked(
        self, copies: np.ndarray, segments: list[int], places: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Two (N,) float32 of copies (N, T) of a text, each with a mask at its own of `places`.

        Returns: the log-probabilities of `targets` there, and what they lack to the likeliest.
        """
        raise NotImplementedError


def check_candidates(candidates: Sequence[str]) -> list[str]:
    """Two or more texts, none empty and none twice.

    Raises:
        ModelzooError: others.
    """
    if isinstance(candidates, str):
        raise ModelzooError(f"expected a list of candidates, got the text {candidates!r}")
    candidates = list(candidates)
    if len(candidates) < 2:
        raise ModelzooError(f"expected two candidates or more to choose from, got {candidates}")
    for number, text in enumerate(candidates):
        if not isinstance(text, str) or not text:
            raise ModelzooError(f"candidate {number + 1} must be a text, got {text!r}")
        if text in candidates[:number]:
            raise ModelzooError(f"the candidate {text!r} is there twice")
    return candidates


def joined(tokenizer: Tokenizer, given: str | None, text: str) -> tuple[list[int], int]:
    """The ids of a text after another, as one text, and the number of the first to score.

    What the tokenizer puts before every text stands before it; else, where no token of `given` is
    kept, its bos or eos token, if it has one: without any the number is 0.
    """
    ids = tokenizer.encode((given or "") + text)
    common = shared_start(tokenizer.encode(given or ""), ids)
    before = list(tokenizer.prefix)
    if not before and not common:
        before = [tokenizer.roles[role] for role in ("bos", "eos") if role in tokenizer.roles][:1]
    return [*before, *ids], len(before) + common


def targets(
    tokenizer: Tokenizer, before: list[int], given: str | None, text: str
) -> tuple[list[int], int]:
    """The ids of an encoder-decoder's target, which ends with eos, and the first to score.

    Args:
        before: the tokens that a target begins with.
    """
    if given is None:
        raise ModelzooError(
            "this model writes a text for another one, and none is given",
            next_step='give its source: score(text, given="…")',
        )
    ids = [*before, *tokenizer.encode(text), tokenizer.role("eos")]
    return ids, len(before)
