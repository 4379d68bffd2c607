"""What the groups of kills call lost, half-written, refused and litter."""

from __future__ import annotations

import pytest

from tests.faults.groups.kills import Command, Whole, check_end, check_left

OLD = {"mine": "1", "out": "", "out/a": "1"}
NEW = {"mine": "1", "out": "", "out/a": "2", "out/b": "2"}
WHOLE = Whole(9, OLD, NEW)
FORCE, PLAIN = Command(["build", "--force"], "out"), Command(["build"], "out")


@pytest.mark.parametrize(
    ("left", "fault"),
    [
        (OLD, None),
        (NEW, None),
        (OLD | {".out.tmp": "", ".out.tmp/a": "2"}, None),
        (OLD | {"out/b": "2"}, "half-written"),
        ({"mine": "1"}, "half-written"),
        (OLD | {"mine": "2"}, "changed or gone: ['mine']"),
        ({key: OLD[key] for key in OLD if key != "mine"}, "changed or gone: ['mine']"),
    ],
)
def test_what_a_kill_may_leave(left, fault):
    found = check_left(FORCE, WHOLE, left)
    assert found is None if fault is None else fault in found


@pytest.mark.parametrize(
    ("command", "left", "after", "code", "fault"),
    [
        (FORCE, OLD, NEW, 0, None),
        (FORCE, NEW, NEW, 2, "refused after the kill"),
        (PLAIN, NEW, NEW, 2, None),  # it exists
        (PLAIN, OLD, NEW, 2, "refused after the kill"),
        (PLAIN, NEW, NEW, 1, "refused after the kill"),
        (FORCE, OLD, OLD, 0, "half-written"),
        (FORCE, OLD, NEW | {".out.tmp": ""}, 0, "litter: ['.out.tmp']"),
        (FORCE, OLD, NEW | {"mine": "2"}, 0, "changed or gone"),
    ],
)
def test_what_the_same_command_must_do_then(command, left, after, code, fault):
    found = check_end(command, WHOLE, left, after, code)
    assert found is None if fault is None else fault in found
