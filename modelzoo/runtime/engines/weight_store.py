"""A directory of packed weights: whole files, the user's alone, the least recently used leave.

LiteRT executes what is packed, so a directory or file that others may write is not read. Beside a
file `NAME.xnn` lies a `NAME.json` with its size, time and a checksum, whose own time is that of the
last use. stdlib.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from modelzoo.errors import BundleError, warn
from modelzoo.files import read_json
from modelzoo.runtime.user_cache import is_private, user_cache

__all__ = ["Store", "checksum", "cpu_kind", "is_whole", "remove"]

_LEAST, _MOST = 1 << 20, 4 << 30  # less than a megabyte is packed sooner than it is opened
_BLOCK, _BLOCKS = 1 << 14, 64
_MOST_FACTS = 1 << 12  # bytes of the file beside it
_STALE = 3600.0  # seconds after which another process's unfinished file is taken for abandoned

_told: set[str] = set()


@dataclass(frozen=True)
class Store:
    """Where packed weights are kept.

    Args:
        directory: made when something is kept.
        least: bytes of a file that is worth keeping.
        most: bytes of all files together; None is without a bound.
        quiet: whether what keeps weights from the disk is not a warning.

    Example:
        >>> Store.of("packed").file("3f29…")
        PosixPath('packed/3f29…-2.3.0-01aa704c.xnn')
    """

    directory: Path
    least: int = 1
    most: int | None = None
    quiet: bool = False

    @classmethod
    def of(cls, directory: str | os.PathLike | Literal[True]) -> Store:
        """A directory as it was asked for; True is the user's cache, of 4 GiB at most.

        Raises:
            RuntimeError: the user has no home directory.
        """
        if directory is True:
            return cls(user_cache("packed"), least=_LEAST, most=_MOST, quiet=True)
        return cls(Path(directory))

    def file(self, digest: str) -> Path:
        """Where a model's weights are. Other versions of LiteRT and CPUs have other files."""
        return self.directory / f"{digest[:32]}-{_version()}-{cpu_kind()}.xnn"

    def hold(self, file: Path) -> int | None:
        """A descriptor of a whole file, which is not swept until it is closed; or None."""
        try:
            if not (is_private(self.directory) and is_private(file)):
                return None
            held = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        if not (_lock(held, shared=True) and is_whole(file)):
            os.close(held)
            return None
        with suppress(OSError):
            os.utime(_facts_path(file))  # what is used stays longest
        return held

    def obstacle(self) -> str:
        """Why nothing can be kept in the directory, which is made; empty where something can."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not is_private(self.directory):
                raise OSError("it belongs to another user, or others may write there")
            if not os.access(self.directory, os.W_OK | os.X_OK):
                raise OSError("it is not writable")
            _sweep(self.directory)
        except OSError as error:
            return self.say(error)
        return ""

    def publish(self, part: Path, file: Path, memory: int | None = None) -> str:
        """Give a finished file its name; why that was not possible, or nothing.

        Args:
            part: see `part`.
            memory: a descriptor of the content, which is copied to `part` first.
        """
        try:
            self.make_room(part.stat().st_size if memory is None else os.fstat(memory).st_size)
            if memory is not None:
                _copy(memory, part)
            _publish(part, file)
        except OSError as error:
            return self.say(error)
        return ""

    def make_room(self, size: int) -> None:
        """Remove what was used least recently until that many bytes more keep to the bound.

        What a process holds stays.

        Raises:
            OSError: they do not fit, or the disk has no room for them.
        """
        if self.most is not None:
            kept = sorted(_kept(self.directory))
            excess = sum(bytes for _, bytes, _ in kept) + size - self.most
            for _, bytes, file in kept:
                if excess > 0 and not _in_use(file) and remove(file):
                    excess -= bytes
            if excess > 0:
                raise OSError(f"{excess / 1e6:,.1f} MB more than its bound would be in it")
        _check_disk(self.directory, size)

    def lacks(self, size: int) -> str:
        """Why the disk has no room for that many bytes; empty where it has."""
        try:
            _check_disk(self.directory, size)
        except OSError as error:
            return self.say(error)
        return ""

    @contextmanager
    def part(self, file: Path) -> Iterator[Path]:
        """The path of an unfinished file, which is gone afterwards unless it was renamed."""
        part = file.with_name(f"{file.stem}.{os.urandom(6).hex()}.part")
        try:
            yield part
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def say(self, error: OSError) -> str:
        """The reason in words, once a directory as a warning too."""
        why = str(error.strerror or error)
        if not self.quiet and str(self.directory) not in _told:
            _told.add(str(self.directory))
            warn(
                f"packed weights are not kept in {self.directory}: {why}; the model works "
                "without, and loads more slowly"
            )
        return why


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


# === Files ===


def _copy(memory: int, part: Path) -> None:
    os.lseek(memory, 0, os.SEEK_SET)
    with open(os.dup(memory), "rb") as source, open(part, "xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())  # or a power failure leaves a file of the right size with holes


def _publish(part: Path, file: Path) -> None:
    """Between the two renames others find no match and pack again."""
    part.chmod(0o600)
    status = part.stat()
    content = {"size": status.st_size, "time": status.st_mtime_ns, "checksum": checksum(part)}
    facts = part.with_suffix(".json.part")
    try:
        facts.write_text(json.dumps(content))
        os.replace(part, file)
        os.replace(facts, _facts_path(file))
    finally:
        facts.unlink(missing_ok=True)


def remove(file: Path) -> bool:
    """Whether the weights are gone; Windows keeps a file that is mapped."""
    with suppress(OSError):
        for path in (file, _facts_path(file)):
            path.unlink(missing_ok=True)
        return True
    return False


def _check_disk(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size:
        raise OSError(f"{size / 1e6:,.1f} MB are needed, and {free / 1e6:,.1f} MB are free")


def _in_use(file: Path) -> bool:
    try:
        own = os.open(file, os.O_RDONLY)
    except OSError:
        return True
    try:
        return not _lock(own, shared=False)
    finally:
        os.close(own)


def _lock(descriptor: int, shared: bool) -> bool:
    """Whether no other process, or thread, has a lock that excludes this one."""
    try:
        import fcntl
    except ImportError:  # Windows, which keeps a file that is mapped
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return shared
    return True


def _facts_path(file: Path) -> Path:
    return file.with_suffix(".json")


def _kept(directory: Path) -> Iterator[tuple[float, int, Path]]:
    """(time of the last use, bytes, file) of all weights; another process may remove some."""
    for file in directory.glob("*.xnn"):
        with suppress(FileNotFoundError):
            facts = _facts_path(file)
            used = (facts if facts.exists() else file).stat().st_mtime
            yield used, file.stat().st_size, file


def _sweep(directory: Path) -> None:
    """Remove what killed processes have left unfinished."""
    for part in directory.glob("*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()


def _version() -> str:
    import ai_edge_litert  # long imported, where a model is opened; `importlib.metadata` takes 9 ms

    return getattr(ai_edge_litert, "__version__", "unknown")
