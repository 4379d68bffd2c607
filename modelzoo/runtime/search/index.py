"""Search by meaning: passages, their vectors, and a file that keeps the vectors. numpy only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modelzoo.errors import DataError, ModelzooError
from modelzoo.files import replacing
from modelzoo.runtime.abilities.labels import check_numbers
from modelzoo.runtime.arrays import open_arrays

__all__ = ["Hit", "Index", "Passage", "digest", "read_vectors", "vectors_of", "write_vectors"]

FORMAT_VERSION = 1
_ARRAYS = {"version", "model", "digests", "vectors"}
_AGAIN = "give another --index FILE, or remove this one to embed everything again"
_CHUNK = 64  # passages between two looks at the clock

# sha256 of a passage's text -> its vector (D,) float32.
Known = Mapping[bytes, np.ndarray]


@dataclass(frozen=True)
class Passage:
    """A text and where it stands: `docs/a.md:12`."""

    text: str
    where: str


class Hit(NamedTuple):
    """A passage that was found. `score` is the cosine to the query, 1 at most."""

    score: float
    passage: Passage


class Index:
    """Passages by their vectors; every one is compared, so what it finds is exact.

    Args:
        vectors: (N, D), of any length but 0.
        passages: N.

    Example:
        >>> passages = [Passage("a dog", "a.txt:1"), Passage("a car", "a.txt:2")]
        >>> index = Index([[2.0, 0.0], [0.0, 1.0]], passages)
        >>> [(round(hit.score, 2), hit.passage.text) for hit in index.search([3.0, 4.0], top=1)]
        [(0.8, 'a car')]
    """

    def __init__(self, vectors, passages: Sequence[Passage]):
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(passages):
            raise ModelzooError(
                f"{len(passages)} passages need as many vectors, not an array {vectors.shape}"
            )
        check_numbers(vectors, "the passages' vectors")
        self.passages = tuple(passages)
        self.vectors = _unit(vectors)

    def search(self, query_vector, top: int = 5) -> list[Hit]:
        """The `top` passages that are nearest to a vector (D,), the nearest first.

        What is equally near comes in the order of the passages.
        """
        if type(top) is not int or top < 1:
            raise ModelzooError(f"top must be a whole number, 1 or more; got {top!r}")
        query = np.asarray(query_vector, np.float32)
        check_numbers(query, "the query's vector")
        if query.shape != self.vectors.shape[1:]:
            raise ModelzooError(
                f"the query's vector is {query.shape}, the passages' {self.vectors.shape[1:]}"
            )
        scores = self.vectors @ _unit(query)
        order = np.argsort(-scores, kind="stable")[:top]
        return [Hit(float(scores[row]), self.passages[row]) for row in order]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


# === From passages to vectors ===


def digest(text: str) -> bytes:
    """What a text is known by."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def vectors_of(
    passages: Sequence[Passage],
    embed: Callable[[list[str]], np.ndarray],
    known: Known | None = None,
    *,
    keep: Callable[[dict[bytes, np.ndarray]], object] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """The vectors (N, D) of passages; what is known, or stands there twice, is embedded once.

    Args:
        embed: N texts -> (N, D), as `Model.embed`.
        known: vectors of an earlier time.
        keep: is given all vectors at the end, if any is new or gone; and what there is of them,
            those of `known` too, if it ends early.
        progress: is called with (done, all) of the texts that have to be embedded.
    """
    known = dict(known or {})
    wanted = {digest(passage.text): passage.text for passage in passages}
    # Texts of similar length together: then little of a batch is padding.
    missing = sorted((key for key in wanted if key not in known), key=lambda k: len(wanted[k]))
    done = False
    before = set(known)
    try:
        for start in range(0, len(missing), _CHUNK):
            keys = missing[start : start + _CHUNK]
            if progress:
                progress(start, len(missing))
            for key, vector in zip(keys, embed([wanted[key] for key in keys]), strict=True):
                known[key] = np.asarray(vector, np.float32)
        if progress and missing:
            progress(len(missing), len(missing))
        done = True
    finally:
        # An interrupt too comes through here.
        kept = {key: known[key] for key in wanted} if done else known
        if keep and set(kept) != before:
            keep(kept)
    return np.stack([known[digest(passage.text)] for passage in passages])


# === The file ===


def write_vectors(path: str | os.PathLike, model: str, vectors: Known) -> None:
    """Write vectors to a .npz at `path`; nobody sees half of it.

    Args:
        model: says which model the vectors are of.

    Raises:
        OutputError: it cannot be written; `path` is as it was.
        ModelzooError: vectors that are not finite numbers.
    """
    path = Path(path)
    keys = sorted(vectors)
    rows = np.stack([vectors[key] for key in keys]).astype(np.float32)
    check_numbers(rows, "the vectors of the index")
    arrays = {
        "version": np.array(FORMAT_VERSION),
        "model": np.array(model),
        "digests": np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1),
        "vectors": rows,
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_vectors(path: str | os.PathLike, model: str) -> dict[bytes, np.ndarray]:
    """Vectors that `write_vectors` wrote, or none where there is no file. Pickles are never loaded.

    Raises:
        DataError: damaged, no index, or of another model or a newer modelzoo.
    """
    path = Path(path)
    if not path.exists():
        return {}
    with open_arrays(path, DataError, "the index cannot be read", _AGAIN) as file:
        arrays = dict(file) if file.keys() == _ARRAYS else {}
    if not arrays or arrays["version"].dtype.kind != "i" or arrays["version"].shape:
        raise _refused(path, "is not an index of modelzoo search")
    if int(arrays["version"]) != FORMAT_VERSION:
        raise _refused(path, f"has format {arrays['version']}, and this modelzoo reads 1")
    if str(arrays["model"]) != model:
        raise _refused(path, "was made with another model")
    keys, rows = arrays["digests"], arrays["vectors"]
    fits = keys.dtype == np.uint8 and keys.shape[1:] == (32,) and rows.dtype == np.float32
    if not (fits and rows.ndim == 2 and len(rows) == len(keys) and np.isfinite(rows).all()):
        raise _refused(path, "is damaged: its vectors are not what they should be")
    return {key.tobytes(): row for key, row in zip(keys, rows, strict=True)}


def _refused(path: Path, what: str) -> DataError:
    return DataError(f"the index {what}", where=path, next_step=_AGAIN)
