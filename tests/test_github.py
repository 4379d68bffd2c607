"""What .github says to GitHub can be read, and what it says to people is true."""

from __future__ import annotations

import re

import pytest

from modelzoo.runtime.text import budget, chat_template
from tests.plugin_site import ROOT

yaml = pytest.importorskip("yaml")

HOME = ROOT / ".github"
FILES = [*HOME.rglob("*.yml"), *HOME.rglob("*.yaml")]
FORMS = sorted((HOME / "ISSUE_TEMPLATE").glob("*.yml"))
# A file of the repository; one with NAME in it is to be written.
_PATH = re.compile(r"`((?:modelzoo|tests|recipes|docs|\.ci)/[\w./-]*)`")


def read(name: str) -> dict:
    return yaml.safe_load((HOME / name).read_text("utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_yaml_file_parses(path):
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_github_asks_for(path):
    form = yaml.safe_load(path.read_text("utf-8"))
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)


def test_there_are_three_issue_forms():
    assert [path.stem for path in FORMS] == ["bug_report", "new_model", "plugin_problem"]


def test_ci_runs_what_a_person_runs_on_every_python_that_is_promised():
    jobs = read("workflows/ci.yml")["jobs"]
    assert [step["run"] for step in jobs["tensorflow"]["steps"] if "run" in step] == [".ci/run"]
    assert jobs["tensorflow"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    install, *tests = [step["run"] for step in jobs["jax"]["steps"] if "run" in step]
    assert install == 'pip install -e ".[jax,test]"'
    paths = [word for line in tests for word in line.split() if word != "pytest"]
    assert paths and all((ROOT / path).is_file() for path in paths)


def test_hooks_are_local():
    (repository,) = read("pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_a_page_names_files_and_links_that_are_there(page):
    text = (HOME / page).read_text("utf-8")
    for path in _PATH.findall(text):
        # The page of figures is rendered.
        if not re.search(r"NAME|FAMILY|docs/benchmarks", path):
            assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (HOME / target).exists(), target


def test_the_security_page_states_the_limits_of_chat_templates():
    text = " ".join((HOME / "SECURITY.md").read_text("utf-8").split())
    assert f"({budget.MAX_STEPS:,})" in text
    assert f"({budget.MAX_BYTES // 1_000_000} million bytes)" in text
    assert f"{'.'.join(map(str, chat_template._SAFE_JINJA))} or newer" in text
