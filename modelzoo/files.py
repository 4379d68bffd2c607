"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelzoo.errors import OutputError

__all__ = ["check_replaceable", "new_directory", "replacing", "write_atomic"]

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
