"""The cores that a process may use."""

from __future__ import annotations

import os

from modelzoo.runtime.cores import usable_cores
from modelzoo.runtime.engines.litert import default_threads


def test_the_cores_of_this_process_count_and_not_the_machines(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 3, 5}, raising=False)
    assert (usable_cores(), default_threads()) == (3, 3)


def test_without_affinity_the_machines_cores_count_and_one_is_the_least(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert (usable_cores(), default_threads()) == (64, 4)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
