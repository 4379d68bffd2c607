"""The wheel: what a user installs has the recipes inside, and lists them without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

from modelzoo.about import DISTRIBUTION, VERSION, WHEEL
from tests.plugin_site import ROOT


def test_extras_and_our_plugins_name_the_distribution_as_it_is_called():
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert ours["name"] == DISTRIBUTION
    found = []
    for path in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        groups = (project["dependencies"], *project["optional-dependencies"].values())
        found += [Requirement(text) for group in groups for text in group]
    named = [one for one in found if one.name.startswith("modelzoo")]
    assert {one.name for one in named} == {DISTRIBUTION}
    for one in named:
        assert VERSION in one.specifier, one
        assert one.extras <= {*ours["optional-dependencies"]}, one


@pytest.mark.slow
def test_the_wheel_carries_the_recipes_and_lists_them(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(installed)
    recipes = {f"modelzoo/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.toml")}
    assert recipes
    assert recipes <= set(names)
    assert wheel.name == WHEEL
    assert "modelzoo/py.typed" in names
    assert {name.partition("/")[0].split("-")[0] for name in names} == {
        "modelzoo",
        "modelzoo_keras",
    }
    # The wheel alone, in a directory where no checkout is to be found.
    listed = subprocess.run(
        [sys.executable, "-m", "modelzoo", "list", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "MODELZOO_PLUGINS": ""},
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stderr
    entries = json.loads(listed.stdout)
    assert len(entries) == len(recipes)
    assert all(entry["source"].startswith(str(installed)) for entry in entries)
