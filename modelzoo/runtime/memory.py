"""Figures of memory that Linux states in /proc. stdlib only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["available_bytes", "proc_bytes"]


def available_bytes() -> int | None:
    """Bytes of memory that a program may still take; None where the system does not tell."""
    return proc_bytes("meminfo", "MemAvailable")


def proc_bytes(file: str, key: str) -> int | None:
    """A line such as `VmRSS:  1234 kB` of a file of /proc, in bytes; None where it is absent."""
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(f"{key}:")]
    return int(found[0][1]) * 1024 if found else None
