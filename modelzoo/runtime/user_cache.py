"""The user's cache directory, and whether a directory is the user's alone. stdlib only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["VARIABLE", "is_private", "user_cache"]

VARIABLE = "MODELZOO_CACHE"


def user_cache(name: str) -> Path:
    """A folder of `$MODELZOO_CACHE`, or of `modelzoo` in the system's place for caches.

    Raises:
        RuntimeError: the user has no home directory.

    Example:
        >>> user_cache("trust").name  # ~/.cache/modelzoo/trust
        'trust'
    """
    stated = os.environ.get(VARIABLE)
    if stated:
        return Path(stated) / name
    if sys.platform == "darwin":
        place = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return place / "modelzoo" / name


def is_private(path: Path) -> bool:
    """Whether only this user may write there; always true where there are no such modes (Windows).

    Raises:
        OSError: there is nothing at the path.
    """
    status = path.stat()
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022
