"""The scripts for a shell's completion, run in the shell where there is one."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from modelzoo import cli
from modelzoo.cli.completion import SHELLS, options_of_commands


def script(capsys, shell: str) -> str:
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_every_command_and_its_options(capsys, shell):
    text = script(capsys, shell)
    for command in cli.COMMANDS:
        assert command.name in text
    assert "quantize" in text and "modelzoo completion names" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["eva"], ["evaluate"]),
        (["export", "--qua"], ["--quantize"]),
        (["train", "gpt-sm"], ["gpt-small"]),
        (["completion", "z"], ["zsh"]),
        (["run", "gpt-sm"], []),
        (["nothing", "--x"], []),
    ],
)
def test_bash_completes(capsys, tmp_path, words, found):
    line = " ".join(f"'{word}'" for word in ["modelzoo", *words])
    asked = (
        f"{script(capsys, 'bash')}\n"
        "modelzoo() { printf 'gpt-small\\ngpt-tiny\\n'; }\n"
        f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _modelzoo\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (found, "")


def test_names_are_the_recipes(recipes, capsys):
    assert script(capsys, "names").split() == ["gpt-small", "gpt-tiny"]


def test_options_are_those_of_the_parsers():
    found = options_of_commands()
    assert set(found) == {command.name for command in cli.COMMANDS}
    assert "--quantize" in found["export"] and "--vocab-size" in found["tokenizer"]
