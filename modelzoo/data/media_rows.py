"""Media files as arrays, decoded by several threads, and kept where they fit into memory.

Decoders (Pillow, libsndfile) leave Python's lock while they work, so threads are as quick as
processes here, and share the arrays that are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.data.media import media_of
from modelzoo.data.raw import columns_in
from modelzoo.errors import DataError, ModelzooError, warn
from modelzoo.recipe.train_options import TrainOptions
from modelzoo.runtime.abilities.media import prepared
from modelzoo.runtime.cores import usable_cores

__all__ = ["MediaRows", "ahead", "preparer", "readable_examples", "without_bad_files"]

CACHE_BYTES = 2**30  # of decoded arrays that are kept, unless the caller says otherwise

_SKIP = "--set train.on_bad_file=skip"

Prepared = np.ndarray | tuple  # an array, or arrays and numbers that belong together


def preparer(kind: str, processing: Mapping, truncate: bool = False) -> Callable[[Any], Prepared]:
    """What makes a model's input of a raw medium: the function that a device runs too.

    Args:
        kind: "image" -> (H, W, 3) uint8, "video" -> (F, H, W, 3) uint8,
            "audio" -> ((N,) float32, samples that are real).
        processing: the model's, `TaskModel.processing()`.
        truncate: of a sound that is longer than the model's window, take the beginning.

    Raises:
        DataError: the model takes no such medium.
    """
    if kind not in processing:
        raise DataError(f"the model takes {' and '.join(processing) or 'no media'}, not {kind}")

    def prepare(source) -> Prepared:
        parts = tuple(prepared(kind, source, processing, truncate).values())
        return parts if len(parts) > 1 else parts[0]

    return prepare


class MediaRows:
    """One medium of each example: `rows[[3, 1]]` are the arrays of these two, stacked.

    Args:
        examples: what `read_media_examples` gives.
        kind: the field that holds the medium. Where an example has none, its row is zeros, and
            `present` says so.
        prepare: a source -> an array, or a tuple of an array and numbers: then rows are a tuple of
            stacked arrays. Its shape is the same for all.
        workers: threads. Default: one for each core that this process may use.
        cache: keep what was decoded: True up to 1 GiB in all, a number of bytes, or False.

    Attributes:
        present: (N,) bool, whether the example has the medium.
        cached: whether decoded arrays are kept.

    Raises:
        DataError: no example has the medium; and from `[]`, a file that cannot be read, by name.

    Example:
        >>> white = np.full((10, 12, 3), 255, "uint8")
        >>> rows = MediaRows([{"image": white}] * 3, "image", prepare=lambda image: image[:8, :8])
        >>> rows[[0, 2]].shape
        (2, 8, 8, 3)
    """

    def __init__(
        self,
        examples: Sequence[Mapping],
        kind: str,
        prepare: Callable[[Any], Prepared],
        workers: int | None = None,
        cache: bool | int = True,
    ) -> None:
        self.kind, self._prepare = kind, prepare
        self._sources = [example.get(kind) for example in examples]
        self.present = np.array([source is not None for source in self._sources])
        if not self.present.any():
            raise DataError(f"none of the {len(self._sources)} examples has {kind}")
        self.workers = workers or usable_cores()
        self._pool = (
            ThreadPoolExecutor(self.workers, f"decode-{kind}") if self.workers > 1 else None
        )
        first = int(self.present.argmax())
        sample = self._decoded(first)
        self._single = not isinstance(sample, tuple)
        parts = [np.asarray(part) for part in _parts(sample)]
        self._shapes = [(part.shape, part.dtype) for part in parts]
        size = len(self._sources) * sum(part.nbytes for part in parts)
        limit = CACHE_BYTES if cache is True else int(cache)
        self.cached = size <= limit
        self._kept = self._empty(len(self._sources)) if self.cached else []
        self._known = ~self.present  # rows of zeros are known
        self._lock = threading.Lock()
        if self.cached:
            self._keep(first, parts)

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, indices) -> Any:
        """(B,) row numbers -> (B, …), or a tuple of such arrays; copies, which may be changed."""
        indices = np.asarray(indices, np.int64)
        if not self.cached:
            out = self._empty(len(indices))
            places = np.flatnonzero(self.present[indices])
            for place, parts in zip(places, self._decode(indices[places]), strict=True):
                for array, part in zip(out, parts, strict=True):
                    array[place] = part
        else:
            unknown = np.unique(indices[~self._known[indices]])
            for row, parts in zip(unknown, self._decode(unknown), strict=True):
                self._keep(int(row), parts)
            out = [array[indices] for array in self._kept]
        return out[0] if self._single else tuple(out)

    def load(self) -> None:
        """Decode all that is to be kept, if it is: whatever is wrong with a file is reported now.

        Raises:
            DataError: a file that cannot be read, by name.
        """
        for start in range(0, len(self) if self.cached else 0, 256):
            self[np.arange(start, min(start + 256, len(self)))]

    def _decode(self, rows: np.ndarray) -> Iterator[list[np.ndarray]]:
        run = map if self._pool is None or len(rows) < 2 else self._pool.map
        return ([np.asarray(part) for part in _parts(one)] for one in run(self._decoded, rows))

    def _decoded(self, row: int) -> Prepared:
        with naming(self.kind, self._sources[row], row):
            return self._prepare(self._sources[row])

    def _empty(self, count: int) -> list[np.ndarray]:
        return [np.zeros((count, *shape), dtype) for shape, dtype in self._shapes]

    def _keep(self, row: int, parts: list[np.ndarray]) -> None:
        with self._lock:
            for array, part in zip(self._kept, parts, strict=True):
                array[row] = part
            self._known[row] = True


def _parts(prepared: Prepared) -> tuple:
    return prepared if isinstance(prepared, tuple) else (prepared,)


class naming:
    """A context in which an error of a medium names its file, or its example, and the way on."""

    def __init__(self, kind: str, source: object, row: int):
        self.kind, self.source, self.row = kind, source, row

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, traceback) -> None:
        if not isinstance(error, ModelzooError):
            return
        if not isinstance(self.source, Path):
            also = f" ({error.where})" if error.where else ""
            error.where = f"the {self.kind} of example {self.row + 1}{also}"
        elif error.where is None:
            error.where = str(self.source)
        if isinstance(error, DataError) and _SKIP not in (error.next_step or ""):
            error.next_step = (
                f"{error.next_step or 'repair or remove it'}; or {_SKIP} leaves it out"
            )


# === Files that cannot be read ===


def without_bad_files(
    examples: Sequence[Mapping], workers: int | None = None
) -> tuple[list[Mapping], list[DataError]]:
    """The examples whose media can all be read, and what is wrong with each of the others.

    Every file is decoded once; the others are reported in one warning.

    Raises:
        DataError: none can be read.
    """
    with ThreadPoolExecutor(workers or usable_cores(), "check") as pool:
        errors = list(pool.map(_error_of, examples, range(len(examples))))
    bad = [error for error in errors if error is not None]
    good = [one for one, error in zip(examples, errors, strict=True) if error is None]
    if not good:
        raise DataError(f"none of the {len(examples)} examples can be read: {bad[0].what}")
    if bad:
        shown = "; ".join(f"{error.where}: {error.what}" for error in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        warn(
            f"{len(bad)} of {len(examples)} examples are left out, since a file of theirs cannot "
            f"be read: {shown}{more}"
        )
    return good, bad


def _error_of(example: Mapping, row: int) -> DataError | None:
    for kind, source in media_of(example):
        try:
            with naming(kind, source, row):
                _open(kind, source)
        except DataError as error:
            return error
    return None


def _open(kind: str, source: object) -> None:
    if kind == "image":
        from modelzoo.runtime.media.images import open_image

        open_image(source)
    elif kind == "audio":
        from modelzoo.runtime.media.sounds import open_sound

        open_sound(source, 8000)
    else:
        from modelzoo.runtime.media.videos import open_video

        open_video(source)


# === Not waiting for a batch ===


def ahead(items: Iterator, depth: int = 2) -> Iterator:
    """The items of an iterator, made by a thread of its own up to `depth` before they are wanted.

    An error comes out where its item would have. The thread ends when the iterator is closed.
    """
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting = [pool.submit(next, items, _END) for _ in range(depth)]
        while True:
            item = waiting.pop(0).result()
            if item is _END:
                return
            waiting.append(pool.submit(next, items, _END))
            yield item


_END = object()


def readable_examples(task, options: TrainOptions, raw, columns=None) -> list[dict]:
    """The task's examples of raw data; without those of bad files, if they are to be skipped.

    Args:
        columns: field -> the column that holds it. Default: those of the training, as far as this
            data has them.

    Raises:
        DataError: missing, empty or malformed data; or not one example that can be read.
    """
    columns = columns or columns_in(raw, options.columns)
    examples = task.examples(raw, columns) if columns else task.examples(raw)
    if task.media and options.on_bad_file == "skip":
        examples, _ = without_bad_files(examples)
    return examples
