"""docs/plugins.md tells the truth: its tutorial installs, passes the checks, and runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from modelzoo.plugins import GROUPS, moved
from modelzoo.runtime.media.processing import _NEEDED, DEFAULTS
from modelzoo.tasks.shared.saved_state import KEPT
from modelzoo.testing import plan
from tests.plugin_site import ROOT

PAGE = (ROOT / "docs" / "plugins.md").read_text("utf-8")
# `path` …: and the block that follows it.
FILE = re.compile(r"^`([\w./-]+)`[^\n]*(?:\n[^\n`]+)*:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.M)
FILES = dict(FILE.findall(PAGE))


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The project of the tutorial, installed; gives `python(argv) -> CompletedProcess`."""
    folder = tmp_path_factory.mktemp("tutorial")
    project, site = folder / "project", folder / "site"
    for name, text in FILES.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", str(site), str(project)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    environment = {k: v for k, v in os.environ.items() if k != "MODELZOO_PLUGINS"}
    environment["PYTHONPATH"] = os.pathsep.join((str(site), str(ROOT)))

    def python(*argv: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *argv], env=environment, cwd=project, capture_output=True, text=True
        )

    return python


def test_the_tutorial_has_all_its_files():
    assert set(FILES) == {
        "pyproject.toml",
        "modelzoo_acme/__init__.py",
        "modelzoo_acme/average.py",
        "modelzoo_acme/layers.py",
        "modelzoo_acme/stars.py",
        "modelzoo_acme/labelled.py",
        "modelzoo_acme/weights.py",
        "modelzoo_acme/recipes.toml",
        "modelzoo_acme/recipes/average-tiny.toml",
        "modelzoo_acme/recipes/average-stars.toml",
        "tests/test_plugin.py",
        "session",
    }


@pytest.mark.slow
def test_the_tutorial_lists_and_its_session_runs(tutorial):
    done = tutorial("-m", "modelzoo", "plugins", "--json")
    assert '"problem": null' in done.stdout, done.stdout + done.stderr
    done = tutorial("-W", "ignore", "session")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.strip()]
    assert "'good'" in said[0]
    assert said[1:3] == ["bad", "good"]
    assert "'good'" in said[3]  # the runtime's own engine runs the plugin's format
    assert said[4] == "acme/average 27778"


@pytest.mark.slow
def test_the_tutorial_passes_every_check_of_the_kit(tutorial):
    done = tutorial("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert len(skipped) == 3
    assert sum("it does not generate" in line for line in skipped) == 2
    assert sum("has a head for the task acme/stars" in line for line in skipped) == 1


def test_the_table_of_a_convnet_means_what_the_page_says():
    section = PAGE[PAGE.index("## Weight tables") : PAGE.index("## Keras classes")]
    blocks = re.findall(r"^```py\n(.*?)^```$", section, re.DOTALL | re.M)
    (block,) = (block for block in blocks if "TABLE" in block)  # the other: tests/real
    names: dict = {}
    exec(block, names)
    found = names["TABLE"].all_rules("image-classification", {"num_layers": 2})
    rules = {rule.theirs: rule for rule in found}
    assert rules["stem.weight"].axes == (2, 3, 1, 0)
    assert rules["stem_bn.running_var"].ours == ("stem_norm/moving_variance",)
    assert rules["blocks.1.dw.weight"].depthwise
    head, config = names["TABLE"].heads["image-classification"], {"class_names": ["a", "b"]}
    options = {"dropout": 0.0, "labels": ["a", "b"]}
    assert head.read_options(config, frozenset(), "here") == options
    assert head.write_options(options) == {"drop_rate": 0.0, **config}
    helpers = ("same", "layer_norm", "rms_norm", "linear", "conv", "depthwise", "batch_norm")
    assert all(f"`{name}" in section for name in (*helpers, "summed"))


def test_the_page_names_every_group_and_every_check():
    for group in ("plugins", *GROUPS):
        assert f"`modelzoo.{group}`" in PAGE
    rules = {"discovery", "checkpoint", *plan._PLUGIN, *plan._RECIPE, *plan._MODEL}
    rules |= {target.partition(":")[2] for target in plan._PART.values()}
    section = PAGE[PAGE.index("## The checks") : PAGE.index("## Versions")]
    assert {rule for rule in rules if f"`{rule}`" not in section} == set()


def test_the_contract_names_modules_that_are_there():
    named = PAGE[PAGE.index("- The contract is this page") : PAGE.index("- Until 1.0")]
    modules = re.findall(r"`(?:modelzoo)?\.([\w.]+?)(?:\.\*)?`", named)
    assert len(modules) == 17
    for module in modules:
        path = ROOT.joinpath("modelzoo", *module.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), module


def test_the_changelog_names_every_module_that_moved():
    page = (ROOT / "docs" / "changelog.md").read_text("utf-8")
    moving, _, ended = page[page.index("### Modules that moved") :].partition("These ended")
    row = re.compile(r"^\| `modelzoo\.([\w.]+)` \| `modelzoo\.([\w.]+)` \|$", re.M)
    assert dict(row.findall(moving)) == moved._MOVED
    found = dict(row.findall(ended))
    assert {old.partition(".")[0] for old in found} == moved._ENDED.keys()
    for new in found.values():
        path = ROOT.joinpath("modelzoo", *new.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), new


def test_the_page_has_every_key_of_processing_and_every_attribute_that_survives():
    section = PAGE[PAGE.index("### What a model is given") : PAGE.index("### What must survive")]
    shown = dict(re.findall(r"^\| `processing(\S+)` \| ([^|]+) \|", section, re.M))
    known = {f'["{kind}"]["{key}"]': "needed" for kind, keys in _NEEDED.items() for key in keys}
    for kind, defaults in DEFAULTS.items():
        known |= {f'["{kind}"]["{key}"]': value for key, value in defaults.items()}
    assert shown.keys() == {*known, '["image"]["fill"]'}
    for key, default in known.items():
        assert shown[key].strip('`"') == str(default)
    assert all(f"`{name}`" in PAGE for name in KEPT)
