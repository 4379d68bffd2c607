"""One way to start a child: what it sees, how it answers, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from modelzoo import child_process
from modelzoo.child_process import Died, call, environment, run, start
from modelzoo.errors import DataError
from tests.plugin_site import ROOT


def test_the_working_directory_is_not_searched_and_the_path_is_absolute(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('of the working directory')")
    (tmp_path / "evil.py").write_text("")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "useful.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", ".", "./", "src/..", "src", *sys.path])
    assert call(find_spec, "evil") is None
    assert call(find_spec, "useful").origin == str(tmp_path / "src" / "useful.py")


@pytest.mark.parametrize("how", ["-c", "-i"])
def test_a_child_of_an_interactive_python_ignores_what_lies_in_its_folder(tmp_path, how):
    for name in ("numpy", "tensorflow", "keras", "ai_edge_litert"):
        (tmp_path / f"{name}.py").write_text("open('shadow-ran', 'w').close()")
    code = (
        f"import sys; sys.path.insert(1, {str(ROOT)!r})\n"
        "from modelzoo.child_process import call\n"
        "from importlib.util import find_spec\n"
        "print([call(find_spec, name).origin for name in ('numpy', 'tensorflow')])\n"
    )
    done = subprocess.run(
        [sys.executable, how, *([code] if how == "-c" else [])],
        input=code if how == "-i" else "",
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert "numpy" in done.stdout, done.stderr
    assert str(tmp_path) not in done.stdout
    assert not (tmp_path / "shadow-ran").exists()


def test_modelzoo_is_found_though_this_process_found_it_in_the_working_directory(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    assert environment()["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]


def test_input_output_log_variables_and_folder(tmp_path):
    (tmp_path / "echo_back.py").write_text(
        "import os, sys\nprint('noise'); print(sys.argv[1], sys.stdin.read(), os.getcwd())\n"
        "sys.exit('the end, ' + os.environ['MOOD'])"
    )
    here = {"PYTHONPATH": str(tmp_path), "MOOD": "happy"}
    ended = run("echo_back", "a", input=b"b", cwd=tmp_path, variables=here)
    assert (ended.code, ended.answer) == (1, f"a b {tmp_path}")
    assert ended.last_words == "the end, happy"


def answer_noisily(word: str) -> str:
    os.write(1, b"native code prints\n")
    print("and Python too")
    return word * 2


def raise_ours() -> None:
    raise DataError("no row", where="file 3", next_step="add one")


def test_a_function_answers_or_raises_as_it_would_here():
    assert call(answer_noisily, "so") == "soso"
    with pytest.raises(DataError) as caught:
        call(raise_ours)
    assert str(caught.value) == "no row\n  in: file 3\n  next: add one"


def test_any_other_end_says_how():
    with pytest.raises(Died, match="exit code 1: ZeroDivisionError: ") as caught:
        call(divmod, 1, 0)
    assert caught.value.ended.code == 1
    with pytest.raises(Died, match="exit code 7$"):
        call(os._exit, 7)


SLEEPER = """
import pathlib, subprocess, time
child = subprocess.Popen(["sleep", "60"])
pathlib.Path("pid").write_text(str(child.pid))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def sleeper(tmp_path):
    """A module that starts a process, which holds its pipes, and sleeps."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    return {"cwd": tmp_path, "variables": {"PYTHONPATH": str(tmp_path)}}


def assert_gone(pid: int) -> None:
    """As a zombie too: who adopts it may take a moment to look after it."""
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    raise AssertionError(f"{pid} lives")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux' /proc")
def test_a_timeout_ends_the_child_and_what_it_started(sleeper, tmp_path):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="sleeper did not end within 1 s"):
        run("sleeper", timeout=1, **sleeper)
    assert time.monotonic() - began < 20
    assert_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux' /proc")
def test_an_interrupt_ends_the_child_and_what_it_started(sleeper, tmp_path):
    with pytest.raises(KeyboardInterrupt), start("sleeper", **sleeper) as child:
        assert child.stdout.readline() == b"ready\n"
        raise KeyboardInterrupt
    assert child.returncode == -9
    assert_gone(int((tmp_path / "pid").read_text()))


def test_no_other_file_starts_a_python():
    """In the package: a launcher of its own would have to think of all this again."""
    here = [
        path.name
        for path in (ROOT / "modelzoo").rglob("*.py")
        if "sys.executable" in path.read_text("utf-8")
    ]
    assert here == ["child_process.py"]


def test_the_package_is_the_one_that_runs():
    assert call(find_spec, "modelzoo.child_process").origin == child_process.__file__


def test_ctrl_c_while_a_child_starts_ends_the_child(monkeypatch):
    begun = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            begun.append(self)
            signal.raise_signal(signal.SIGINT)  # the child runs, and nobody has its name yet

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), child_process.start("json.tool"):
        pytest.fail("the block began")
    assert begun[0].returncode is not None
    assert signal.getsignal(signal.SIGINT) is before
