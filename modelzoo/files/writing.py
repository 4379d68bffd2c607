"""Writing files and folders so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from modelzoo.errors import OutputError
from modelzoo.files.ours import foreign
from modelzoo.files.renames import exchange, rename_new, sync, sync_tree
from modelzoo.files.temporary import Busy, beside, claimed_file, left_over, locked, sweep

__all__ = ["new_directory", "replacing", "reserved", "write_atomic"]

_ROOM = "check its folder and free space"
# The paths that are reserved in this context: what stood there at the beginning.
_reserved: ContextVar[dict[Path, tuple | None]] = ContextVar("_reserved")


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
    """An empty file beside `path`, to write to; it takes that name when the block ends.

    After an error of any kind `path` is as it was, and nothing else is left. What processes that
    were killed have left of `path` is removed.

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
    path, temporary, lock = Path(path), None, None
    sweep(left_over(path, "tmp", folders=False))
    try:
        temporary, lock = claimed_file(path)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise _cannot_write(title or path, error, next_step) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # a disk that became read-only
                temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def reserved(path: str | os.PathLike, force: bool = False) -> Iterator[None]:
    """Keep `path` for what the block writes there with `new_directory`, seconds or hours later.

    Nobody else writes it meanwhile, and whatever comes up there from elsewhere is not replaced.
    What processes that were killed have left of `path` is restored or removed.

    Args:
        force: that an existing model directory, bundle or checkpoint may be replaced.

    Raises:
        OutputError: `path` exists and `force` is off; or it holds a file that modelzoo did not
            write; or another process is writing it; or its folder is not writable.

    Example:
        >>> with reserved("new-model"), new_directory("new-model") as folder:
        ...     _ = (folder / "made").write_text("here")
    """
    title, path = path, Path(os.path.realpath(path))  # what a link leads to is replaced
    before = _reserved.get({})
    if path in before:
        _check(path, force, title)
        yield
        return
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if stack.enter_context(locked(path)):
                _clear_up(path)
        except Busy as error:
            raise OutputError(
                f"{title} is being written by process {error.pid}",
                next_step="wait until it ends, or take another name",
            ) from error
        except OSError as error:
            _check(path, force, title)  # that it exists says more
            raise _cannot_write(title, error) from error
        _check(path, force, title)
        token = _reserved.set({**before, path: _identity(path)})
        try:
            yield
        finally:
            _reserved.reset(token)


@contextmanager
def new_directory(path: str | os.PathLike, force: bool = False) -> Iterator[Path]:
    """A directory to fill, beside `path`; it takes that name when the block ends without an error.

    A reader sees the old directory or the new one, never a half of either; and never none, where
    the system can exchange two names in one step (Linux, macOS).

    Args:
        force: replace an existing model directory, bundle or checkpoint. A folder with anything
            else in it is never removed.

    Raises:
        OutputError: as `reserved`; or the disk is full; `path` is as it was before. Also where
            something came up at `path` meanwhile: the new directory then stays beside it, and the
            message says under which name.
    """
    with reserved(path, force):
        title, path = path, Path(os.path.realpath(path))
        temporary = beside(path, "tmp")
        try:
            temporary.mkdir()
            yield temporary
            sync_tree(temporary)
            _take_place(temporary, path, _reserved.get()[path])
            sync(path.parent)
            _reserved.get()[path] = _identity(path)
        except OSError as error:
            raise _cannot_write(title, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _check(path: Path, force: bool, title: object) -> None:
    """Raise OutputError unless `path` is free, or ours to replace and `force` is on."""
    if not os.path.lexists(path):
        return
    if not force:
        raise OutputError(
            f"{title} exists", next_step="take another name, or force=True to replace it"
        )
    found = foreign(path)
    if found is not None:
        what = f"holds {found}, which modelzoo did not write," if found else "is a file,"
        raise OutputError(
            f"{title} {what} and is not replaced",
            next_step="take another name, or move it away yourself",
        )


def _cannot_write(what: object, error: OSError, next_step: str = _ROOM) -> OutputError:
    return OutputError(f"cannot write {what}: {error.strerror or error}", next_step=next_step)


def _identity(path: Path) -> tuple[int, int] | None:
    """What a rename does not change; None where nothing is."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


# === Taking the place of the old one ===


def _take_place(new: Path, path: Path, expected: tuple | None) -> None:
    """Rename `new` to `path` if there is what was expected; that is removed afterwards."""
    if not os.path.lexists(path):
        try:
            return rename_new(new, path)
        except FileExistsError:
            raise _kept(new, path) from None
    if _identity(path) != expected or foreign(path) is not None:
        raise _kept(new, path)
    if exchange(new, path):
        # Looked at once more under a name where nobody else puts anything.
        if _identity(new) != expected or foreign(new) is not None:
            exchange(new, path)
            raise _kept(new, path)
        return
    aside = beside(path, "old")
    os.rename(path, aside)
    try:
        if _identity(aside) != expected or foreign(aside) is not None:
            raise FileExistsError
        rename_new(new, path)
    except OSError as error:
        if os.path.lexists(path):  # it came between two renames
            _set_beside(aside, path)
        else:
            os.rename(aside, path)
        if isinstance(error, FileExistsError):
            raise _kept(new, path) from error
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _kept(new: Path, path: Path) -> OutputError:
    """The error of a `path` that is no longer ours to replace; what is finished stays beside it."""
    kept = _set_beside(new, path)
    return OutputError(
        f"{path} was changed by somebody else meanwhile, and is not replaced; "
        f"what was to be written there is whole in {kept}",
        next_step=f"look at {path}, then rename {kept.name} yourself",
    )


def _set_beside(new: Path, path: Path) -> Path:
    """Rename to the first free one of `NAME.new`, `NAME.new-2`, …; returns it."""
    kept, number = path.with_name(f"{path.name}.new"), 1
    while True:
        try:
            rename_new(new, kept)
            return kept
        except FileExistsError:
            number += 1
            kept = path.with_name(f"{path.name}.new-{number}")


def _clear_up(path: Path) -> None:
    """Restore what a kill between two renames has moved aside; remove what is unfinished."""
    aside = left_over(path, "old", folders=True)
    if aside and not os.path.lexists(path):
        os.rename(max(aside, key=lambda old: old.lstat().st_mtime), path)
    sweep([*left_over(path, "old", folders=True), *left_over(path, "tmp", folders=True)])
