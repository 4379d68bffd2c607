"""Random numbers of the author's own tests stay as they were, whatever a check does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_seeds() -> Iterator[None]:
    """Python's and numpy's random state are after the block what they were before it."""
    import random

    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
