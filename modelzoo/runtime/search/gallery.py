"""A gallery: named vectors that a bundle carries, for `nearest` to choose from.

Two files of the bundle, which its manifest names under `gallery`: a JSON list of N names, and a
`.npy` of vectors (N, D). A name may stand there several times, each time with another vector. An
export writes none; `write_gallery` adds one to a bundle.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modelzoo.errors import BundleError, ModelzooError
from modelzoo.files import read_json, write_atomic
from modelzoo.runtime.abilities.labels import check_numbers
from modelzoo.runtime.arrays import read_array
from modelzoo.runtime.bundle import Bundle, read_bundle, write_manifest

__all__ = ["Gallery", "read_gallery", "write_gallery"]

NAMES, VECTORS = "gallery.json", "gallery.npy"


class Gallery(NamedTuple):
    """The names, each once; vectors (N, D) float32 of length 1; the place (N,) of their names."""

    names: list[str]
    vectors: np.ndarray
    owners: np.ndarray

    def cosines(self, query: np.ndarray) -> np.ndarray:
        """Of each name, the cosine of a vector (D,) and the nearest of the name's own."""
        best = np.full(len(self.names), -1.0, np.float32)
        np.maximum.at(best, self.owners, self.vectors @ _unit(query))
        return best


def read_gallery(bundle: Bundle) -> Gallery | None:
    """The gallery of a bundle, or `None` where it has none.

    Raises:
        BundleError: names and vectors that do not fit each other, or are not what they should be.
    """
    stated = bundle.manifest.get("gallery")
    if not stated:
        return None
    path = bundle.directory / stated["names"]
    names = read_json(path, BundleError, list, title="the gallery's names")
    vectors = read_array(bundle.directory / stated["vectors"], BundleError)
    if vectors.ndim != 2 or len(vectors) != len(names) or vectors.dtype.kind not in "fi":
        raise BundleError(
            f"{len(names)} names need as many vectors, not an array {vectors.shape} of "
            f"{vectors.dtype}",
            where=path,
            next_step="copy the bundle again",
        )
    if not all(isinstance(name, str) for name in names):
        raise BundleError("a gallery's names must be texts", where=path)
    check_numbers(vectors, "the gallery")
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return Gallery(list(places), _unit(vectors), np.array([places[name] for name in names], int))


def write_gallery(directory: str | os.PathLike, names: Sequence[str], vectors: np.ndarray) -> dict:
    """Give a bundle a gallery, in place of the one that it has, and the ability `nearest`.

    Args:
        directory: of the bundle, which must embed texts or media.
        names: N, as they are shown; one that stands several times is found by each of its vectors.
        vectors: (N, D), what `embed_text`, `embed_image` or a mean of these gives. They are kept as
            int8: only their directions count.

    Returns:
        The manifest as written.

    Raises:
        ModelzooError: as many vectors as names are needed, and all of them numbers.
        BundleError: the bundle is damaged.

    Example:
        >>> from modelzoo.runtime import load
        >>> model, names = load("clip.bundle"), ["a cat", "a dog"]
        >>> manifest = write_gallery("clip.bundle", names, model.embed_text(names))
        >>> load("clip.bundle").nearest("a dog", top=1)
        [('a dog', 0.98...)]
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(names) or not len(names):
        raise ModelzooError(
            f"{len(names)} names need as many vectors, not an array {vectors.shape}"
        )
    check_numbers(vectors, "the gallery")
    bundle = read_bundle(directory)
    write_atomic(bundle.directory / NAMES, json.dumps(list(names), ensure_ascii=False) + "\n")
    file = io.BytesIO()
    largest = np.maximum(np.abs(vectors).max(-1, keepdims=True), 1e-12)
    np.save(file, np.round(vectors / largest * 127).astype(np.int8), allow_pickle=False)
    write_atomic(bundle.directory / VECTORS, file.getvalue())
    manifest = {**bundle.manifest, "gallery": {"names": NAMES, "vectors": VECTORS}}
    abilities = manifest.get("abilities")
    if abilities is not None and "nearest" not in abilities:
        manifest["abilities"] = ["nearest", *abilities]
    return write_manifest(bundle.directory, manifest)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
