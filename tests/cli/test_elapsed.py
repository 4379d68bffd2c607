"""Elapsed time of long commands: ticks on a terminal, plain lines in a pipe."""

from __future__ import annotations

import io
import os
import time

import pytest

from modelzoo.cli.elapsed import CLEAR_LINE, Ending, Steps, clock


def stream(terminal: bool) -> io.StringIO:
    made = io.StringIO()
    made.isatty = lambda: terminal
    return made


def test_a_pipe_gets_a_line_a_step():
    out = stream(False)
    with Steps(out) as step:
        step("reading")
        step("converting")
    assert out.getvalue() == "modelzoo: 0 s: reading\nmodelzoo: 0 s: converting\n"


def test_the_seconds_of_a_step_tick_on_a_terminal(monkeypatch):
    monkeypatch.setattr(Steps, "EVERY", 0.005)
    out = stream(True)
    with Steps(out) as step:
        step("reading")
        while out.getvalue().count("…") < 3:
            time.sleep(0.001)
    assert out.getvalue().startswith(f"{CLEAR_LINE}modelzoo: reading … 0 s{CLEAR_LINE}modelzoo:")
    assert out.getvalue().endswith(f"{CLEAR_LINE}modelzoo: reading, 0 s\n")
    step._thread.join(1)
    assert not step._thread.is_alive()


def test_seconds_tick_while_the_descriptor_leads_elsewhere(monkeypatch, tmp_path):
    """As it does while TensorFlow is imported, whose log is kept off the terminal."""
    monkeypatch.setattr(Steps, "EVERY", 0.005)
    terminal, end = os.openpty()
    with (
        os.fdopen(terminal, "rb", buffering=0) as screen,
        os.fdopen(end, "w") as err,
        open(tmp_path / "log", "w+") as log,
        Steps(err) as step,
    ):
        os.dup2(log.fileno(), err.fileno())
        step("starting TensorFlow")
        seen = b""
        while seen.count(b"starting TensorFlow \xe2\x80\xa6 ") < 3:
            seen += screen.read(1000)
        step.end()
        assert log.read() == ""


def test_an_error_ends_the_line():
    out = stream(True)
    with pytest.raises(ValueError), Steps(out) as step:
        step("reading")
        raise ValueError
    assert out.getvalue().endswith("modelzoo: reading, 0 s\n")


def test_what_is_written_in_a_step_stands_on_a_line_of_its_own():
    out = stream(True)
    with Steps(out) as step:
        step("reading")
        print("step 1", file=Ending(step))
        print("step 2", file=Ending(step))
    assert out.getvalue().endswith("modelzoo: reading, 0 s\nstep 1\nstep 2\n")
    assert Ending(step).isatty()


def test_a_duration_is_read_at_a_glance():
    assert [clock(s) for s in (0, 59.4, 59.6, 3599.9)] == ["0 s", "59 s", "1:00", "1:00:00"]
