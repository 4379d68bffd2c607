"""Packed weights that outlive a process: the next load maps them instead of packing again. stdlib.

XNNPACK, which computes for LiteRT, trusts its cache file: with damaged bytes inside it answers
wrongly, and on a full disk it ends the process. So it never writes to the disk here. It packs into
memory, that is copied to a file of another name, and the file is renamed when it is whole.

Then the model is opened a second time, over the finished weights. XNNPACK packs nothing more into
those, so its buffer for packing is gone, and their pages may be exchanged for huge ones.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from modelzoo.runtime.engines.pages import Mapping, huge_bytes, into_huge_pages, mappings_of
from modelzoo.runtime.engines.weight_store import Store, remove

__all__ = ["MEMORY", "Packed", "load_with_weights"]

MEMORY = ":memory:"  # LiteRT's name for a cache that signatures share and that is not a file

T = TypeVar("T")
_one_at_a_time = threading.Lock()


@dataclass(eq=False)
class Packed:
    """How a model's weights were packed; its life is the model's.

    Attributes:
        cache: "off", "found", "built", or "none": nothing was kept, and `why`.
        moved: what is in huge pages, as far as the system had some.
    """

    cache: str
    why: str = ""
    moved: list[Mapping] = field(default_factory=list)

    @property
    def pages(self) -> str:
        """Of the weights: "huge", where at least half of their bytes are in such, or "small"."""
        size = sum(mapping.size for mapping in self.moved)
        return "huge" if self.moved and huge_bytes(self.moved) * 2 >= size else "small"


def load_with_weights(
    load: Callable[[str], T], directory: str | os.PathLike | bool | None, digest: str
) -> tuple[T, Packed]:
    """`load(path)` with the path to give to LiteRT as `xnnpack_weight_cache_path`.

    Args:
        load: makes the model; may be called again, with another path or ":memory:".
        directory: where packed weights are kept between processes; True is the user's cache, and
            None keeps none. One that cannot be used is warned of once, the user's own never, and
            the model is loaded without.
        digest: of the model's file. Weights of other models, LiteRT versions or kinds of CPU lie
            in the directory under other names.

    Returns:
        The model, and how its weights were packed.

    Raises:
        Exception: what `load(":memory:")` raises.

    Example:
        >>> load_with_weights(lambda path: f"loaded with {path}", None, "3f29…")
        ('loaded with :memory:', Packed(cache='off', why='', moved=[]))
    """
    if directory is None or directory is False:
        return load(MEMORY), Packed("off")
    try:
        store = Store.of(directory)
    except RuntimeError as error:
        return load(MEMORY), Packed("none", str(error))
    with _one_at_a_time:  # else another's mappings would be taken for this load's
        file = store.file(digest)
        held = store.hold(file)
        if held is not None:
            return _open_kept(file, load, held, "found")
        try:
            memory = os.memfd_create("packed-weights")
        except (AttributeError, OSError):  # not Linux, or a sandbox
            return _pack_on_disk(store, file, load)
        try:
            return _pack_in_memory(memory, store, file, load)
        finally:
            os.close(memory)  # what LiteRT has mapped stays


def _pack_in_memory(
    memory: int, store: Store, file: Path, load: Callable[[str], T]
) -> tuple[T, Packed]:
    """Into a file in memory, which is copied to the disk, or stays what the model reads."""
    path = f"/proc/self/fd/{memory}"
    try:
        model = load(path)
    except Exception:
        return load(MEMORY), Packed("none", "LiteRT packs into no file")
    if os.fstat(memory).st_size < store.least:
        return model, Packed("none", "too small to be worth keeping")
    del model
    why = store.obstacle()
    if not why:
        with store.part(file) as part:
            why = store.publish(part, file, memory)
    held = None if why else store.hold(file)
    if held is not None:
        return _open_kept(file, load, held, "built")
    return _open(path, memory, load, Packed("none", why))


def _pack_on_disk(store: Store, file: Path, load: Callable[[str], T]) -> tuple[T, Packed]:
    """Where files in memory do not exist: LiteRT writes to the disk, if it surely has room."""
    why = store.obstacle() or store.lacks(4 << 30)  # more than any model that LiteRT loads needs
    if why:
        return load(MEMORY), Packed("none", why)
    with store.part(file) as part:
        try:
            model = load(str(part))
        except Exception:
            return load(MEMORY), Packed("none", "LiteRT packs into no file")
        if not part.exists() or part.stat().st_size < store.least:
            return model, Packed("none", "too small to be worth keeping")
        del model  # Windows renames no file that is mapped
        why = store.publish(part, file)
    held = None if why else store.hold(file)
    if held is None:
        return load(MEMORY), Packed("none", why)
    return _open_kept(file, load, held, "built")


def _open_kept(file: Path, load: Callable[[str], T], held: int, cache: str) -> tuple[T, Packed]:
    """Over a whole file on the disk; one that LiteRT rejects or rewrites is removed."""
    packed = Packed(cache)
    weakref.finalize(packed, os.close, held)
    model, found = _open(str(file), held, load, packed)
    if found is not packed:
        remove(file)
    return model, found


def _open(path: str, descriptor: int, load: Callable[[str], T], packed: Packed) -> tuple[T, Packed]:
    """Over finished weights, which are moved into huge pages unless LiteRT has rewritten them."""
    before, known = _version(descriptor), mappings_of(descriptor)
    try:
        model = load(path)
    except Exception:
        return load(MEMORY), Packed("none", "LiteRT rejects the packed weights")
    if _version(descriptor) != before:
        return model, Packed("none", "LiteRT has packed again")
    packed.moved = into_huge_pages(descriptor, known)
    return model, packed


def _version(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
