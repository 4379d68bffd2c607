"""A kill at any file operation loses nothing, and the same command goes on and leaves no litter.

The first and the last operation of a command, and with `-m slow` all of them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import modelzoo
from tests import small, written
from tests.faults.kills import Files, chosen, files, sweep

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning"),
]
SAMPLE = [2, pytest.param(None, marks=pytest.mark.slow)]
BUILD = ["build", "gpt-tiny", *small.options()]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Two small models: `gpt`, and `embedder`."""
    folder = tmp_path_factory.mktemp("models")
    gpt = small.with_tokenizer("gpt-tiny")
    modelzoo.save(gpt, folder / "gpt")
    values = {**small.recipe("bert-tiny").values, "task": "text-embedding", "task_options": {}}
    embedder = modelzoo.build(modelzoo.recipe.from_values(values, name="tiny-embedder"))
    pairs = [("how do I cancel?", "write to us."), ("where is it?", "so it goes.")]
    modelzoo.dataset(embedder, pairs, length=32)
    modelzoo.save(embedder, folder / "embedder")
    return folder


def template(tmp_path: Path, *folders: Path) -> Path:
    """A working directory with texts and copies of model directories."""
    folder = tmp_path / "template"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "help.md").write_text("how do I cancel?\n\nwhere is my parcel?")
    (folder / "corpus.txt").write_text("\n".join(small.TEXTS))
    for source in folders:
        shutil.copytree(source, folder / source.name)
    return folder


def below(found: Files, name: str) -> Files:
    """The files of a folder, without the folder's name."""
    prefix = f"{name}/"
    return {path.removeprefix(prefix): at for path, at in found.items() if path.startswith(prefix)}


def hidden(found: Files) -> list[str]:
    return [path for path in found if path.startswith(".")]


def test_the_operations_that_are_tried_are_spread_over_all():
    assert chosen(9, None) == [*range(1, 10)]
    assert chosen(9, 3) == [1, 5, 9] and chosen(2, 3) == [1, 2] and chosen(9, 1) == [1]


@pytest.mark.parametrize("most", SAMPLE)
@pytest.mark.parametrize("kind", ["build", "weights", "export"])
def test_a_kill_while_a_directory_is_replaced_loses_nothing(models, tmp_path, kind, most):
    start = template(tmp_path, models / "gpt")
    written.bundle(start / "out")
    before = below(files(start), "out")
    command = {
        "build": [*BUILD, "-o", "out", "--force"],
        "weights": ["weights", "gpt", "-o", "out", "--force"],
        "export": ["export", "gpt", "-o", "out", "--force"],
    }[kind]
    setup = "tests.faults.light_export:install" if kind == "export" else None
    outcomes = sweep(command, start, tmp_path, most=most, setup=setup)
    assert len(outcomes) == most or (most is None and len(outcomes) > 5)
    for outcome in outcomes:
        left, after = below(outcome.left, "out"), below(outcome.after, "out")
        assert left == before or left.keys() == after.keys(), outcome.operation
        assert outcome.again == 0, outcome.said
        assert after.keys() != before.keys() or kind == "export"
        assert after != before and hidden(outcome.after) == []
    assert any(hidden(outcome.left) for outcome in outcomes)


@pytest.mark.parametrize("most", SAMPLE)
@pytest.mark.parametrize("kind", ["tokenizer", "search"])
def test_a_kill_while_a_file_is_replaced_loses_nothing(models, tmp_path, kind, most):
    start = template(tmp_path, models / "embedder")
    file = "tokenizer.json" if kind == "tokenizer" else "docs.npz"
    command = {
        "tokenizer": ["tokenizer", "train", "--data", "corpus.txt", "-o", file, "--force"],
        "search": ["search", "embedder", "how?", "--in", "docs", "--index", file],
    }[kind]
    command += ["--vocab-size", "300"] if kind == "tokenizer" else []
    outcomes = sweep(command, start, tmp_path, most=most)
    whole = {outcome.after[file] for outcome in outcomes}
    for outcome in outcomes:
        assert outcome.left.get(file) in {None, *whole}
        assert outcome.again == 0, outcome.said
        assert hidden(outcome.after) == []


@pytest.mark.parametrize("most", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_a_training_that_is_killed_goes_on_to_the_very_end(tmp_path, most):
    changes = {"train.checkpoint_steps": 1, "train.steps": 2, "train.validation_fraction": 0}
    command = ["train", "gpt-tiny", "--data", "corpus.txt", "-o", "out", *small.options(**changes)]
    outcomes = sweep(command, template(tmp_path), tmp_path, most=most)
    for outcome in outcomes:
        left, after = (below(found, "out.training") for found in (outcome.left, outcome.after))
        ended = bool(left) and only_log(left) and "out/model.keras" in outcome.left
        # Once all is done and cleared, the same command would be another training.
        assert outcome.again == (2 if ended else 0), (outcome.operation, outcome.said)
        assert "out/model.keras" in outcome.after and after and only_log(after)
        assert hidden(outcome.after) == []


def only_log(found: Files) -> bool:
    return all(path.partition("/")[0] == "log" for path in found)
