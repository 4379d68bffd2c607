"""What a text's words tell of its label, without a network: naive Bayes over a bag of words.

N texts, V words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from modelzoo.runtime.text.keywords import keywords
from modelzoo.tasks.shared.label_scores import multi_label_scores
from modelzoo.tasks.shared.scores import macro_f1

__all__ = ["BagOfWords", "baseline_scores"]


class BagOfWords:
    """Multinomial naive Bayes with a count of 1 added to each word (McCallum & Nigam 1998).

    Each text is judged by what is counted in the other texts, so that no second data set is needed.

    Args:
        texts: N.

    Example:
        >>> texts = ["fine film", "fine day", "fine tea", "dull film", "dull day", "dull tea"]
        >>> words = BagOfWords(texts)
        >>> words.log_shares(np.array([1, 1, 1, 0, 0, 0]), 2).argmax(-1).tolist()
        [1, 1, 1, 0, 0, 0]
    """

    def __init__(self, texts: Sequence[str]):
        counts = [Counter(keywords(text)) for text in texts]
        number = {word: n for n, word in enumerate({word for one in counts for word in one})}
        # An entry for each text and word: the text's row, the word's number, and how often.
        self._rows = np.repeat(np.arange(len(counts)), [len(one) for one in counts])
        self._words = np.array([number[word] for one in counts for word in one], int)
        self._counts = np.array([count for one in counts for count in one.values()], int)
        self._lengths = np.array([one.total() for one in counts])
        self._size = len(number)

    def log_shares(self, truth: np.ndarray, num_labels: int) -> np.ndarray:
        """(N, labels) log-probabilities of each text's labels, up to a constant.

        Args:
            truth: (N,) the number of each text's label.
        """
        count = len(self._lengths)
        own = truth[:, None] == np.arange(num_labels)
        with np.errstate(divide="ignore"):  # a label that no other text has
            scores = np.log(own.sum(0) - own)
        for label in range(num_labels):
            mine = self._counts * own[self._rows, label]
            seen = np.bincount(self._words, mine, self._size)
            logs = self._counts * np.log(seen[self._words] - mine + 1)
            total = seen.sum() - self._lengths * own[:, label] + self._size
            scores[:, label] += np.bincount(self._rows, logs, count)
            scores[:, label] -= self._lengths * np.log(np.maximum(total, 1))
        return scores


def baseline_scores(
    texts: Sequence[str], truth: np.ndarray, num_labels: int, problem_type: str | None = None
) -> dict[str, float]:
    """`baseline_accuracy` and `baseline_f1` of a bag of words; of a regression nothing.

    Args:
        truth: (N,) the right label; (N, labels) with 1 for those that apply, where several may.

    >>> texts = ["fine film", "fine day", "fine tea", "dull film", "dull day", "dull tea"]
    >>> baseline_scores(texts, np.array([1, 1, 1, 0, 0, 0]), 2)
    {'baseline_accuracy': 1.0, 'baseline_f1': 1.0}
    """
    if problem_type == "regression":
        return {}
    words = BagOfWords(texts)
    if problem_type == "multi_label_classification":
        applies = [words.log_shares((one > 0).astype(int), 2).argmax(-1) for one in truth.T]
        found = multi_label_scores(2.0 * np.stack(applies, -1) - 1, truth)
        accuracy, f1 = found["accuracy"], found["f1"]
    else:
        guess = words.log_shares(truth, num_labels).argmax(-1)
        accuracy, f1 = float((guess == truth).mean()), macro_f1(truth, guess, num_labels)
    return {"baseline_accuracy": accuracy, "baseline_f1": f1}
