"""Batches for speech recognition: hear the sound, write the text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelzoo.data.batches import Batch, Batches
from modelzoo.data.lengths import check_lengths
from modelzoo.data.media_rows import MediaRows, preparer
from modelzoo.data.packing import Ragged, encode_texts
from modelzoo.runtime.abilities.transcription import prompt_of

__all__ = ["speech_batches"]

_STEP = 8  # widths are multiples of it, so that few are compiled


def speech_batches(
    examples: list[Mapping],
    tokenizer,
    *,
    processing: Mapping,
    length: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = True,
    truncate: bool = True,
    workers: int | None = None,
    cache: bool | int = True,
) -> Batches:
    """Sounds, each of one window, and what is said in them, learned after the model's prompt.

    Args:
        examples: `audio` and `text`, as `read_media_examples` gives them.
        tokenizer: needs the role "eos", which ends each text.
        processing: the model's: `audio`, and `transcription` with its language.
        length: tokens that the model takes at most. T is as many as the longest text has.
        truncate: cut texts that are longer, and warn once with the count; else it is an error.
        workers, cache: see `MediaRows`.

    Returns:
        Batches of x = {"audio": (B, N) float32, "num_samples": (B,) int32, the real ones,
        "token_ids": (B, T) int32, "padding_mask": (B, T) bool}, y = (B, T) int32, what comes next,
        and sample_weight = (B, T) float32, 1 where that belongs to the text or ends it.

    Raises:
        DataError: a sound that cannot be read, or is longer than the model's window.
        OverflowTextError: a text is longer, and `truncate` is off.
    """
    eos = tokenizer.role("eos")
    padding = tokenizer.roles.get("pad", eos)
    prompt = prompt_of(tokenizer, processing.get("transcription", {}).get("language"))
    texts = [example["text"] for example in examples]
    # As the published models write: a text begins with the space before its first word.
    written = [[*ids.tolist(), eos] for ids in encode_texts(tokenizer, [f" {t}" for t in texts])]
    check_lengths(
        [len(ids) for ids in written],
        length - len(prompt) + 1,
        truncate,
        next_step="cut the sound and its text into shorter pieces",
    )
    rows = [[*prompt, *ids][: length + 1] for ids in written]
    width = min(length, -(-max(len(row) - 1 for row in rows) // _STEP) * _STEP)
    read, predicted = Ragged(row[:-1] for row in rows), Ragged(row[1:] for row in rows)
    sounds = MediaRows(
        examples, "audio", preparer("audio", processing), workers=workers, cache=cache
    )

    def make(chosen: np.ndarray, generator: np.random.Generator) -> Batch:
        token_ids, mask = read.padded(chosen, width, padding)
        y, _ = predicted.padded(chosen, width, padding)
        learned = mask & (np.arange(width)[None] >= len(prompt) - 1)
        audio, real = sounds[chosen]
        x = {"audio": audio, "num_samples": real, "token_ids": token_ids, "padding_mask": mask}
        return x, y, learned.astype(np.float32)

    return Batches(
        make,
        num_rows=len(rows),
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        num_tokens=sum(len(row) - len(prompt) for row in rows),
        num_bytes=sum(len(text.encode()) for text in texts),
    )
