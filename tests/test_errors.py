from __future__ import annotations

import pickle

import pytest

from modelzoo import errors
from modelzoo.errors import (
    MissingDependencyError,
    ModelzooError,
    RecipeError,
    check_choice,
    nearest,
    require,
)


def test_the_message_has_only_the_lines_that_exist():
    assert str(ModelzooError("it broke")) == "it broke"
    full = ModelzooError("it broke", where="a.toml", did_you_mean="b", next_step="do c")
    assert str(full) == "it broke\n  in: a.toml\n  did you mean: b?\n  next: do c"


def test_a_message_never_repeats_all_of_what_a_file_states():
    text = str(ModelzooError(f"no key {'x' * 10_000!r} here", where="a.toml"))
    assert len(text) < 2000 and text.startswith("no key 'xxx") and "xxx' here\n  in:" in text
    assert len(str(ModelzooError("\0" * 10_000, next_step="x" * 10_000))) < 2500


def test_a_message_names_objects_without_their_addresses():
    assert str(ModelzooError(f"cannot open {object()}: no")) == "cannot open <object>: no"


def test_every_error_has_the_one_base():
    kinds = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert len(kinds) >= 11
    assert all(issubclass(kind, ModelzooError) for kind in kinds)


def test_an_error_survives_the_way_out_of_a_child_process():
    error = pickle.loads(pickle.dumps(RecipeError("bad", where="x", next_step="y")))
    assert type(error) is RecipeError
    assert str(error) == "bad\n  in: x\n  next: y"


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("num_layer", ["num_heads", "num_layers"], "num_layers"),
        ("GPT-Small", ["gpt-small"], "gpt-small"),
        ("moe", ["acme/moe", "bert"], "acme/moe"),
        ("zzz", ["bert", "gpt"], None),
        ("x", [], None),
    ],
)
def test_nearest_finds_what_was_meant_and_nothing_else(name, candidates, expected):
    assert nearest(name, candidates) == expected


def test_nearest_does_not_depend_on_the_order_of_a_set():
    assert nearest("abc", ["abcd", "abce"]) == nearest("abc", ["abce", "abcd"])


def test_a_choice_is_one_of_its_names_or_the_nearest_is_said():
    check_choice("norm", "rms", {"layer": 1, "rms": 2})
    with pytest.raises(RecipeError) as caught:
        check_choice("norm", "rsm", ("layer", "rms"))
    assert str(caught.value) == "norm 'rsm' is not one of layer, rms\n  did you mean: rms?"


def test_require_gives_the_module():
    assert require("json", "tensorflow").dumps([1]) == "[1]"


def test_require_names_the_extra_and_keeps_the_cause():
    with pytest.raises(MissingDependencyError) as caught:
        require("no_such_package_at_all", "jax")
    assert 'pip install "modelzoo-keras[jax]"' in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert isinstance(caught.value, ImportError)


def test_require_says_so_when_a_package_is_there_but_broken(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import a_part_that_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match="does not import.*a_part_that_is_missing"):
        require("half_installed", "jax")


def test_a_name_cannot_put_a_line_into_a_message_or_turn_it_around():
    error = ModelzooError(
        "cannot write a\n  next: rm b\u202etxt\x1b[31m\ud800",
        where="x\ny",
        did_you_mean="p\u2066q",
        next_step="rm \u2028z",
    )
    assert str(error).splitlines() == [
        r"cannot write a\n  next: rm b\u202etxt\x1b[31m\ud800",
        r"  in: x\ny",
        r"  did you mean: p\u2066q?",
        r"  next: rm \u2028z",
    ]
    assert error.what.startswith("cannot write a\n")


def test_our_own_lines_and_what_people_write_stay():
    assert str(ModelzooError("it ended:\n    one\n    two")) == "it ended:\n    one\n    two"
    assert str(ModelzooError("no 你好, 👩\u200d🚀, नमस्ते")) == "no 你好, 👩\u200d🚀, नमस्ते"
