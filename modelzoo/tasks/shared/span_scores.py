"""Exact match and F1 of answers, normalised as SQuAD does, or by characters as CMRC does.

SQuAD: Rajpurkar et al. 2016, 6.1. CMRC: Cui et al. 2019, 4.1, whose overlap is the longest run of
characters that both texts have.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from modelzoo.data.sentences import split_sentences

__all__ = ["answer_scores", "exact_match", "nearest_sentence", "overlap_f1", "span_scores"]

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u3040-\u30ff"
_IS_HAN = re.compile(f"[{_HAN}]")
_MIXED = re.compile(rf"[{_HAN}]|[^\s{_HAN}]+")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_ASCII = str.maketrans("", "", string.punctuation)
_NO_CHINESE = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’‘《》…·、「」（）－～『』—")


def words_of(text: str, chinese: bool | None = None) -> list[str]:
    """What two answers have in common is counted in these.

    Args:
        chinese: by characters. Default: where the text has some.

    >>> words_of("The cat's whiskers."), words_of("在 1953 年。")
    (['cats', 'whiskers'], ['在', '1953', '年'])
    """
    text = text.lower()
    if _IS_HAN.search(text) if chinese is None else chinese:
        return _MIXED.findall(text.translate(_NO_CHINESE))
    return _ARTICLES.sub(" ", text.translate(_NO_ASCII)).split()


def exact_match(answer: str, right: str) -> float:
    """1.0 where two answers are the same but for case, punctuation and articles.

    >>> exact_match("the Nile", "Nile."), exact_match("Nile", "the river Nile")
    (1.0, 0.0)
    """
    chinese = bool(_IS_HAN.search(right))
    return float(words_of(answer, chinese) == words_of(right, chinese))


def overlap_f1(answer: str, right: str) -> float:
    """F1 of the words that two answers share; of their longest common run, in Chinese.

    >>> round(overlap_f1("the river Nile", "Nile"), 4), round(overlap_f1("在北京市", "北京"), 4)
    (0.6667, 0.6667)
    """
    chinese = bool(_IS_HAN.search(right))
    ours, theirs = words_of(answer, chinese), words_of(right, chinese)
    if not ours or not theirs:
        return float(ours == theirs)
    same = _longest_run(ours, theirs) if chinese else (Counter(ours) & Counter(theirs)).total()
    return 2 * same / (len(ours) + len(theirs))


def answer_scores(answer: str | None, right: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of an answer against the best of several right ones.

    Args:
        answer: `None` says that there is none.
        right: empty where there is none.

    >>> answer_scores(None, []), answer_scores("Ann", []), answer_scores("Ann", ["Ann", "Bob"])
    ((1.0, 1.0), (0.0, 0.0), (1.0, 1.0))
    """
    if answer is None or not right:
        both = float(answer is None and not right)
        return both, both
    return max(exact_match(answer, one) for one in right), max(
        overlap_f1(answer, one) for one in right
    )


def nearest_sentence(question: str, context: str) -> str:
    """The sentence of a context that shares most words with a question, the first of equals.

    >>> nearest_sentence("Who wrote the letter?", "It rained. Ann wrote a letter. It was long.")
    'Ann wrote a letter.'
    """
    asked = Counter(words_of(question))
    sentences = [one.strip() for one in split_sentences(context)]
    return max(sentences, key=lambda one: (Counter(words_of(one)) & asked).total())


def span_scores(
    examples: Sequence[dict], answers: Sequence[str | None], prefix: str = ""
) -> dict[str, float]:
    """`exact_match` and `f1`, the mean over examples; of each kind, where some have no answer.

    >>> rows = [{"answers": [{"text": "Ann", "start": 0}]}, {"answers": []}]
    >>> span_scores(rows, ["Ann", "Bob"])
    {'exact_match': 0.5, 'f1': 0.5, 'answerable_f1': 1.0, 'unanswerable_f1': 0.0}
    """
    right = [[answer["text"] for answer in example["answers"]] for example in examples]
    scores = [answer_scores(a, b) for a, b in zip(answers, right, strict=True)]
    found = {"exact_match": _mean([em for em, _ in scores]), "f1": _mean([f1 for _, f1 in scores])}
    if not all(right) and any(right):
        pairs = list(zip(scores, right, strict=True))
        found["answerable_f1"] = _mean([f1 for (_, f1), some in pairs if some])
        found["unanswerable_f1"] = _mean([f1 for (_, f1), some in pairs if not some])
    return {prefix + name: value for name, value in found.items()}


def _longest_run(a: list[str], b: list[str]) -> int:
    """Length of the longest run that two lists have in common."""
    best, before = 0, [0] * (len(b) + 1)
    for one in a:
        row = [0]
        for at, other in enumerate(b):
            row.append(before[at] + 1 if one == other else 0)
        best, before = max(best, *row), row
    return best


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
