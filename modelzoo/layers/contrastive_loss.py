"""Which of the batch belong together? Losses over embeddings of two or more kinds.

B rows of this device, G rows of all devices together, E width of an embedding. A row holds what
belongs together: an image, its caption, its sound; some of them may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from keras import ops

from modelzoo.layers.backend.replicas import Gathered, gather
from modelzoo.layers.masks import HIDDEN
from modelzoo.signature import Tensor

LOSSES = ("softmax", "sigmoid")


@dataclass(frozen=True)
class Scales:
    """What turns cosines into logits: `factor * cosine + bias`.

    Attributes:
        factors: (asking kind, asked kind) -> scalar.
        bias: a scalar, or None for none.
    """

    factors: Mapping[tuple[str, str], object]
    bias: object = None


def contrastive_loss(
    embeddings: Mapping[str, object],
    numbers: Mapping[str, object],
    scales: Scales,
    pairs: Sequence[tuple[str, str]],
    *,
    loss: str = "softmax",
    weight=None,
    ignore_equal: bool = True,
) -> Tensor:
    """The mean over pairs of kinds of their loss; a scalar float32.

    On several devices each gives its own rows' share, and the shares add up to what one device
    says of the whole batch; so do their gradients. See `layers.replicas`.

    Args:
        embeddings: kind -> (B, E), of length 1.
        numbers: kind -> (B,) int32: what stands in a row, equal where two rows hold the same, and
            -1 where it is missing. A row counts for a pair of kinds if it holds both.
        pairs: of kinds, each compared with the other.
        loss: `"softmax"`, both ways' mean of the cross-entropy over the batch (Radford et al.
            2021), or `"sigmoid"`, a yes or no for each combination (Zhai et al. 2023).
        weight: (B,), how much each row counts; 0 for none.
        ignore_equal: rows that share an image, a caption or a sound are not wrong answers for each
            other.

    Example:
        >>> e, n = ops.eye(64), ops.arange(64)
        >>> scales = Scales({("image", "text"): 10.0}, bias=-10.0)
        >>> image, text = ops.pad(e, ((0, 0), (0, 64))), ops.pad(e, ((0, 0), (64, 0)))
        >>> orthogonal = {"image": image, "text": text}
        >>> numbers, pairs = {"image": n, "text": n}, [("image", "text")]
        >>> round(float(contrastive_loss(orthogonal, numbers, scales, pairs, loss="sigmoid")), 5)
        10.00291
    """
    everywhere, weights, vectors = _everywhere(embeddings, numbers, weight)
    twins = _twins(everywhere) if ignore_equal else None
    total = 0.0
    for pair in pairs:
        rows = _Rows.of(pair, everywhere, weights, twins)
        of_pair = _softmax if loss == "softmax" else _sigmoid
        total = total + of_pair(pair, vectors, rows, scales)
    return total / len(pairs)


@dataclass(frozen=True)
class _Rows:
    """Which rows count for a pair of kinds.

    Attributes:
        weight: (B,), 0 where one of the two is missing.
        total: scalar, the sum over all devices; 1 where nothing counts.
        candidates: kind -> (1, G), 1 where there is something that may be asked for.
        twins: (B, G), 1 for other rows that hold the same; or None.
        own: (B, G), 1 for the row itself.
    """

    weight: object
    total: object
    candidates: dict
    twins: object
    own: object

    @classmethod
    def of(cls, pair, numbers, weights: Gathered, twins) -> Self:
        present = {kind: _number(numbers[kind].all >= 0) for kind in pair}
        real = _number(weights.all > 0)
        counts = weights.all * present[pair[0]] * present[pair[1]]
        own = weights.own_columns()
        return cls(
            weight=ops.sum(own * ops.expand_dims(counts, 0), axis=1),
            total=ops.maximum(ops.sum(counts), 1e-9),
            candidates={kind: ops.expand_dims(real * present[kind], 0) for kind in pair},
            twins=None if twins is None else twins * (1.0 - own),
            own=own,
        )

    def hidden(self, kind: str):
        """(B, G): 1 for rows that are neither a right nor a wrong answer."""
        hidden = 1.0 - self.candidates[kind]
        if self.twins is not None:
            hidden = ops.maximum(hidden, self.twins)
        return hidden * (1.0 - self.own)


def in_batch_nll(questions, answers, candidates, hidden, factor) -> Tensor:
    """(B,) nats of each question's own answer among all candidates, by their cosines.

    Args:
        questions, answers: (B, E) of length 1; row i of both belongs together.
        candidates: (G, E), the answers among them.
        hidden: (B, G), 1 for candidates that are neither a right nor a wrong answer.
        factor: what makes logits of cosines.
    """
    own = factor * ops.sum(questions * answers, axis=-1)
    logits = factor * ops.matmul(questions, ops.transpose(candidates))
    return ops.logsumexp(logits + HIDDEN * hidden, axis=-1) - own


def _softmax(pair, vectors, rows: _Rows, scales: Scales):
    total = 0.0
    for asking, asked in (pair, pair[::-1]):
        answers, factor = vectors[asked], scales.factors[asking, asked]
        nll = in_batch_nll(
            vectors[asking].own, answers.own, answers.all, rows.hidden(asked), factor
        )
        total = total + ops.sum(rows.weight * nll) / rows.total
    return 0.5 * total


def _sigmoid(pair, vectors, rows: _Rows, scales: Scales):
    asking, asked = pair
    cosines = ops.matmul(vectors[asking].own, ops.transpose(vectors[asked].all))
    logits = scales.factors[asking, asked] * cosines
    if scales.bias is not None:
        logits = logits + scales.bias
    signs = 2.0 * rows.own - 1.0
    wrong = ops.softplus(-signs * logits) * (1.0 - rows.hidden(asked))
    return ops.sum(rows.weight * ops.sum(wrong, axis=1)) / rows.total


def _everywhere(embeddings, numbers, weight):
    """Each kind's numbers, the rows' weights and each kind's vectors, here and on all devices.

    All numbers travel at once, and all else: devices may not agree on the order of several.
    """
    whole = [ops.cast(numbers[kind], "int32") for kind in numbers]
    found = gather(ops.stack(whole, axis=1))
    places = {kind: found.columns(i, i + 1, flat=True) for i, kind in enumerate(numbers)}
    parts = [ops.expand_dims(_weights(weight, whole[0]), 1)]
    parts += [ops.cast(x, "float32") for x in embeddings.values()]
    found, start, vectors = gather(ops.concatenate(parts, axis=1)), 1, {}
    for kind, x in embeddings.items():
        vectors[kind] = found.columns(start, start + x.shape[1])
        start += x.shape[1]
    return places, found.columns(0, 1, flat=True), vectors


def _twins(numbers: Mapping[str, Gathered]):
    """(B, G): 1 where two rows hold the same of some kind."""
    same = None
    for number in numbers.values():
        ours, theirs = ops.expand_dims(number.own, 1), ops.expand_dims(number.all, 0)
        equal = _number(ours == theirs) * _number(theirs >= 0)
        same = equal if same is None else ops.maximum(same, equal)
    return same


def _weights(weight, like):
    if weight is None:
        return ops.ones_like(ops.cast(like, "float32"))
    return ops.cast(ops.reshape(weight, (-1,)), "float32")


def _number(condition):
    return ops.cast(condition, "float32")
