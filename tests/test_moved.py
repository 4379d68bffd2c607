"""Names of 0.1 that plugins use go on for one version, and say what took their place."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import warnings

import pytest

from modelzoo.plugins import moved
from tests.plugin_site import ROOT


@pytest.mark.parametrize("old", sorted(moved._MOVED))
def test_a_module_that_moved_is_the_same_module_and_warns(old, monkeypatch):
    name, new = f"modelzoo.{old}", f"modelzoo.{moved._MOVED[old]}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.warns(DeprecationWarning, match=rf"{name} is {new} since modelzoo 0\.2") as caught:
        found = importlib.import_module(name)
    assert found is importlib.import_module(new)
    assert found.__spec__.name == new
    assert all(entry.filename == __file__ or "importlib" in entry.filename for entry in caught)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("media", "is_one_medium"),
        ("generation", "Result"),
        ("text", "RowText"),
        ("search", "Index"),
    ],
)
def test_a_module_that_became_a_folder_still_gives_its_names(package, name):
    found = importlib.import_module(f"modelzoo.runtime.{package}")
    with pytest.warns(DeprecationWarning, match=rf"modelzoo\.runtime\.{package}\.{name} is"):
        assert getattr(found, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = found.nothing


def test_control_tokens_are_still_found_where_they_were():
    from modelzoo.data import train_tokenizer

    with pytest.warns(DeprecationWarning, match="attribute special_tokens of a task"):
        specials = train_tokenizer.SPECIALS
    assert specials["causal-lm"] == ("<|endoftext|>",)
    assert specials["text-classification"][0] == "[PAD]"
    with pytest.warns(DeprecationWarning, match="special_tokens"):
        assert train_tokenizer.specials_for("seq2seq-lm") == specials["seq2seq-lm"]
    with pytest.raises(AttributeError, match="no attribute 'SPECIAL'"):
        _ = train_tokenizer.SPECIAL


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("from modelzoo.export.artifact import Artifact", "modelzoo.exporting.formats.artifact"),
        ("from modelzoo.export import export_bundle", "modelzoo.exporting"),
        ("import modelzoo.build", "modelzoo.building"),
    ],
)
def test_a_module_that_is_a_function_now_names_the_new_place(line, new):
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ") and new in last


def test_what_never_was_is_missing_as_ever():
    with pytest.raises(ModuleNotFoundError, match="No module named 'modelzoo.nothing'"):
        importlib.import_module("modelzoo.nothing")


def test_the_new_names_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        importlib.import_module("modelzoo.keras_registration").install()


PAGE = (ROOT / "docs" / "plugins.md").read_text("utf-8")
OPTION = re.search(r'`pytest -W "(error:[^"]+)"`', PAGE)[1]
SETTING = re.search(r"^filterwarnings = \[.*\]$", PAGE, re.M)[0]


@pytest.mark.parametrize("way", [["-W", OPTION], ["-c", "pytest.ini"]], ids=["option", "setting"])
def test_a_plugin_can_make_old_names_an_error_in_its_tests(way, tmp_path):
    setting = SETTING.replace('["', "").replace('"]', "").replace("\\\\", "\\")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{setting}\n")
    (tmp_path / "test_plugin.py").write_text(
        "import warnings\n"
        "def test_old():\n    import modelzoo.keras_hook\n"
        "def test_name():\n    from modelzoo.runtime.search import Index\n"
        "def test_new():\n    import modelzoo.keras_registration\n"
        "def test_others():\n    warnings.warn('keras.old is gone', DeprecationWarning)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *way],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "2 failed, 2 passed" in done.stdout, done.stdout
