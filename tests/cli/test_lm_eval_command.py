"""What the harness says of damaged tasks is one message; the harness itself runs in tests/real."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from modelzoo.cli import main


@pytest.mark.parametrize("error", [ValueError("line 3: no YAML"), RecursionError("too deep")])
def test_tasks_that_the_harness_cannot_read_are_one_message(tmp_path, monkeypatch, capsys, error):
    def manager(include_path):
        raise error

    def module(name: str, **members) -> None:
        made = ModuleType(name)
        vars(made).update(members)
        monkeypatch.setitem(sys.modules, name, made)

    module("lm_eval", simple_evaluate=None)
    module("lm_eval.tasks", TaskManager=manager)
    module("modelzoo.bench.harness", ModelzooLM=None)
    words = ["lm-eval", "m", "--tasks", "cloze", "--include-path", str(tmp_path)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"the harness cannot read the tasks: {error}" in said and str(tmp_path) in said
