"""new-plugin writes a whole project, which installs and works in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv

import pytest
from packaging.requirements import Requirement

from modelzoo import cli
from modelzoo.about import DISTRIBUTION, VERSION
from modelzoo.recipe import read
from tests.plugin_site import ROOT


def test_the_project_is_complete_and_states_its_contract(tmp_path, capsys):
    assert cli.main(["new-plugin", str(tmp_path / "a" / "p"), "--name", "my-models"]) == 0
    project = tmp_path / "a" / "p"
    files = {str(p.relative_to(project)) for p in project.rglob("*") if p.is_file()}
    assert files == {
        ".github/workflows/ci.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "modelzoo_my_models/__init__.py",
        "modelzoo_my_models/llama.py",
        "modelzoo_my_models/recipes/llama-small.toml",
        "modelzoo_my_models/recipes/llama-tiny.toml",
        "tests/test_plugin.py",
    }
    assert [item.name for item in (tmp_path / "a").iterdir()] == ["p"]  # no leftovers
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert pyproject["name"] == "modelzoo-my-models"
    assert pyproject["entry-points"]["modelzoo.plugins"] == {"my-models": "modelzoo_my_models"}
    requirement = Requirement(pyproject["dependencies"][0])
    assert requirement.name == DISTRIBUTION
    assert VERSION in requirement.specifier
    assert "1.0" not in requirement.specifier
    recipe = read(project / "modelzoo_my_models" / "recipes" / "llama-tiny.toml")
    assert recipe.architecture == "my-models/llama"
    for file in files:  # nothing is left to be filled in; a workflow has its own $
        text = re.sub(r"\$(?=\{\{|\(ls )", "", (project / file).read_text())
        assert "$" not in text, file


@pytest.mark.parametrize(
    ("folder", "namespace"), [("modelzoo-acme", "acme"), ("my-models", "my-models")]
)
def test_the_name_is_by_default_that_of_the_folder(tmp_path, capsys, folder, namespace):
    assert cli.main(["new-plugin", str(tmp_path / folder)]) == 0
    assert f"a plugin that claims {namespace}/..." in capsys.readouterr().out
    stated = tomllib.loads((tmp_path / folder / "pyproject.toml").read_text())["project"]
    assert list(stated["entry-points"]["modelzoo.plugins"]) == [namespace]
    assert cli.main(["new-plugin", str(tmp_path / "Ünï")]) == 2
    assert "--name " in capsys.readouterr().err


def test_an_empty_directory_is_filled(tmp_path, capsys):
    assert cli.main(["new-plugin", str(tmp_path), "--name", "acme"]) == 0
    assert (tmp_path / "pyproject.toml").is_file()


def test_a_directory_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "precious").write_text("x")
    assert cli.main(["new-plugin", str(tmp_path), "--name", "acme"]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["", "Acme", "1a", "a/b", "a-", "modelzoo"])
def test_a_name_that_is_no_namespace_is_refused(tmp_path, capsys, name):
    assert cli.main(["new-plugin", str(tmp_path / "p"), "--name", name]) == 2
    assert "cannot be a namespace" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(("name", "near"), [("Acme/Models", "acme-models"), ("2024", "acme")])
def test_a_name_with_capitals_or_slashes_is_answered_with_one_that_works(
    tmp_path, capsys, name, near
):
    assert cli.main(["new-plugin", str(tmp_path / "p"), "--name", name]) == 2
    assert f"--name {near}\n" in capsys.readouterr().err


class Environment:
    """A fresh virtual environment with modelzoo's wheel in it.

    What modelzoo depends on is seen through a path to the packages of the running Python, so that
    nothing is downloaded; modelzoo itself and its plugin are the installed ones.
    """

    def __init__(self, folder):
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        self.home = folder
        (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
        (wheel,) = folder.glob("*.whl")
        self.install(str(wheel))

    def install(self, what: str) -> None:
        pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
        self.run(*pip, what)

    def modelzoo(self, *argv: str) -> str:
        return self.run("-m", "modelzoo", *argv)

    def run(self, *argv: str) -> str:
        drop = ("MODELZOO_PLUGINS", "PYTHONPATH", "VIRTUAL_ENV")
        environment = {k: v for k, v in os.environ.items() if k not in drop}
        done = subprocess.run(
            [self.python, *argv], env=environment, cwd=self.home, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.mark.slow
def test_in_a_fresh_environment_it_installs_lists_builds_trains_exports_and_passes_its_tests(
    tmp_path,
):
    fresh = Environment(tmp_path)
    fresh.modelzoo("new-plugin", "acme", "--name", "acme")
    fresh.install("./acme")
    entries = {entry["name"]: entry for entry in json.loads(fresh.modelzoo("list", "--json"))}
    assert entries["acme/llama-tiny"]["problem"] is None
    assert entries["acme/llama-small"]["plugin"] == "modelzoo-acme 0.1.0"
    assert str(tmp_path / "venv") in entries["acme/llama-tiny"]["source"]
    fresh.modelzoo("plugins", "--check")
    (tmp_path / "corpus.txt").write_text("the fox likes the rose\n" * 300, "utf-8")
    small = ("--set", "vocab_size=300", "--set", "train.length=32", "--set", "train.batch_size=4")
    train = ("train", "acme/llama-tiny", "--data", "corpus.txt", "-o", "trained")
    fresh.modelzoo(*train, *small, "--set", "train.steps=1")
    fresh.modelzoo("export", "trained", "-o", "bundle", "--format", "tflite")
    assert (tmp_path / "bundle" / "model.tflite").is_file()
    said = fresh.run("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "acme")
    assert re.match(r"\d\d passed\b(?!.*(?:failed|skipped))", said.strip().rpartition("\n")[2])
