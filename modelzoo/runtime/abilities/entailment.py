"""Labels that a model was not trained for, by what follows from a text (Yin et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.labels import softmax

HYPOTHESIS = "This text is about {}."


def entailment(labels: Sequence[str] | None, name: str) -> tuple[int, int]:
    """The numbers of the labels "entailment" and "contradiction" of a model.

    "not_entailment" stands for the second where there are two.

    Raises:
        ModelzooError: it has no such labels.

    >>> entailment(["contradiction", "neutral", "entailment"], "nli")
    (2, 0)
    """
    low = [label.lower() for label in labels or ()]
    yes = [n for n, label in enumerate(low) if label.startswith("entail")]
    no = [n for n, label in enumerate(low) if label.startswith(("contradict", "not"))]
    if len(yes) != 1 or len(no) != 1:
        raise ModelzooError(
            f"labels of your own are for a model of natural-language inference, and {name} answers "
            f"with {', '.join(labels or ()) or 'labels without names'}",
            next_step="take one whose labels are entailment, neutral and contradiction",
        )
    return yes[0], no[0]


def pairs_of(texts: Sequence[str], labels: Sequence[str], hypothesis: str) -> list[tuple[str, str]]:
    """Each text with the hypothesis of each label, all of the first text first.

    Raises:
        ModelzooError: no label, an empty one, or one twice; a hypothesis without {}; a pair.

    >>> pairs_of(["It rained."], ["sport", "weather"], HYPOTHESIS)[1]
    ('It rained.', 'This text is about weather.')
    """
    if isinstance(labels, str) or not len(labels):
        raise ModelzooError(f"labels must be a list of one or more, not {labels!r}")
    for number, label in enumerate(labels):
        if not isinstance(label, str) or not label.strip():
            raise ModelzooError(f"a label must be a text that is not empty, not {label!r}")
        if label in labels[:number]:
            raise ModelzooError(f"the label {label!r} is there twice", next_step="leave one out")
    if hypothesis.count("{}") != 1:
        raise ModelzooError(
            f"the hypothesis must have one {{}}, where the label goes: {hypothesis!r}",
            next_step=f"write it like {HYPOTHESIS!r}",
        )
    for text in texts:
        if not isinstance(text, str):
            raise ModelzooError("with labels of your own a text is one text, not a pair or a file")
    return [(text, hypothesis.replace("{}", label)) for text in texts for label in labels]


def entailed(
    logits: np.ndarray, labels: list[str], yes: int, no: int, several: bool
) -> list[tuple[str, float]]:
    """(label, probability), the likeliest first.

    Args:
        logits: (labels, classes) of the model.
        yes, no: the classes of what follows and of what cannot be.
        several: entailment against contradiction for each label, not the labels against each other.

    >>> logits = np.array([[0.0, 2.0], [0.0, 1.0]])
    >>> [label for label, _ in entailed(logits, ["sport", "weather"], 1, 0, several=False)]
    ['sport', 'weather']
    """
    shares = softmax(logits[:, [no, yes]])[:, 1] if several else softmax(logits[:, yes])
    order = np.argsort(-shares, kind="stable")
    return [(labels[n], float(shares[n])) for n in order]


def above(answer: list[tuple[str, float]], threshold: float | None) -> list[tuple[str, float]]:
    """Those with at least this probability; all without a threshold."""
    return [one for one in answer if threshold is None or one[1] >= threshold]
