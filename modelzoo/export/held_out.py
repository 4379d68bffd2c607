"""What quantization costs the task: the bundle beside float32, on text that neither was made for.

The text is English prose, the docstrings of this Python's library. The figures say how far two
models are apart, so it need not be what they were trained on.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from modelzoo.export.precision import Mode
from modelzoo.export.prose import held_out_texts
from modelzoo.tasks.scores import negative_log_likelihood, retrieval_scores

TOKENS = 257
PASSAGES = 48
_TIE = 0.02  # two labels whose probabilities are this near are as good as each other


def passages(count: int = PASSAGES) -> list[str]:
    """Paragraphs of 60 words or so, each from another place."""
    words = (text.split() for text in held_out_texts())
    return list(islice((" ".join(some[:60]) for some in words if len(some) >= 60), count))


def language_model(generation, tokenizer, mode: Mode) -> dict:
    """Perplexity of a text token by token through the state, beside Keras' on the whole text.

    Args:
        generation: a `verify.Generation`.
    """
    ids = generation.samples.tokens(TOKENS)
    if tokenizer is not None:
        limit = generation.samples.vocab_size
        text = " ".join(passages(16))
        ids = [token for token in tokenizer.encode(text) if token < limit][:TOKENS] or ids
    if generation.window is not None:
        ids = ids[: generation.window]
    right, found = generation.keras_logits(ids), generation.decode_all(ids)
    losses = (negative_log_likelihood(logits[:-1], ids[1:]) for logits in (right, found))
    before, after = (np.exp(loss.mean()) for loss in losses)
    return {
        "metric": "perplexity",
        "tokens": len(ids) - 1,
        "float32": float(before),
        "bundle": float(after),
        "change": float(after / before - 1),
        "allowed": mode.max_loss,
        "argmax_agreement": float((right.argmax(-1) == found.argmax(-1)).mean()),
    }


def encoder(bundle, model, mode: Mode) -> dict | None:
    """How often labels agree; or how well a passage's first half finds its second.

    Args:
        bundle: a `runtime.Model`.
        model: the Keras model, which offers the same methods.

    Returns: the figures; None where the bundle neither classifies nor embeds.
    """
    texts = passages()
    if len(texts) < 8 or bundle.tokenizer is None:
        return None
    if "classify" in bundle.abilities:
        right, found = (one.classify(texts, truncate=True) for one in (model, bundle))
        pairs = [
            (a[0][0], b[0][0])
            for a, b in zip(right, found, strict=True)
            if len(a) < 2 or a[0][1] - a[1][1] > _TIE
        ]
        agreement = float(np.mean([a == b for a, b in pairs])) if pairs else 1.0
        figures = {"metric": "label_agreement", "texts": len(pairs)}
        figures |= {"float32": 1.0, "bundle": agreement, "change": agreement - 1.0}
    elif "embed" in bundle.abilities:
        halves = [text.split() for text in texts]
        first = [" ".join(words[:30]) for words in halves]
        second = [" ".join(words[30:]) for words in halves]
        vectors = [
            [one.embed(half, truncate=True) for half in (first, second)] for one in (model, bundle)
        ]
        own = np.arange(len(texts))
        before, after = (retrieval_scores(*pair, own, 1.0)["recall@1"] for pair in vectors)
        figures = {"metric": "recall@1", "texts": len(texts)}
        figures |= {"float32": before, "bundle": after, "change": after - before}
    else:
        return None
    return {**figures, "allowed": -mode.max_drop}


def complaint(figures: dict) -> str | None:
    """What is wrong with the figures; None where they are good enough."""
    change, allowed = figures["change"], figures["allowed"]
    if (change > allowed) if allowed > 0 else (change < allowed):
        return (
            f"held-out {figures['metric']}: {figures['bundle']:.4g} beside "
            f"{figures['float32']:.4g} in float32, a change of {change:+.2%}; "
            f"{allowed:+.0%} is allowed"
        )
    return None
