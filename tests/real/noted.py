"""The largest difference from `transformers` that the tests met, by model type.

The tests of parity note what they compare; `python -m benchmarks.house.checkpoints` runs them and
makes the table of docs/checkpoints.md.
"""

from __future__ import annotations

import numpy as np

LARGEST: dict[str, float] = {}


def note(theirs, *differences: float) -> float:
    """The largest of the differences, kept for the type of their model if it is the largest so far.

    >>> from types import SimpleNamespace
    >>> note(SimpleNamespace(config=SimpleNamespace(model_type="a type")), 1e-7, 3e-7)
    3e-07
    >>> LARGEST.pop("a type")
    3e-07
    """
    kind, largest = theirs.config.model_type, float(max(differences))
    LARGEST[kind] = max(LARGEST.get(kind, 0.0), largest)
    return largest


def assert_close(theirs, got, wanted, tolerance: float = 1e-4) -> None:
    """Our numbers are those of their model, within an absolute tolerance."""
    got, wanted = (np.asarray(one, "float32") for one in (got, wanted))
    assert got.shape == wanted.shape
    assert np.abs(wanted).max() > 0.1
    assert note(theirs, np.abs(got - wanted).max()) <= tolerance
