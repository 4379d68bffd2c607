"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
from pathlib import Path

from modelzoo.errors import OutputError

__all__ = ["write_atomic"]


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Writes `content` (text as UTF-8, newlines as they are) beside `path`, then renames it.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full; `path` is as
            it was before.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror}", next_step="check its folder and free space"
        ) from error
    return path
