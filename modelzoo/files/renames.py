"""Renames in one step, and what makes them last through a power failure."""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from pathlib import Path

__all__ = ["exchange", "rename_new", "sync", "sync_tree"]

# (function, flag for a target that must be free, flag for two names that are exchanged).
_NATIVE = {"linux": ("renameat2", 1, 2), "darwin": ("renamex_np", 4, 2)}
_AT_FDCWD = -100
# What kernels and file systems without these renames answer.
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths that exist swap names in one step.

    Returns: whether it is done; False where the system cannot do it.

    Raises:
        OSError: one of them is missing, or the folder is not writable.
    """
    return _native(one, other, 2)


def rename_new(source: Path, target: Path) -> None:
    """Rename to a name that nothing has.

    Raises:
        FileExistsError: something has it; both are as they were.
        OSError: any other failure of the system.
    """
    if not _native(source, target, 1):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        os.rename(source, target)  # onto a folder that came this moment, it fails unless empty


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a folder's names."""
    if path.is_dir():
        if os.name == "nt":  # where a folder cannot be opened
            return
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except PermissionError:  # it may be written to and not read
            return
    else:
        descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:  # file systems in memory have no disk to wait for
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """`sync` for everything in a folder, and for the folder."""
    for path in folder.rglob("*"):
        if not path.is_symlink() and (path.is_dir() or path.is_file()):
            sync(path)
    sync(folder)


@cache
def _function():
    """The C function and its name; None where the system has none."""
    import ctypes

    name = _NATIVE.get(sys.platform, ("", 0, 0))[0]
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):  # another system, or an old C library
        return None
    text, number = ctypes.c_char_p, ctypes.c_int
    ends = [number, text, number, text] if name == "renameat2" else [text, text]
    function.argtypes, function.restype = [*ends, ctypes.c_uint], number
    return function


def _native(source: Path, target: Path, kind: int) -> bool:
    """One rename with a flag: kind 1 for a free target, 2 for an exchange."""
    function = _function()
    if function is None:
        return False
    import ctypes

    sys.audit("os.rename", str(source), str(target), -1, -1)  # as os.rename does
    ends = [os.fsencode(source), os.fsencode(target)]
    if sys.platform == "linux":
        ends = [_AT_FDCWD, ends[0], _AT_FDCWD, ends[1]]
    if function(*ends, _NATIVE[sys.platform][kind]) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNKNOWN:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))
