"""All groups, those that need little first: what they import stays in the parent."""

from __future__ import annotations

from modelzoo.errors import nearest
from tests.faults.group import Group
from tests.faults.groups import self_test


def every() -> list[Group]:
    """Each group, in the order in which they run."""
    from tests.faults.groups import (
        bundles,
        checkpoints,
        disks,
        kills,
        media,
        models,
        recipes,
        tables,
        texts,
    )

    light = (texts, media, tables, bundles)
    heavy = (recipes, checkpoints, models, disks, kills)
    found = [group for room in (*light, *heavy) for group in room.GROUPS]
    return [*found, *bundles.HEAVY]


def named(names: list[str] | None) -> list[Group]:
    """The groups of these names, or all."""
    if names == [self_test.GROUP.name]:
        return [self_test.GROUP]
    known = {group.name: group for group in every()}
    for name in names or ():
        if name not in known:
            near = nearest(name, known)
            raise SystemExit(
                f"there is no group {name!r}; choose one of {', '.join(known)}"
                + (f"\n  did you mean: {near}?" if near else "")
            )
    return [known[name] for name in names or known]
