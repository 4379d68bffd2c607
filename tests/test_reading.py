"""Files that were altered, or that state more than they hold: one error, before memory is taken."""

from __future__ import annotations

import json
import os

import pytest

from modelzoo import registry
from modelzoo.errors import ModelDirectoryError, RecipeError, WeightsError, parsing
from modelzoo.files import parse_json, read_file, read_json
from modelzoo.recipe import from_values, override, parse_set, read, read_lock
from modelzoo.recipe.toml import parse_toml
from modelzoo.recipe.train_options import train_options


class Panic(BaseException):
    """As a Rust library raises it."""

    __module__ = "pyo3_runtime"


@pytest.mark.parametrize(
    "problem",
    [
        RecursionError("maximum depth"),
        MemoryError("410 GiB"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        OverflowError("int too large"),
        KeyError("data"),
        AttributeError("'int' object has no attribute 'get'"),
        OSError(36, "File name too long"),
        RuntimeError(""),
        Panic("index out of bounds"),
    ],
)
def test_what_a_parser_raises_is_one_error_that_names_the_file(problem):
    net = parsing("a.bin", WeightsError, "the header cannot be read", next_step="fetch it")
    with pytest.raises(WeightsError, match="the header cannot be read: .") as caught, net:
        raise problem
    assert caught.value.__cause__ is problem
    assert (caught.value.where, caught.value.next_step) == ("a.bin", "fetch it")


@pytest.mark.parametrize(
    "problem", [NameError("x"), KeyboardInterrupt(), RecipeError("ours"), AssertionError("a test")]
)
def test_our_own_mistakes_and_errors_pass_as_they_are(problem):
    with pytest.raises(type(problem)) as caught, parsing("a.bin", WeightsError):
        raise problem
    assert caught.value is problem


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 66 + b"1" + b"}" * 66, "levels deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": ' + b"9" * 4000 + b"}", "a number of 13288 bits"),
        (b'{"a": "\\ud800"}', "not text"),
        (b"\xff", "'utf-8' codec"),
        (b"{", "cannot be read"),
        (b"[]", "must hold a table, not list"),
        (b"3", "must hold a table, not int"),
        (b"", "cannot be read"),
    ],
)
def test_json_is_bounded_and_of_the_type_that_was_asked_for(tmp_path, content, what):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=what) as caught:
        read_json(path, WeightsError)
    assert caught.value.where == str(path)


def test_json_within_the_bounds_is_what_json_says(tmp_path):
    value = {"a": [1, 2.5, None, {"b": "\U0001f339"}], "n": 10**30}
    assert parse_json(json.dumps(value), "x", WeightsError) == value
    assert parse_json("[1]", "x", WeightsError, list) == [1]


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    (tmp_path / "large").write_bytes(b"12345")
    with pytest.raises(WeightsError, match="5 bytes; 4 are the most"):
        read_file(tmp_path / "large", WeightsError, most=4)
    with pytest.raises(WeightsError, match="a directory"):
        read_file(tmp_path, WeightsError)
    with pytest.raises(WeightsError, match="No such file"):
        read_file(tmp_path / "none", WeightsError)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="a pipe or a device"):  # and it does not wait
        read_file(tmp_path / "pipe", WeightsError)


# === Recipes ===


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 40 + "]" * 40, "32 levels deep"),
        ("9" * 5000, "digits"),
        ("0x" + "f" * 5000, "a number of 20000 bits"),
        ("100000000000000000000", "more than 64 bits"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_a_value_on_the_command_line_is_bounded(value, what):
    with pytest.raises(RecipeError, match=what) as caught:
        parse_set([f"train.warmup_steps={value}"])
    assert "train.warmup_steps" in caught.value.where


def test_what_is_no_toml_is_text_as_before():
    assert parse_set(["a=gelu", "b=2020-01-01", "c=1.5"]) == {
        "a": "gelu",
        "b": "2020-01-01",
        "c": 1.5,
    }


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 3000,
        "x = " + "9" * 5000,
        'architecture = "gpt"\n[model]\nx = 0x' + "f" * 100,
        'architecture = "gpt"\n[model]\nx = ' + "[" * 40 + "]" * 40,
        'architecture = "gpt"\n[model]\nx = 1979-05-27',
        "a" + ".a" * 3000 + " = 1",
    ],
)
def test_a_recipe_is_bounded_and_a_lock_too(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        read(path)
    assert str(path) in str(caught.value.where)
    lock = '\n[lock]\nformat_version = 1\nname = "a"\n'
    (tmp_path / "recipe.lock.toml").write_text(text + lock)
    with pytest.raises(ModelDirectoryError):
        read_lock(tmp_path)


def test_a_recipe_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "r.toml")
    with pytest.raises(RecipeError, match="a pipe"):
        read(tmp_path / "r.toml")


def test_toml_keeps_the_line_of_a_catalogue():
    with pytest.raises(RecipeError) as caught:
        parse_toml(b"x = " + b"[" * 3000, "c.toml", 7)
    assert caught.value.where == "c.toml:7"


def test_labels_that_no_file_can_hold_are_refused_before_a_training_begins():
    recipe = registry.recipe("gpt-tiny")
    with pytest.raises(RecipeError, match="not valid Unicode"):
        override(recipe, {"task_options.labels": ["good", "\ud800"]})


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("warmup_steps", 10**20, "more than 64 bits"),
        ("checkpoint_steps", 10**30, "more than 64 bits"),
        ("seed", 2**33, "at most 4,294,967,295"),
        ("batch_size", 10**12, "at most 1,048,576"),
    ],
)
def test_options_of_a_training_have_an_upper_bound(key, value, what):
    with pytest.raises(RecipeError, match=what):
        train_options(override(registry.recipe("gpt-tiny"), {f"train.{key}": value}))


def test_a_number_of_parameters_that_no_list_can_show_is_a_problem_of_that_recipe(tmp_path):
    values = {"architecture": "gpt", "parameters": 10**400}
    with pytest.raises(RecipeError, match="which has more than 64 bits|a number of"):
        from_values(values, name="a")


def test_a_name_wins_over_a_directory_of_that_name(tmp_path, monkeypatch):
    from modelzoo.building.build import _is_checkpoint

    monkeypatch.chdir(tmp_path)
    for name in ("gpt-small", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert not _is_checkpoint("gpt-small")
    assert _is_checkpoint("./gpt-small") and _is_checkpoint("other")
    assert _is_checkpoint(tmp_path / "gpt-small")
