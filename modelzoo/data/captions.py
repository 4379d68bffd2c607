"""Batches for captioning and visual QA: see the image, read the prompt, write the text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelzoo.data.augment import augmenter
from modelzoo.data.batches import Batch, Batches
from modelzoo.data.lengths import check_lengths
from modelzoo.data.media import read_media_examples
from modelzoo.data.media_rows import MediaRows, preparer
from modelzoo.data.packing import Ragged, encode_texts
from modelzoo.errors import OverflowTextError
from modelzoo.runtime.abilities.captioning import framed

__all__ = ["caption_batches"]

_FIELDS = (("image", "text"), ("image", "question", "answer"))
_STEP = 8  # widths are multiples of it, so that few are compiled


def caption_batches(
    examples: object,
    tokenizer,
    *,
    processing: Mapping,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    truncate: bool = True,
    augment: Mapping[str, float] | None = None,
    workers: int | None = None,
    cache: bool | int = True,
) -> Batches:
    """Images, and texts that are learned after prompts that are not.

    Args:
        examples: `image` and `text`, or `image`, `question` and `answer`, as
            `read_media_examples` gives or reads them.
        tokenizer: needs the role "eos", which ends each text.
        processing: the model's: `image`, and `caption`, the frame of a prompt.
        length: tokens that the model takes at most. T is as many as the longest example has.
        truncate: cut texts that are longer, and warn once with the count; else it is an error.
        augment: how training alters images; see `augment.augmenter`. Evaluation does not.
        workers, cache: see `MediaRows`.

    Returns:
        Batches of x = {"images": (B, H, W, 3) uint8, "token_ids": (B, T) int32, "padding_mask":
        (B, T) bool}, y = (B, T) int32, what comes next, and sample_weight = (B, T) float32, 1 where
        that belongs to the text or ends it. The positions of an image that comes before all tokens
        are not among the T.

    Raises:
        DataError: no example, or an image that cannot be read.
        RecipeError: an augmentation that there is not.
        OverflowTextError: a prompt leaves no room for a text; or a text is longer, and `truncate`
            is off.
    """
    found = read_media_examples(examples, _FIELDS)
    eos = tokenizer.role("eos")
    padding = tokenizer.roles.get("pad", eos)
    frame = processing["caption"]
    texts = [one["text"] if "text" in one else one["answer"] for one in found]
    questions = [one.get("question", "") for one in found]
    prompts = [
        framed(frame, ids.tolist(), image=frame["in_text"])
        for ids in encode_texts(tokenizer, questions)
    ]
    written = [[*ids.tolist(), eos] for ids in encode_texts(tokenizer, texts)]
    _check(prompts, written, length, truncate)
    # The last token of all is predicted and not read.
    rows = [(prompt + text)[: length + 1] for prompt, text in zip(prompts, written, strict=True)]
    before = np.array([len(prompt) for prompt in prompts])
    width = min(length, -(-max(len(row) - 1 for row in rows) // _STEP) * _STEP)
    read, predicted = Ragged(row[:-1] for row in rows), Ragged(row[1:] for row in rows)
    images = MediaRows(found, "image", preparer("image", processing), workers=workers, cache=cache)

    alter = augmenter("image", augment)

    def make_evaluation(chosen: np.ndarray, generator: np.random.Generator) -> Batch:
        token_ids, mask = read.padded(chosen, width, padding)
        y, _ = predicted.padded(chosen, width, padding)
        learned = mask & (np.arange(width)[None] >= before[chosen][:, None] - 1)
        x = {"images": images[chosen], "token_ids": token_ids, "padding_mask": mask}
        return x, y, learned.astype(np.float32)

    def make(chosen: np.ndarray, generator: np.random.Generator) -> Batch:
        x, y, weight = make_evaluation(chosen, generator)
        if alter is not None:
            x["images"] = alter(x["images"], generator)
        return x, y, weight

    return Batches(
        make,
        make_evaluation=make_evaluation,
        num_rows=len(found),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        num_tokens=int((predicted.lengths - before + 1).sum()),
        num_bytes=sum(len(text.encode()) for text in texts),
    )


def _check(prompts: list, written: list, length: int, truncate: bool) -> None:
    """Every prompt must leave room for a text; texts may be cut."""
    for number, prompt in enumerate(prompts, start=1):
        if len(prompt) > length:
            raise OverflowTextError(
                f"the prompt of example {number} has {len(prompt)} tokens, and the model reads "
                f"{length}",
                next_step="shorten the question, or raise train.length",
            )
    totals = [len(a) + len(b) - 1 for a, b in zip(prompts, written, strict=True)]
    check_lengths(totals, length, truncate)
