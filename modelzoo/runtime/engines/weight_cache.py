"""Packed weights that outlive a process: the next load maps them instead of packing again. stdlib.

XNNPACK, which computes for LiteRT, trusts its cache file: with damaged bytes inside it answers
wrongly, and on a full disk it ends the process. So it never writes to the disk here. It packs into
memory, that is copied to a file of another name, and the file is renamed when it is whole. Beside
it lies a `.json` with its size, time and a checksum; where they differ, weights are packed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from modelzoo.errors import BundleError, warn
from modelzoo.files import read_json

MEMORY = ":memory:"  # LiteRT's name for a cache that signatures share and that is not a file

_BLOCK, _BLOCKS = 1 << 14, 64
_MOST_FACTS = 1 << 12  # bytes of the file beside it
_STALE = 3600.0  # seconds after which another process's unfinished file is taken for abandoned

T = TypeVar("T")
_told: set[str] = set()


def load_with_weights(load: Callable[[str], T], directory: str | None, digest: str) -> T:
    """`load(path)` with the path to give to LiteRT as `xnnpack_weight_cache_path`.

    Args:
        load: makes the model; may be called a second time, with ":memory:", if it raises.
        directory: where packed weights are kept between processes; None keeps none. One that
            cannot be used is warned of once, and the model is loaded without.
        digest: of the model's file. Weights of other models, LiteRT versions or kinds of CPU lie
            in the directory under other names.

    Raises:
        Exception: what `load(":memory:")` raises.

    Example:
        >>> load_with_weights(lambda path: f"loaded with {path}", None, "3f29…")
        'loaded with :memory:'
    """
    if directory is None:
        return load(MEMORY)
    place = Path(directory)
    file = place / f"{digest[:32]}-{_version()}-{cpu_kind()}.xnn"
    if is_whole(file):
        return _load_from(file, load)
    try:
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        if not os.access(place, os.W_OK | os.X_OK):
            raise OSError("it is not writable")
    except OSError as error:
        _tell(place, error)
        return load(MEMORY)
    pack = _pack_in_memory if hasattr(os, "memfd_create") else _pack_on_disk
    return pack(file, load)


def is_whole(file: Path) -> bool:
    """Whether it is the file that was written, as far as its size, time and samples tell."""
    try:
        stated = read_json(_facts_path(file), BundleError, most=_MOST_FACTS)
        status = file.stat()
        if [status.st_size, status.st_mtime_ns] != [stated["size"], stated["time"]]:
            return False
        return checksum(file) == stated["checksum"]
    except (OSError, KeyError, TypeError, BundleError):
        return False


def checksum(file: Path) -> int:
    """Of 64 blocks of 16 KiB, the first and the last among them; the whole of a small file."""
    with open(file, "rb") as stream:
        last = max(0, os.fstat(stream.fileno()).st_size - _BLOCK)
        result = 0
        for n in range(_BLOCKS):
            stream.seek(last * n // (_BLOCKS - 1))
            result = zlib.crc32(stream.read(_BLOCK), result)
    return result


@cache
def cpu_kind() -> str:
    """A tag of what this machine's cores can do: the layout of packed weights depends on it."""
    words = [platform.machine()]
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features", "CPU part"):
                words += value.split()
    if len(words) == 1:
        words.append(platform.processor())
    return hashlib.sha256(" ".join(sorted(set(words))).encode()).hexdigest()[:8]


# === Loading and packing ===


def _load_from(file: Path, load: Callable[[str], T]) -> T:
    """With a whole file, which LiteRT maps; one that it rejects or rewrites is removed."""
    before = file.stat()
    try:
        model = load(str(file))
    except Exception:
        _remove(file)
        return load(MEMORY)
    with suppress(OSError):
        after = file.stat()
        if (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns):
            return model
        if after.st_ino == before.st_ino:  # else another process has put a new one there
            _remove(file)
    return model


def _pack_in_memory(file: Path, load: Callable[[str], T]) -> T:
    """With a file in memory that is copied to the disk once the model is loaded."""
    memory = os.memfd_create("packed-weights")
    try:
        try:
            model = load(f"/proc/self/fd/{memory}")
        except Exception:
            return load(MEMORY)
        size = os.fstat(memory).st_size
        if size:  # a model without weights to pack writes none
            with _warned(file), _part(file) as part:
                _need_room(file.parent, size)
                _copy(memory, part)
                _publish(part, file)
        return model
    finally:
        os.close(memory)  # what LiteRT has mapped stays


def _pack_on_disk(file: Path, load: Callable[[str], T]) -> T:
    """Where files in memory do not exist: LiteRT writes to the disk, if it surely has room."""
    with _part(file) as part:
        try:
            _need_room(file.parent, 4 << 30)  # more than any model that LiteRT loads packs into
        except OSError as error:
            _tell(file.parent, error)
            return load(MEMORY)
        try:
            model = load(str(part))
        except Exception:
            return load(MEMORY)
        if part.exists() and part.stat().st_size:
            with _warned(file):
                _publish(part, file)
        return model


def _copy(memory: int, part: Path) -> None:
    os.lseek(memory, 0, os.SEEK_SET)
    with open(os.dup(memory), "rb") as source, open(part, "xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())  # or a power failure leaves a file of the right size with holes


def _publish(part: Path, file: Path) -> None:
    """Give a whole file its name. Between the two renames others find no match and pack again."""
    status = part.stat()
    content = {"size": status.st_size, "time": status.st_mtime_ns, "checksum": checksum(part)}
    with _part(file) as facts:
        facts.write_text(json.dumps(content))
        os.replace(part, file)
        os.replace(facts, _facts_path(file))


def _need_room(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size:
        raise OSError(f"{size / 1e6:,.1f} MB are needed, and {free / 1e6:,.1f} MB are free")


# === Files ===


@contextmanager
def _part(file: Path) -> Iterator[Path]:
    """The path of an unfinished file, which is gone afterwards unless it was renamed."""
    part = file.with_name(f"{file.stem}.{uuid.uuid4().hex[:12]}.part")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _warned(file: Path) -> Iterator[None]:
    """The model works without the file, so what keeps it from the disk is a warning."""
    try:
        yield
    except OSError as error:
        _tell(file.parent, error)


def _facts_path(file: Path) -> Path:
    return file.with_suffix(".json")


def _remove(file: Path) -> None:
    for path in (_facts_path(file), file):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _sweep(directory: Path) -> None:
    """Remove what killed processes have left unfinished."""
    for part in directory.glob("*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()


def _version() -> str:
    try:
        return metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        return "unknown"


def _tell(directory: Path, error: OSError) -> None:
    if str(directory) not in _told:
        _told.add(str(directory))
        warn(
            f"packed weights are not kept in {directory}: {error.strerror or error}; the model "
            "works without, and loads more slowly"
        )
