"""What is dear is made once a run, whichever of pytest's workers needs it first."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

Made = TypeVar("Made")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What `make(folder)` gives: the first worker makes it, the others wait and read it.

    Args:
        name: of the folder, which all workers share; it stays as long as pytest keeps the run's.
        make: fills the folder; what it gives is pickled.
    """
    root = factory.getbasetemp()
    if root.name.startswith("popen-"):  # a worker's own, below the run's
        root = root.parent
    folder, answer = root / name, root / f"{name}.pickle"
    with FileLock(root / f"{name}.lock"):
        if not answer.exists():
            folder.mkdir()
            answer.write_bytes(pickle.dumps(make(folder)))
    return pickle.loads(answer.read_bytes())
