"""English prose of every machine, for exports: the docstrings of this Python's library.

What a model is calibrated on and what it is held to never come from the same modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from modelzoo.errors import DataError

_HELD_OUT = 100  # of the library's modules, in their order


def held_out_texts() -> Iterator[str]:
    """A module's docstrings each; none where this Python comes without its sources."""
    return _texts(0, _HELD_OUT)


def calibration_texts() -> Iterator[str]:
    """Docstrings of the modules that follow."""
    return _texts(_HELD_OUT, None)


def _texts(first: int, last: int | None) -> Iterator[str]:
    from modelzoo.data.python_docs import read_python_docs

    try:
        for _, text in islice(read_python_docs(), first, last):
            yield text
    except DataError:  # a Python without its sources
        return
