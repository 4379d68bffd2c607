"""new-plugin writes a whole project; that it installs and works is in tests/test_plugins.py."""

from __future__ import annotations

import tomllib

import pytest

from modelzoo import cli
from modelzoo.recipe import read
from modelzoo.versions import allows, parse_requirement


def test_the_project_is_complete_and_states_its_contract(tmp_path, capsys):
    assert cli.main(["new-plugin", str(tmp_path / "a" / "p"), "--name", "my-models"]) == 0
    project = tmp_path / "a" / "p"
    files = {str(p.relative_to(project)) for p in project.rglob("*") if p.is_file()}
    assert files == {
        "README.md",
        "pyproject.toml",
        "modelzoo_my_models/__init__.py",
        "modelzoo_my_models/llama.py",
        "modelzoo_my_models/recipes/llama-tiny.toml",
        "tests/test_llama.py",
    }
    assert [item.name for item in (tmp_path / "a").iterdir()] == ["p"]  # no leftovers
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert pyproject["name"] == "modelzoo-my-models"
    assert pyproject["entry-points"]["modelzoo.plugins"] == {"my-models": "modelzoo_my_models"}
    requirement = parse_requirement(pyproject["dependencies"][0])
    assert allows(requirement.specifier, "0.1.0")
    assert not allows(requirement.specifier, "1.0")
    recipe = read(project / "modelzoo_my_models" / "recipes" / "llama-tiny.toml")
    assert recipe.architecture == "my-models/llama"
    for file in files:
        assert "$" not in (project / file).read_text(), file


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
