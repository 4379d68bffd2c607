"""Outcomes as tables and as JSON, and the journal that makes a run resumable."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from modelzoo.about import VERSION
from tests.faults.group import Group
from tests.faults.known import KNOWN, known, known_as
from tests.faults.outcome import Outcome

UNDAMAGED = 3  # cases of each group whose input is as it should be
KINDS = ("internal", "unclear", "crash", "hang", "memory", "ran", "lost")


class Journal:
    """The outcomes of a run, one a line, each written as it comes.

    Args:
        path: of the file; what an earlier run wrote there counts.
    """

    def __init__(self, path: Path, restart: bool = False):
        self.path = path
        if restart:
            path.unlink(missing_ok=True)
        self.outcomes = list(_read(path)) if path.exists() else []
        if self.outcomes:  # without the line that an interrupt cut off
            path.write_text("".join(map(_line, self.outcomes)), "utf-8")

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(outcome))

    def missing(self, group: Group, cases: int) -> list[int]:
        """The seeds of a group that have no outcome yet."""
        done = {one.seed for one in self.outcomes if one.group == group.name}
        return [seed for seed in range(-UNDAMAGED, cases) if seed not in done]


def _line(outcome: Outcome) -> str:
    return json.dumps(outcome.as_dict()) + "\n"


def _read(path: Path) -> Iterable[Outcome]:
    for line in path.read_text("utf-8").splitlines():
        try:
            yield Outcome(**json.loads(line))
        except ValueError:  # cut off: the case is tried again
            continue


def table(outcomes: Iterable[Outcome], groups: Iterable[Group]) -> str:
    """One line a group: how many cases ended how."""
    outcomes = list(outcomes)
    lines = ["| input | cases | ok | refused clearly | broken | how | CPU s |", "|---" * 7 + "|"]
    total: Counter[str] = Counter()
    for group in groups:
        own = [one for one in outcomes if one.group == group.name]
        if not own:
            continue
        counts = Counter(one.kind for one in own)
        total += counts
        seconds = sum(one.seconds for one in own)
        lines.append(_row(group.title, counts, seconds))
    lines.append(_row("**all**", total, sum(one.seconds for one in outcomes)))
    return "\n".join(lines)


def counted(outcomes: Iterable[Outcome], groups: Iterable[Group]) -> str:
    """How many of what groups count were done, undamaged cases apart."""
    seeds = Counter(one.group for one in outcomes if one.seed >= 0)
    total: Counter[str] = Counter()
    for group in groups:
        if group.counted:
            total[group.counted] += seeds[group.name] * group.each
    return "; ".join(f"{count:,} {what}" for what, count in total.items() if count)


def _row(title: str, counts: Counter[str], seconds: float) -> str:
    broken = {kind: counts[kind] for kind in KINDS if counts[kind]}
    how = ", ".join(f"{count} {kind}" for kind, count in broken.items())
    numbers = [counts.total(), counts["ok"], counts["refused"], sum(broken.values())]
    cells = [title, *(f"{number:,}" for number in numbers), how, f"{seconds:,.0f}"]
    return "| " + " | ".join(cells) + " |"


def causes(outcomes: Iterable[Outcome]) -> list[tuple[int, Outcome]]:
    """Each cause of broken cases: how many there are, and the first of them."""
    by_cause: dict[tuple, list[Outcome]] = {}
    for one in outcomes:
        if one.broken:
            by_cause.setdefault(one.cause, []).append(one)
    firsts = [(len(some), min(some, key=lambda one: one.seed)) for some in by_cause.values()]
    return sorted(firsts, key=lambda pair: (pair[1].group, -pair[0], pair[1].seed))


def causes_text(outcomes: Iterable[Outcome]) -> str:
    """The kinds of broken cases, each with the command's arguments that show one."""
    lines = []
    for count, one in causes(outcomes):
        named = f"{one.error}: " if one.error else ""
        what = one.what.partition("\n")[0][:110]
        why = known(one)
        lines.append(
            f"{count:>5} {one.kind:<9}{named}{what}\n"
            f"      at {one.place or 'native code'}; --group {one.group} --seed {one.seed}"
            + (f"\n      known: {why}" if why else "")
        )
    return "\n".join(lines)


def unneeded(outcomes: Iterable[Outcome]) -> set[tuple[str, str, str]]:
    """The entries of `KNOWN` that no broken case has."""
    return set(KNOWN) - {known_as(one) for one in outcomes if one.broken}


def as_json(outcomes: Iterable[Outcome], groups: Iterable[Group]) -> dict:
    """Counts, causes, and every case that is broken."""
    outcomes = list(outcomes)
    counts = {
        group.name: dict(Counter(one.kind for one in outcomes if one.group == group.name))
        for group in groups
    }
    return {
        "modelzoo": VERSION,
        "python": platform.python_version(),
        "cases": len(outcomes),
        "groups": {name: found for name, found in counts.items() if found},
        "causes": [{"count": count, **one.as_dict()} for count, one in causes(outcomes)],
        "broken": [one.as_dict() for one in outcomes if one.broken],
    }
