"""Broken cases that are known, so that the default test run reports new ones only.

An entry is removed by whoever mends it; a whole run names the entries that no case needs.
"""

from __future__ import annotations

from tests.faults.outcome import Outcome

# (group, kind, where it happens, "" for native code) -> why it is not mended.
KNOWN: dict[tuple[str, str, str], str] = {}


def known_as(outcome: Outcome) -> tuple[str, str, str]:
    """The key under which a broken case is listed."""
    return outcome.group, outcome.kind, outcome.place.partition(":")[0]


def known(outcome: Outcome) -> str | None:
    """Why a broken case is accepted, or `None`."""
    return KNOWN.get(known_as(outcome))
