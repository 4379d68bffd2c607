"""The child process: what it says, how it dies, and that nothing outlives the parent's wish."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from modelzoo import errors
from modelzoo.errors import ExportError, OutputError
from modelzoo.exporting.process import child, jobs, worker
from tests.plugin_site import ROOT


def stand_in(monkeypatch, tmp_path, script: str) -> None:
    """A shell script in the place of the child's Python."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_steps_and_the_result_come_back_as_data(monkeypatch, tmp_path):
    lines = [{"step": "one"}, {"step": "two"}, {"result": {"n": 1}}]
    script = "\n".join(f"echo '{json.dumps(line)}'" for line in lines)
    stand_in(monkeypatch, tmp_path, script)
    steps = []
    assert child.run({"job": "export"}, steps.append) == {"n": 1}
    assert steps == ["one", "two"]


def test_an_error_comes_back_whole(monkeypatch, tmp_path):
    error = errors.RecipeError("what", where="here", did_you_mean="this", next_step="do")
    message = json.dumps({"error": worker.error_as_data(error), "traceback": "Traceback: deep"})
    stand_in(monkeypatch, tmp_path, f"echo noise >&2\necho '{message}'")
    with pytest.raises(errors.RecipeError) as caught:
        child.run({})
    assert str(caught.value) == str(error)
    assert "Traceback: deep" in str(caught.value.__cause__)
    assert "noise" in str(caught.value.__cause__)


def test_a_killed_child_is_an_export_error_with_the_end_of_its_log(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "echo I0000 chatter >&2\necho the last words >&2\nkill -9 $$")
    with pytest.raises(ExportError) as caught:
        child.run({})
    assert "was ended by SIGKILL, which is what happens when memory runs out" in str(caught.value)
    assert "\n    the last words" in str(caught.value)
    assert "chatter" not in str(caught.value)


def test_the_jobs_before_a_crash_keep_their_results(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, "echo '{\"result\": {}}'\nexit 3")
    first, second = child.run_all([{}, {}])
    assert first == {}
    assert isinstance(second, ExportError)
    assert "ended with code 3" in second.what


def test_the_child_is_killed_when_the_parent_is_interrupted(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, f'echo $$ > {tmp_path}/pid\necho \'{{"step": "x"}}\'\nsleep 60')

    def interrupt(step):
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        child.run({}, interrupt)
    assert time.monotonic() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_child_computes_with_tensorflow_on_the_cpu_whatever_the_parent_uses(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    answer = '{"result": {"backend": "\'$KERAS_BACKEND\'", "devices": "\'$CUDA_VISIBLE_DEVICES\'"}}'
    stand_in(monkeypatch, tmp_path, f"echo '{answer}'")
    assert child.run({}) == {"backend": "tensorflow", "devices": "-1"}


def test_a_module_that_the_child_does_not_find_is_named_with_the_way_on():
    entry = {"kind": "task", "name": "mine", "target": "no_such_module:Task"}
    with pytest.raises(ExportError, match="cannot import no_such_module, .* task 'mine'") as caught:
        jobs.register([entry])
    assert "PYTHONPATH" in caught.value.next_step


def test_the_child_ends_when_nobody_waits_for_it(tmp_path):
    (tmp_path / "jobs.json").write_text(json.dumps({"jobs": [{"job": "export"}]}))
    started = subprocess.Popen(
        [sys.executable, "-m", "modelzoo.exporting.process.worker", tmp_path / "jobs.json"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started.stdin.close()
    assert started.wait(timeout=60) == 1


def test_a_full_disk_and_full_memory_are_told_in_words():
    assert worker.error_as_data(OSError(28, "x"))["type"] == "OutputError"
    native = RuntimeError("/x/variables.data; No space left on device")
    assert worker.error_as_data(native)["type"] == "OutputError"
    assert "memory" in worker.error_as_data(MemoryError())["what"]
    other = worker.error_as_data(TypeError("odd\nand more"))
    assert other["what"] == "the export failed: TypeError: odd"
    assert issubclass(getattr(errors, other["type"]), ExportError)
    assert issubclass(OutputError, errors.ModelzooError)


def test_ctrl_c_in_the_middle_leaves_nothing_behind(exports, tmp_path):
    exports["gpt", "tflite"]
    command = ["export", str(exports.model("gpt")), "-o", str(tmp_path / "out" / "b")]
    started = subprocess.Popen(
        [sys.executable, "-m", "modelzoo", *command],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background with Ctrl-C ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: len(children(started.pid)) == 1)
    (grandchild,) = children(started.pid)
    started.send_signal(signal.SIGINT)
    assert started.communicate(timeout=60)[1] == "modelzoo: interrupted\n"
    assert started.returncode == 130
    assert list((tmp_path / "out").iterdir()) == []
    assert not os.path.exists(f"/proc/{grandchild}")


def children(pid: int) -> list[int]:
    path = f"/proc/{pid}/task/{pid}/children"
    if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
        pytest.skip("this system does not tell a process's children")
    with open(path) as file:
        return [int(word) for word in file.read().split()]


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
