"""What all commands share: errors, exit codes, help, laziness."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

import modelzoo
from modelzoo import child_process, cli
from modelzoo.cli import words
from modelzoo.errors import ModelzooError, OutputError
from modelzoo.files import new_directory
from tests.plugin_site import ROOT


def test_no_command_shows_every_command_by_job(capsys):
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f"  {command.name} " in out
    positions = [out.index(f"\n{job}:") for job in ("look", "make", "ship", "extend")]
    assert positions == sorted(positions)


def test_help_of_a_command_is_reached_both_ways(capsys):
    assert cli.main(["help", "list"]) == 0
    one = capsys.readouterr().out
    assert cli.main(["list", "--help"]) == 0
    assert capsys.readouterr().out == one


def test_version_is_printed(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"modelzoo {modelzoo.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["lst"], "there is no command 'lst'\n  did you mean: list?"),
        (["--versoin"], "there is no option '--versoin'\n  did you mean: --version?"),
        (["list", "--jsn"], "modelzoo list has no option --jsn\n  did you mean: --json?"),
        (["list", "--jsn=1"], "has no option --jsn\n  did you mean: --json?"),
        (["show", "--resolvd"], "has no option --resolvd\n  did you mean: --resolved?"),
        (["show", "--res", "gpt-small"], "has no option --res\n"),
        (["show", "gpt-small", "more"], "too much: more"),
        (["show"], "the following arguments are required: NAME"),
        (["list", "zork"], "no recipe has 'zork' in its name, task or summary"),
        (["list", "--task", "causal"], "there is no task 'causal'\n  did you mean: causal-lm?"),
        (["show", "gpt-smal"], "'gpt-smal' is not a recipe, a TOML file or a model directory"),
    ],
)
def test_a_users_error_is_one_message_and_exit_code_2(recipes, capsys, argv, said):
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("modelzoo: error: ")
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert "  next: " in captured.err


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["predict", "model", "text"], "run"),
        (["infer"], "run"),
        (["chat"], "run MODEL --chat"),
        (["finetune"], "train"),
        (["fine-tun"], "train"),
        (["info"], "show"),
        (["version"], "--version"),
        (["-v"], "-V"),
        (["push"], "weights"),
        (["download"], "build"),
        (["convert"], "export"),
        (["test"], "evaluate"),
        (["benchmark"], "bench"),
        (["run", "b", "-n", "20"], "--max-new-tokens"),
        (["export", "m", "--precision", "int8"], "--quantize"),
        (["train", "m", "--bs", "4"], "--batch-size"),
    ],
)
def test_another_tools_word_is_understood(capsys, argv, meant):
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert f"\n  did you mean: {meant}?\n  next: " in err


def test_serve_says_that_there_is_no_server(capsys):
    assert cli.main(["serve"]) == 2
    assert "there is no server: modelzoo run BUNDLE - --json" in capsys.readouterr().err


def test_every_word_leads_to_a_command_that_is_there():
    names = {command.name for command in cli.COMMANDS} | {"--version", "-V"}
    for word, (command, step) in words.COMMANDS.items():
        assert command is None or command.split()[0] in names, word
        assert step and word not in names


@pytest.mark.parametrize("columns", [60, 80])
def test_help_fits_the_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in cli.COMMANDS:
        assert cli.main([command.name, "--help"]) == 0
        wide = [line for line in capsys.readouterr().out.splitlines() if len(line) > columns]
        assert wide == []


def test_a_wrong_choice_suggests_the_nearest():
    parser = cli.Parser(prog="modelzoo x")
    parser.add_argument("--format", choices=("tflite", "savedmodel"))
    with pytest.raises(cli.UsageError, match=r"--format: 'tflit' is none(.|\n)*mean: tflite\?"):
        parser.parse_args(["--format", "tflit"])


@pytest.mark.parametrize("argv", [["--debug", "show", "nothing"], ["show", "nothing", "--debug"]])
def test_debug_shows_the_traceback_too(recipes, capsys, argv):
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "modelzoo: error: 'nothing' is not a recipe" in err


def command_that(
    monkeypatch: pytest.MonkeyPatch, does: BaseException | Callable[[], object]
) -> None:
    def run(args: object) -> None:
        if isinstance(does, BaseException):
            raise does
        does()

    stub = SimpleNamespace(add_parser=lambda subparsers: subparsers.add_parser("list"), run=run)
    monkeypatch.setattr(cli, "import_module", lambda name: stub)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "modelzoo: interrupted\n"),
        (BrokenPipeError(), 141, ""),
        (OutputError("full", where="/x"), 2, "modelzoo: error: full\n  in: /x\n"),
        (PermissionError(13, "Permission denied", "a"), 2, "Permission denied: 'a'\n"),
    ],
)
def test_each_way_to_fail_has_its_exit_code(monkeypatch, capsys, error, code, said):
    command_that(monkeypatch, error)
    assert cli.main(["list"]) == code
    assert capsys.readouterr().err.endswith(said)


def test_a_defect_is_told_from_a_users_error(monkeypatch, capsys):
    command_that(monkeypatch, ZeroDivisionError("division by zero"))
    assert cli.main(["list"]) == 1
    err = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: division by zero" in err
    assert "--debug" in err


def test_a_closed_pipe_is_quiet():
    with subprocess.Popen(
        [sys.executable, "-m", "modelzoo", "list", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        child.stdout.close()  # before anything was written
        assert child.stderr.read() == b""
    assert child.returncode == 141


@pytest.mark.parametrize("command", ["list", "show", "find", "cp", "plugins"])
def test_looking_imports_nothing_heavy_and_no_other_command(site, command):
    name = {"list": [], "plugins": []}.get(command, ["gpt-small"])
    file = ["copy.toml"] if command == "cp" else []
    done = site.python(
        "import sys\n"
        "from pathlib import Path\n"
        "from modelzoo import registry\n"
        f"registry.recipes_directory = lambda: Path({str(site.recipes)!r})\n"
        "from modelzoo.cli import COMMANDS, main\n"
        f"code = main({[command, *name, *file]!r})\n"
        "heavy = {'keras', 'tensorflow', 'numpy', 'jax', 'ai_edge_litert', 'tokenizers'}\n"
        "others = {c.module for c in COMMANDS} - {'modelzoo.cli.show'}\n"
        "print('imported', sorted((heavy | others) & set(sys.modules)), code)\n"
    )
    own = next(c.module for c in cli.COMMANDS if c.name == command)
    expected = [] if command == "show" else [own]
    assert f"imported {expected} 0" in done.stdout, done.stdout + done.stderr


def test_every_command_that_is_there_ends_its_help_with_examples(capsys):
    seen = []
    for command in cli.COMMANDS:
        if find_spec(command.module) is None:
            continue
        assert cli.main([command.name, "--help"]) == 0
        out = capsys.readouterr().out
        examples = out.partition("\nexamples:\n")[2].replace(" \\\n      ", " ").splitlines()
        assert examples, f"{command.name} --help has no examples"
        assert all(line.startswith("  modelzoo ") for line in examples), examples
        seen.append(command.name)
    assert {"list", "show", "find", "cp", "plugins", "new-plugin"} <= set(seen)


def test_an_optional_argument_may_stand_after_the_options():
    assert cli.parse(["run", "DIR", "--json", "some text"]).input == "some text"
    assert cli.parse(["run", "DIR", "--json", "-"]).input == "-"
    assert cli.parse(["run", "DIR", "text", "--json"]).input == "text"
    with pytest.raises(ModelzooError, match="too much: more"):
        cli.parse(["run", "DIR", "text", "--json", "more"])


# === Ended from outside ===


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_clears_up_and_has_its_exit_code(monkeypatch, capsys, tmp_path, name, code):
    def build():
        with new_directory(tmp_path / "model") as folder:
            (folder / "half").write_text("1")
            os.kill(os.getpid(), getattr(signal, name))

    command_that(monkeypatch, build)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["list"]) == code
    said = "interrupted" if name == "SIGINT" else f"ended by {name}"
    assert capsys.readouterr().err == f"modelzoo: {said}\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_signal_that_nohup_ignores_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command_that(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGHUP))
    try:
        assert cli.main(["list"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_sigterm_ends_what_a_command_has_started(monkeypatch, tmp_path):
    started = []

    def look():
        with child_process.start("json.tool", stderr=subprocess.DEVNULL) as child:
            started.append(child)
            os.kill(os.getpid(), signal.SIGTERM)
            child.wait()  # for what it never gets

    command_that(monkeypatch, look)
    assert cli.main(["list"]) == 143
    assert started[0].returncode == -signal.SIGKILL
