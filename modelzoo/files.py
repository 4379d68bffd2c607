"""Writing files so that a reader never sees half of one; reading them within bounds."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from modelzoo.errors import ModelzooError, OutputError, parsing

__all__ = [
    "check_file",
    "check_json",
    "check_replaceable",
    "new_directory",
    "parse_json",
    "read_file",
    "read_json",
    "replacing",
    "write_atomic",
]

MOST_BYTES = 64 << 20  # of a JSON file; the largest vocabularies have a tenth of it
MOST_LEVELS = 64  # of lists and tables within each other
_MOST_BITS = 1024  # of a whole number: above, it is no float either

# What tells a model directory, a bundle and a checkpoint from other directories.
_OURS = ("recipe.lock.toml", "manifest.json", "model.safetensors")
_ROOM = "check its folder and free space"


def write_atomic(path: str | os.PathLike, content: str | bytes) -> Path:
    """Write `content` (text as UTF-8, newlines as they are) to `path`, all of it or nothing.

    Raises:
        OutputError: see `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def replacing(
    path: str | os.PathLike, *, title: str | None = None, next_step: str = _ROOM
) -> Iterator[Path]:
    """A path beside `path`, to write to; the file takes its name when the block ends.

    After an error of any kind `path` is as it was, and nothing else is left.

    Args:
        title: what an error calls the file. Default: `path`.
        next_step: what an error proposes.

    Raises:
        OutputError: an `OSError` in the block: the folder is missing or not writable, or the disk
            is full.

    Example:
        >>> with replacing("notes.txt") as temporary:
        ...     temporary.write_text("whole") and Path("notes.txt").exists()
        False
        >>> Path("notes.txt").read_text()
        'whole'
    """
    path = Path(path)
    temporary = _beside(path, "tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {title or path}: {error.strerror or error}", next_step=next_step
        ) from error
    finally:
        with suppress(OSError):  # the folder may be missing, or no folder
            temporary.unlink(missing_ok=True)


@contextmanager
def new_directory(path: str | os.PathLike, force: bool = False) -> Iterator[Path]:
    """A directory to fill, beside `path`; it takes that name when the block ends without an error.

    A reader sees the old directory or the new one, never a half of either.

    Args:
        force: replace an existing model directory, bundle or checkpoint. Anything else that
            stands there is never removed.

    Raises:
        OutputError: `path` exists, cannot be written, or the disk is full; it is as it was before.
    """
    path = Path(os.path.realpath(path))  # a link stays, and what it leads to is replaced
    check_replaceable(path, force)
    temporary = _beside(path, "tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        _take_place(temporary, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", next_step=_ROOM
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(path: str | Path, force: bool) -> None:
    """Raises OutputError unless `path` is free, or ours to replace and `force` is on."""
    path = Path(path)
    if not path.exists() and not path.is_symlink():
        return
    if not force:
        raise OutputError(f"{path} exists", next_step="take another name, or --force to replace it")
    ours = path.is_dir() and (not any(path.iterdir()) or any((path / n).exists() for n in _OURS))
    if not ours:
        raise OutputError(
            f"{path} is no model directory, bundle or checkpoint, and is not replaced",
            next_step="take another name, or remove it yourself",
        )


def _beside(path: Path, ending: str) -> Path:
    """A hidden name in the same folder, this process's own."""
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


def _take_place(temporary: Path, path: Path) -> None:
    """Renames `temporary` to `path`; an old directory goes only once the new one stands."""
    if not path.exists():
        os.replace(temporary, path)
        return
    aside = _beside(path, "old")
    os.replace(path, aside)
    try:
        os.replace(temporary, path)
    except OSError:
        os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


# === Reading ===


def check_file(path: str | os.PathLike, error: type[ModelzooError], title: str = "the file") -> int:
    """The bytes of a regular file, or of one that a link leads to.

    A pipe would be waited for, and a device has no end.

    Raises:
        error: there is none, it cannot be looked at, or it is something else.
    """
    with parsing(path, error, f"{title} cannot be read"):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise error(f"{title} is {kind}, not a file", where=path)
    return status.st_size


def read_file(
    path: str | os.PathLike,
    error: type[ModelzooError],
    title: str = "the file",
    most: int = MOST_BYTES,
) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        error: as `check_file`; it is larger, or cannot be read.
    """
    size = check_file(path, error, title)
    if size > most:
        raise error(f"{title} has {size:,} bytes; {most:,} are the most", where=path)
    with parsing(path, error, f"{title} cannot be read"), open(path, "rb") as file:
        return file.read(most)


def read_json(
    path: str | os.PathLike,
    error: type[ModelzooError],
    want: type | tuple[type, ...] = dict,
    title: str | None = None,
    *,
    most: int = MOST_BYTES,
    next_step: str | None = None,
) -> Any:
    """The value that a JSON file holds: a table, unless `want` asks for another type.

    Its size, its depth and the digits of its numbers are bounded.

    Args:
        error: the class of what is raised.
        want: `dict`, `list`, or both.
        title: what a message calls the file. Default: its name.
        most: bytes.
        next_step: what an error proposes.

    Raises:
        error: missing, not a file, too large, not JSON, or another type.

    Example:
        >>> read_json("config.json", ModelzooError)
        Traceback (most recent call last):
        modelzoo.errors.ModelzooError: config.json cannot be read: No such file or directory
          in: config.json
    """
    title = title or Path(path).name
    return parse_json(read_file(path, error, title, most), path, error, want, title, next_step)


def parse_json(
    raw: str | bytes,
    where: object,
    error: type[ModelzooError],
    want: type | tuple[type, ...] = dict,
    title: str = "the text",
    next_step: str | None = None,
) -> Any:
    """The same of JSON text that was read from `where`."""
    with parsing(where, error, f"{title} cannot be read", next_step=next_step):
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
        value = json.loads(text)
    check_json(value, text, where, error, title)
    if not isinstance(value, want):
        words = {dict: "table", list: "list", str: "string"}
        wanted = want if isinstance(want, tuple) else (want,)
        raise error(
            f"{title} must hold a {' or a '.join(words.get(t, t.__name__) for t in wanted)}, "
            f"not {words.get(type(value), type(value).__name__)}",
            where=where,
            next_step=next_step,
        )
    return value


def check_json(
    value: object, text: str, where: object, error: type[ModelzooError], title: str
) -> None:
    """Reject what JSON text can say and nothing here can hold.

    These are lists and tables nested too deeply, whole numbers beyond those of a float, and
    half a surrogate pair, which is no text. `text` is what `value` was read from.
    """
    if "\\ud" in text or "\\uD" in text:  # an escape of half a pair, or of a whole one
        with parsing(where, error, f"{title} holds a character that is no text"):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    level, depth = [value], 0  # level by level: what is too deep for recursion is looked for
    while level:
        if depth > MOST_LEVELS:
            raise error(
                f"{title} has lists or tables {MOST_LEVELS} levels deep, and deeper ones",
                where=where,
            )
        below = []
        for one in level:
            for item in one.values() if type(one) is dict else one if type(one) is list else (one,):
                if type(item) is dict or type(item) is list:
                    below.append(item)
                elif type(item) is int and item.bit_length() > _MOST_BITS:
                    raise error(f"{title} has a number of {item.bit_length()} bits", where=where)
        level, depth = below, depth + 1
