"""Which model files need no check: those that this user exported, and those that passed one.

Each is an empty file in the user's cache directory, named by a digest of the model's files. Where
nothing can be written there, nothing is remembered, and the next load checks again. stdlib only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from modelzoo.runtime.user_cache import is_private, user_cache

__all__ = ["directory", "is_known", "remember_checked", "remember_exported"]

CHECKS = "1"  # goes up when the checks find more, so that what passed before is checked again


def directory() -> Path:
    """Where the names are: `trust/` in the user's cache.

    Raises:
        RuntimeError: the user has no home directory.
    """
    return user_cache("trust")


def is_known(manifest: Mapping, package: str) -> bool:
    """Whether the model of a manifest was exported here, or passed with this engine.

    Args:
        manifest: of a bundle whose hashes were checked.
        package: what the engine is installed as; another version of it checks again.
    """
    with suppress(OSError, RuntimeError):
        place = directory()
        # In a directory of somebody else's the names are somebody else's word.
        if not is_private(place):
            return False
        # The second name takes milliseconds: it looks for the version of the engine.
        exported = (place / _exported(manifest)).exists()
        return exported or (place / _checked(manifest, package)).exists()
    return False


def remember_exported(manifest: Mapping) -> None:
    """This user has written the model, so no check of it is needed."""
    _remember(_exported(manifest))


def remember_checked(manifest: Mapping, package: str) -> None:
    """The model has passed every check, on this version of its engine."""
    _remember(_checked(manifest, package))


def _remember(name: str) -> None:
    # Whatever keeps it from being written, the next load only takes longer.
    with suppress(OSError, RuntimeError):
        place = directory()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / name).touch(mode=0o600)


def _exported(manifest: Mapping) -> str:
    return f"{_digest(manifest)}-exported"


def _checked(manifest: Mapping, package: str) -> str:
    from importlib import metadata  # 9 ms, which a model that was exported here does not need

    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:  # tensorflow-cpu is a distribution of its own
        version = "unknown"
    return f"{_digest(manifest)}-checked-{CHECKS}-{package}-{version}"


def _digest(manifest: Mapping) -> str:
    """Of the names and hashes of the model's files; the hashes were compared with the files."""
    model = manifest["model"].rstrip("/")
    lines = [
        f"{name} {value}"
        for name, value in sorted(manifest["files"].items())
        if name == model or name.startswith(f"{model}/")
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
