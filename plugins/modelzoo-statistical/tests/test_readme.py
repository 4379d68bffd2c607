"""The code of the README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_python_runs(number, capsys):
    names: dict = {}
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), names)
    if "log_likelihoods" in names:
        assert names["log_likelihoods"][-1] > names["log_likelihoods"][0]
        assert len(names["states"]) == len(names["rows"][0])
    else:
        assert names["model"].distributions([[1]]).sum() == pytest.approx(1.0)


def test_the_readme_has_both_blocks_and_every_recipe():
    assert len(BLOCKS) == 2
    recipes = Path(__file__).parent.parent / "modelzoo_statistical" / "recipes"
    for path in recipes.glob("*.toml"):
        assert f"`statistical/{path.stem}`" in TEXT
