"""What quantization costs the task: the bundle against float32, on text that neither was made for.

The text is English prose, the docstrings of this Python's library; for media see `held_out_media`.
The figures say how far two models are apart, so it need not be what they were trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from modelzoo.exporting.quantization.precision import Mode
from modelzoo.exporting.verification.probe_text import held_out_texts
from modelzoo.exporting.verification.quality_media import agreement, media_figures, recall
from modelzoo.runtime.abilities.media import medium_of
from modelzoo.tasks.shared.scores import negative_log_likelihood
from modelzoo.tasks.shared.span_scores import answer_scores

TOKENS = 1025
PASSAGES = 48
_OWN_TOKENS = 64
_CLEAR = 1.5  # times as likely as the next answer


def passages(count: int = PASSAGES) -> list[str]:
    """Paragraphs of 60 words or so, each from another place."""
    words = (text.split() for text in held_out_texts())
    return list(islice((" ".join(some[:60]) for some in words if len(some) >= 60), count))


def language_model(generation, tokenizer, mode: Mode) -> dict:
    """Perplexity of a text token by token through the state, against Keras' on the whole text.

    A model that writes about an image or a sound is given what it writes itself.

    Args:
        generation: a `verify.Generation`.
    """
    first = 1
    if generation.source is not None and generation.source_ids is None:
        prompt, text = generation.own_text(_OWN_TOKENS)
        ids, first = prompt + text, len(prompt)
    else:
        ids = _prose(generation, tokenizer)
    both = generation.keras_logits(ids), generation.decode_all(ids)
    right, found = (logits[first - 1 :] for logits in both)
    losses = (negative_log_likelihood(logits[:-1], ids[first:]) for logits in (right, found))
    before, after = (np.exp(loss.mean()) for loss in losses)
    return {
        "metric": "perplexity",
        "tokens": len(ids) - first,
        "float32": float(before),
        "bundle": float(after),
        "change": float(after / before - 1),
        "allowed": mode.max_loss,
        "argmax_agreement": float((right.argmax(-1) == found.argmax(-1)).mean()),
    }


def _prose(generation, tokenizer) -> list[int]:
    """Token ids of passages, as many as fit; of the built-in sentences without a tokenizer."""
    ids = generation.samples.tokens(TOKENS)
    if tokenizer is not None:
        limit = generation.samples.vocab_size
        text = " ".join(passages(16))
        ids = [token for token in tokenizer.encode(text) if token < limit][:TOKENS] or ids
    return ids if generation.window is None else ids[: generation.window]


def encoder(bundle, model, mode: Mode) -> dict | None:
    """How often labels agree; or how well a passage's first half finds its second.

    Of a model with several towers, the one that lost most; the `others` against it.

    Args:
        bundle: a `runtime.Model`.
        model: the Keras model, which offers the same methods.

    Returns: the figures; None where the bundle neither classifies nor embeds.
    """
    found = list(media_figures(bundle, model))
    texts = passages()
    if len(texts) >= 8 and bundle.tokenizer is not None:
        found += _text_figures(bundle, model, texts)
    if not found:
        return None
    worst = min(found, key=lambda figures: figures["change"])
    others = [figures for figures in found if figures is not worst]
    figures = {**worst, "allowed": -mode.max_drop}
    return {**figures, "others": others} if others else figures


def _text_figures(bundle, model, texts: list[str]) -> list[dict]:
    if "classify" in bundle.abilities and medium_of(bundle.engine.signatures["serve"]) is None:
        # The first two, whatever the thresholds of several labels.
        found = (one.classify(texts, top=2, truncate=True) for one in (model, bundle))
        return list(agreement(*found))
    if "tag" in bundle.abilities:
        return list(agreement(*(_word_tags(one, texts) for one in (model, bundle))))
    if "answer" in bundle.abilities:
        return list(_answers(bundle, model, texts))
    if "embed" not in bundle.abilities:
        return []
    halves = [text.split() for text in texts]
    first = [" ".join(words[:30]) for words in halves]
    second = [" ".join(words[30:]) for words in halves]
    return [
        recall(
            *(
                tuple(one.embed(half, truncate=True) for half in (first, second))
                for one in (model, bundle)
            )
        )
    ]


def _word_tags(model, texts: list[str]) -> list[list[tuple[str, float]]]:
    """The tag of each word with its probability, and what is left for the others."""
    words = (word for spans in model.tag(texts, group=False) for word in spans)
    return [[(word["label"], word["score"]), ("", 1 - word["score"])] for word in words]


def _answers(bundle, model, texts: list[str]) -> Iterator[dict]:
    """Each passage is asked for its own first words, those that leave room for it."""
    room = (model.max_length or 512) // 3
    asked = [" ".join(text.split()[:4]) for text in texts]
    pairs = [
        (one, text)
        for one, text in zip(asked, texts, strict=True)
        if len(bundle.tokenizer.encode(one)) <= room
    ]
    questions, contexts = ([pair[at] for pair in pairs] for at in (0, 1))
    yield from answers(*(one.answer(questions, contexts, n_best=2) for one in (model, bundle)))


def answers(right: list, found: list) -> Iterator[dict]:
    """Mean F1 of a bundle's first answers against Keras', where Keras' is clear.

    Nothing where no answer is: an untrained model has none that could change.
    """
    pairs = [
        (a[0], b[0])
        for a, b in zip(right, found, strict=True)
        if len(a) < 2 or a[0].score > _CLEAR * a[1].score
    ]
    if not pairs:
        return
    texts = (([] if a.text is None else [a.text], b.text) for a, b in pairs)
    f1 = float(np.mean([answer_scores(answer, one)[1] for one, answer in texts]))
    figures = {"metric": "answer_f1", "texts": len(pairs)}
    yield {**figures, "float32": 1.0, "bundle": f1, "change": f1 - 1.0}


def complaint(figures: dict) -> str | None:
    """What is wrong with the figures; None where they are good enough."""
    change, allowed = figures["change"], figures["allowed"]
    if (change > allowed) if allowed > 0 else (change < allowed):
        return (
            f"held-out {figures['metric']}: {figures['bundle']:.4g} against "
            f"{figures['float32']:.4g} in float32, a change of {change:+.2%}; "
            f"{allowed:+.0%} is allowed"
        )
    return None
