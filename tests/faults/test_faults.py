"""The quick part of the suite, and that the suite reports what is broken."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelzoo import child_process
from tests.faults import children, groups, report
from tests.faults.groups import self_test
from tests.faults.known import KNOWN, known
from tests.faults.outcome import Outcome, TooLong
from tests.once import once

QUICK = [group.name for group in groups.every()]


def ran(out: Path, *arguments: str) -> dict:
    """The JSON of a run in a process of its own, from which children can be forked safely."""
    out.mkdir(exist_ok=True)
    written = out / "faults.json"
    ended = child_process.run("tests.faults", "--out", str(written), "--jobs", "1", *arguments)
    assert written.is_file(), ended.log[-3000:]
    return json.loads(written.read_text("utf-8")) | {"code": ended.code, "shown": ended.output}


# === The suite itself ===


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> dict:
    """A run over the broken reader, interrupted after its first cases and started again."""
    return once(tmp_path_factory, "broken", interrupted)


def interrupted(folder: Path) -> dict:
    journal, how = folder / "faults.jsonl", ("--group", "self-test", "--jobs", "1")
    with child_process.start("tests.faults", "--out", str(folder / "faults.json"), *how) as child:
        while not journal.exists():
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, log = child.communicate(timeout=60)
    kept = len(report.Journal(journal).outcomes)
    first = {"first_code": child.returncode, "first_log": log, "kept": kept}
    return ran(folder, "--group", "self-test") | first


@pytest.mark.parametrize("seed", range(len(self_test.WAYS)))
def test_each_way_to_be_broken_is_reported_by_its_name(broken, seed):
    kind = self_test.WAYS[seed][1]
    assert {one["kind"] for one in broken["broken"] if one["seed"] == seed} == {kind} - {
        "ok",
        "refused",
    }


def test_a_child_that_dies_costs_one_case(broken):
    kinds = Counter(kind for _, kind in self_test.WAYS) + Counter(ok=report.UNDAMAGED)
    assert broken["groups"]["self-test"] == kinds and broken["code"] == 1


def test_an_internal_error_has_its_place_and_a_command_that_shows_it(broken):
    (one,) = (one for one in broken["causes"] if one["error"] == "AttributeError")
    assert one["place"].startswith("modelzoo/errors.py:")
    assert f"--group self-test --seed {one['seed']}" in broken["shown"].decode()


def test_a_crash_has_the_place_where_the_package_called_native_code(broken):
    crashes = [one["place"] for one in broken["broken"] if one["what"] == "SIGSEGV"]
    assert sorted(place.partition(":")[0] for place in crashes) == ["", "modelzoo/errors.py"]


def test_a_case_is_the_same_each_time(tmp_path):
    def content(name: str, seed: int) -> list[bytes]:
        folder = tmp_path / "case"
        folder.mkdir(exist_ok=True)
        (group,) = groups.named([name])
        made = [str(group.input(seed, folder)).encode()]
        return made + [p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()]

    for name in ("lock", "tokenizer", "npy", "index", "manifest", "tflite"):
        assert content(name, 1) == content(name, 1) != content(name, 2)


def test_an_interrupted_run_goes_on_where_it_was(broken):
    assert broken["first_code"] == 130 and b"goes on here" in broken["first_log"]
    every = len(self_test.WAYS) + report.UNDAMAGED
    assert 0 < broken["kept"] < every == broken["cases"]


def test_who_works_on_a_busy_machine_does_not_wait(monkeypatch):
    monkeypatch.setattr(children, "_WORKS", 0.01)
    alarm = partial(children._too_long, signal.SIGALRM)
    group = SimpleNamespace(use=lambda made: alarm(sys._getframe()))
    try:
        children._set_alarm(60.0)
        end = time.process_time() + 0.03
        while time.process_time() < end:
            pass
        children._use(group, None)  # has worked, and goes on
        with pytest.raises(TooLong):
            children._use(group, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_a_journal_knows_what_is_missing(tmp_path):
    journal, (group,) = report.Journal(tmp_path / "x.jsonl"), groups.named(["npy"])
    every = journal.missing(group, 9)
    journal.add(Outcome("npy", 4, "ok"))
    journal.add(Outcome("sounds", 5, "ok"))
    with (tmp_path / "x.jsonl").open("a") as file:
        file.write('{"group": "npy", "se')
    again = report.Journal(tmp_path / "x.jsonl")
    assert again.missing(group, 9) == [seed for seed in every if seed != 4]
    again.add(Outcome("npy", 5, "crash", "SIGSEGV"))
    third = report.Journal(tmp_path / "x.jsonl").outcomes
    assert [(one.group, one.seed) for one in third] == [("npy", 4), ("sounds", 5), ("npy", 5)]
    assert report.Journal(tmp_path / "x.jsonl", restart=True).outcomes == []


def test_what_is_known_is_told_apart_and_what_is_mended_is_named(monkeypatch):
    here, mended = ("npy", "crash", "modelzoo/a.py"), ("npy", "hang", "")
    monkeypatch.setattr("tests.faults.known.KNOWN", {here: "why", mended: "why"})
    monkeypatch.setattr(report, "KNOWN", {here: "why", mended: "why"})
    one = Outcome("npy", 4, "crash", "SIGSEGV", "modelzoo/a.py:7")
    assert known(one) == "why" and "known: why" in report.causes_text([one])
    assert known(Outcome("npy", 4, "crash", "SIGSEGV", "modelzoo/b.py:7")) is None
    assert report.unneeded([one]) == {mended}


# === The product ===


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> dict:
    return once(tmp_path_factory, "faults", lambda folder: ran(folder, "--quick"))


@pytest.mark.parametrize("name", QUICK)
def test_no_damaged_input_breaks_it(quick, name):
    (group,) = groups.named([name])
    assert sum(quick["groups"][name].values()) == group.quick + report.UNDAMAGED
    outcomes = [Outcome(**one) for one in quick["broken"] if one["group"] == name]
    found = [one for one in outcomes if not known(one)]
    assert not found, "\n" + report.causes_text(found)
    assert quick["groups"][name].get("ok"), "not even an undamaged input is read"


def test_what_is_known_is_of_a_group(quick):
    assert {group for group, _, _ in KNOWN} <= set(QUICK)
