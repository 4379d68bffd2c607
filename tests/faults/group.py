"""What a group of cases is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import mutations


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Group:
    """Cases of one kind of input.

    Attributes:
        name: what `--group` says.
        title: what the table says.
        make: writes the input of a case into an empty folder, and returns what `use` takes.
        use: gives it to modelzoo. Whatever it raises is the outcome.
        cases: how many a whole run has.
        quick: how many the default test run has; always the first seeds.
        prepare: imports, and good files to damage: in the parent, before children are forked. It
            must not compute with TensorFlow or LiteRT, whose threads do not survive a fork.
        batch: cases of one child.
        numbered: whether `make` is given the seed in place of a generator.
        waits: seconds that a case may take by the clock, where more than usual.
        counted: what a case is one of, where a run says how many it did; `each` of them a case.
    """

    name: str
    title: str
    make: Callable[[Any, Path], Any]
    use: Callable[[Any], object]
    cases: int
    quick: int
    prepare: Callable[[], object] = _nothing
    batch: int = 50
    numbered: bool = False
    waits: float = 0.0
    counted: str = ""
    each: int = 1

    def input(self, seed: int, folder: Path) -> Any:
        """The input of a case, written to a folder; nothing is damaged where `seed` is negative."""
        with mutations.switched(seed >= 0):
            return self.make(
                seed if self.numbered else random.Random(f"{self.name} {seed}"), folder
            )
