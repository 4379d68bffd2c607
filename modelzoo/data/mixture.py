"""Batches for a mixture: one model learns several things, each batch of one of them.

Letters: B batch, S tokens of the source, T of the target, F frames, H and W their sides.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo.data.augment import augmenter
from modelzoo.data.batches import Batch, Batches
from modelzoo.data.media_rows import MediaRows, preparer
from modelzoo.data.objectives import MAKERS, Ids, Rows
from modelzoo.data.packing import Ragged
from modelzoo.data.seq2seq import first_token, shifted
from modelzoo.errors import DataError, ModelzooError, warn
from modelzoo.recipe.mixture import Part

if TYPE_CHECKING:
    import keras

__all__ = ["MixedBatches", "mixture_batches"]

_STEP = 8  # widths are multiples of it, so that few are compiled
_DRAWS = 3  # keeps the draw of parts apart from the other random numbers; see `data.batches`
_BLOCK = 1024  # steps whose parts are drawn at once


class MixedBatches(Batches):
    """The batches of a mixture: each step's is of one part, drawn by weight.

    Which part a step is of depends on the seed and the step alone, and each part's batches come in
    the part's own order, so that a training that was killed goes on with the very same batches.

    Args:
        parts: name -> the batches of a part.
        weights: of the parts, in their order.

    Attributes:
        parts, weights: those; the weights sum to 1.
    """

    varies = True

    def __init__(self, parts: Mapping[str, PartBatches], weights: Sequence[float], seed: int = 0):
        self.parts = dict(parts)
        self.weights = np.array(weights, np.float64) / math.fsum(weights)
        self._even = False
        self._blocks: list[tuple[np.ndarray, np.ndarray]] = []
        first = next(iter(self.parts.values()))
        super().__init__(
            self._of_no_part,
            num_rows=sum(one.num_rows for one in self.parts.values()),
            batch_size=first.batch_size,
            seed=seed,
            shuffle=first.shuffle,
        )

    def _of_no_part(self, rows: np.ndarray, generator: np.random.Generator) -> Batch:
        raise DataError(f"rows of a mixture are rows of {', '.join(self.parts)}")

    @property
    def batch_size(self) -> int:
        """Rows of every batch, whatever part it is of."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, rows: int) -> None:
        self._batch_size = rows
        for part in self.parts.values():
            part.batch_size = rows

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def drawn(self, step: int) -> tuple[str, int]:
        """The part of a step, and how many of that part's batches come before it."""
        block, within = divmod(step, _BLOCK)
        while len(self._blocks) <= block:
            self._blocks.append(self._drawn_block(len(self._blocks)))
        numbers, before = self._blocks[block]
        number = numbers[within]
        earlier = before[number] + np.count_nonzero(numbers[:within] == number)
        return list(self.parts)[number], int(earlier)

    def _drawn_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The number of the part of each step in a block, and the steps of each part before it."""
        before = np.zeros(len(self.parts), np.int64)
        if block:
            numbers, before = self._blocks[block - 1]
            before = before + np.bincount(numbers, minlength=len(self.parts))
        generator = np.random.default_rng([self.seed, _DRAWS, block])
        return generator.choice(len(self.parts), _BLOCK, p=self.weights), before

    def batch(self, step: int) -> Batch:
        if step < 0:
            raise DataError(f"a step must not be negative: {step}")
        name, index = self.drawn(step)
        return self._evened(self.parts[name].batch(index))

    def evaluation_batch(self, index: int) -> Batch:
        part, index = self._place(index)
        return self._evened(part.evaluation_batch(index))

    def ordered_batch(self, index: int) -> Batch:
        part, index = self._place(index)
        return self._evened(part.ordered_batch(index))

    def _place(self, index: int) -> tuple[PartBatches, int]:
        """The part of a number, one part after the other, and the number within it."""
        within = index
        for part in self.parts.values():
            if 0 <= within < len(part):
                return part, within
            within -= len(part)
        raise DataError(f"there are {len(self)} batches in order, no number {index}")

    def as_pydataset(self, *args, **kwargs) -> keras.utils.PyDataset:
        """As `Batches.as_pydataset`; all batches have the shape of the largest, as Keras asks."""
        even = copy.copy(self)
        even._even = True
        return Batches.as_pydataset(even, *args, **kwargs)

    def _evened(self, batch: Batch) -> Batch:
        if not self._even:
            return batch
        widths = {
            name: max(part.widths[name] for part in self.parts.values())
            for name in ("source", "target", "frames")
        }
        x, y, weight = batch
        x = {name: _widened(value, widths[_WIDTH_OF[name]]) for name, value in x.items()}
        return x, _widened(y, widths["target"]), _widened(weight, widths["target"])


_WIDTH_OF = {"token_ids": "source", "padding_mask": "source", "frames": "frames"}
_WIDTH_OF |= {"frame_mask": "frames", "decoder_token_ids": "target"}
_WIDTH_OF |= {"decoder_padding_mask": "target"}


def _widened(array: np.ndarray, width: int) -> np.ndarray:
    """(B, n, …) with zeros up to (B, width, …)."""
    more = [(0, 0), (0, width - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, more)


class PartBatches(Batches):
    """The batches of one part.

    Attributes:
        widths: "source", "target" and "frames" -> the second axis of its arrays.
    """

    def __init__(self, make, *, widths: Mapping[str, int], **options):
        super().__init__(make, **options)
        self.widths = dict(widths)


def mixture_batches(
    examples: Sequence[Mapping[str, Any]],
    tokenizer,
    parts: Mapping[str, Part],
    *,
    length: int,
    batch_size: int,
    target_length: int | None = None,
    processing: Mapping | None = None,
    seed: int = 0,
    shuffle: bool = True,
    augment: Mapping[str, float] | None = None,
    workers: int | None = None,
    cache: bool | int = True,
) -> MixedBatches:
    """Every part's source, pictures and target, in batches that are of one part each.

    Args:
        examples: what `read_mixture` gives. A part without examples is left out.
        tokenizer: needs the role "eos"; for span-corruption also the tokens `<extra_id_0>` and so
            on.
        parts: those that are trained, by name.
        length: tokens of a source at most; longer texts are cut, with one warning for each part.
        target_length: of a target; as `length` if not given.
        processing: the model's: `image` and perhaps `video`; without, it reads text alone.
        augment: how training alters pictures; see `augment.augmenter`. Evaluation does not.
        workers, cache: see `MediaRows`.

    Returns:
        Batches of
        x = {"token_ids": (B, S) int32, "padding_mask": (B, S) bool,
             "decoder_token_ids": (B, T) int32, "decoder_padding_mask": (B, T) bool},
        for a model that reads pictures also
             "frames": (B, F, H, W, 3) uint8, "frame_mask": (B, F) bool,
        y = (B, T) int32, what the decoder writes, and sample_weight = (B, T) float32.
        S, T and F are those of the part: F is 0 for text, 1 for images.

    Raises:
        DataError: no row in a part, or pictures for a model that reads text alone.
        TokenizerError: a token that an objective needs is missing.

    Example:
        >>> from modelzoo.data.train_tokenizer import train_tokenizer
        >>> tokenizer = train_tokenizer(["a rose"], "byte", specials=("<pad>", "</s>"))
        >>> parts = {"translate": Part(objective="text-to-text", prompt="de: ")}
        >>> rows = [{"part": "translate", "source": "a rose", "target": "eine Rose"}]
        >>> batches = mixture_batches(rows, tokenizer, parts, length=32, batch_size=2)
        >>> x, y, weight = batches.batch(0)
        >>> x["token_ids"].shape, y.shape
        ((2, 16), (2, 16))
    """
    by_part: dict[str, list] = {}
    for example in examples:
        by_part.setdefault(example["part"], []).append(example)
    found = {}
    for number, name in enumerate(name for name in parts if name in by_part):
        part, own = parts[name], by_part[name]
        try:
            rows = MAKERS[part.objective](part, own, tokenizer, length)
            pictures = _Pictures(part, own, processing or {}, augment, workers, cache)
        except ModelzooError as error:
            error.where = ", ".join(filter(None, [f"the part {name} of the mixture", error.where]))
            raise
        found[name] = _part_batches(
            rows,
            pictures,
            tokenizer,
            {
                "source": _width(rows.source, length, f"{name} source", tokenizer.frame_source([])),
                "target": _width(rows.target, target_length or length, f"{name} target", [0]),
                "frames": pictures.count,
            },
            batch_size=batch_size,
            seed=seed + number * 2**32,  # parts of the same size have orders of their own
            shuffle=shuffle,
        )
    return MixedBatches(found, [parts[name].weight for name in found], seed)


def _width(longest: int, most: int, what: str, frame: Ids) -> int:
    """Tokens that all texts of a part are padded to, with what frames them."""
    longest += len(frame)
    if longest > most:
        warn(f"the longest {what} has {longest:,} tokens; texts are cut to {most:,}")
    return min(most, -(-longest // _STEP) * _STEP)


def _part_batches(
    rows: Rows, pictures: _Pictures, tokenizer, widths: Mapping[str, int], **options
) -> PartBatches:
    eos, start = tokenizer.role("eos"), first_token(tokenizer)
    padding = tokenizer.roles.get("pad", eos)

    def batch(chosen: np.ndarray, generator: np.random.Generator, altered: bool) -> Batch:
        read, written = rows.draw(chosen, generator)
        framed = [tokenizer.frame_source(ids, widths["source"], truncate=True) for ids in read]
        token_ids, mask = _padded(framed, widths["source"], padding)
        ended = [[*ids[: widths["target"] - 1], eos] for ids in written]
        y, real = _padded(ended, widths["target"], padding)
        x = {
            "token_ids": token_ids,
            "padding_mask": mask,
            **shifted(y, real, start, padding),
            **pictures(chosen, generator if altered else None),
        }
        return x, y, real.astype(np.float32)

    return PartBatches(
        functools.partial(batch, altered=True),
        make_evaluation=functools.partial(batch, altered=False),
        num_rows=rows.count,
        widths=widths,
        **options,
    )


def _padded(rows: Sequence[Ids], width: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    return Ragged(rows).padded(np.arange(len(rows)), width, padding)


class _Pictures:
    """`frames` and `frame_mask` of rows, for a model that reads them; else nothing.

    Attributes:
        count: F.
    """

    def __init__(self, part: Part, examples, processing: Mapping, augment, workers, cache):
        self.size, self.media, self.alter = processing.get("image", {}).get("size"), None, None
        if part.medium is None:
            self.count = 0
            return
        self.media = MediaRows(
            examples, part.medium, preparer(part.medium, processing), workers=workers, cache=cache
        )
        self.alter = augmenter(part.medium, augment)
        self.count = 1 if part.medium == "image" else processing["video"]["num_frames"]

    def __call__(self, rows: np.ndarray, generator: np.random.Generator | None) -> dict:
        """
        Args:
            generator: what the pictures are altered with, in training.
        """
        if self.size is None:
            return {}
        if self.media is None:
            frames = np.zeros((len(rows), 0, *self.size, 3), np.uint8)
        else:
            pictures = self.media[rows]
            if generator is not None and self.alter is not None:
                pictures = self.alter(pictures, generator)
            frames = pictures.reshape(len(rows), self.count, *self.size, 3)
        return {"frames": frames, "frame_mask": np.ones(frames.shape[:2], bool)}
