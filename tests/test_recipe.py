from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Literal

import pytest

from modelzoo.errors import (
    ModelDirectoryError,
    ModelzooError,
    OutputError,
    RecipeError,
    UnknownNameError,
)
from modelzoo.recipe import (
    Recipe,
    dumps,
    from_values,
    lock,
    override,
    parse_set,
    read,
    read_lock,
    write_lock,
)
from modelzoo.recipe.schema import validate_against

BASE = {
    "summary": "base",
    "architecture": "gpt",
    "task": "causal-lm",
    "parameters": 1_000,
    "model": {"num_layers": 12, "hidden_dims": [4, 5]},
    "train": {"learning_rate": 6e-4},
}


@pytest.fixture
def base() -> Recipe:
    return from_values(BASE, name="base", source="base.toml")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# === Reading ===


def test_a_recipe_is_read_with_its_tables(tmp_path):
    path = write(tmp_path / "a.toml", 'architecture = "gpt"\n[model]\nnum_layers = 2\n')
    found = read(path)
    assert (found.name, found.architecture, found.task) == ("a", "gpt", None)
    assert found.table("model") == {"num_layers": 2}
    assert found.table("train") == {}
    assert found.source == str(path)


def test_a_byte_order_mark_and_windows_newlines_are_read(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b'\xef\xbb\xbfarchitecture = "gpt"\r\n[model]\r\nnum_layers = 2\r\n')
    assert read(path).table("model") == {"num_layers": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"architecture = \n", r"line 1, column 16"),
        (b'architecture = "gpt"\nx = \xff\n', r"not UTF-8: byte 25\n  in: .*a\.toml:2"),
        (b'architecture = "gpt"\n[modle]\n', r"no key 'modle'(.|\n)*did you mean: model\?"),
        (b'architecture = "gpt"\nmodel = 3\n', r"model must be a table, \[model\], not 3"),
        (b"architecture = 3\n", r"architecture must be a string, not 3"),
        (b'architecture = "gpt"\nparameters = true\n', r"parameters must be a whole number"),
        (b'architecture = "gpt"\nparameters = -1\n', r"must not be negative"),
        (
            b'architecture = "gpt"\n[model]\nd = 2020-01-01\n',
            r"model.d holds what a recipe cannot",
        ),
        (b'summary = "nothing"\n', r"names no architecture"),
        (b'architecture = "gpt"\nextends = "other"\n', r"can only be followed by name"),
    ],
)
def test_a_bad_file_is_refused_with_what_and_where(tmp_path, content, message):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_suggests_the_one_beside_it(tmp_path):
    write(tmp_path / "gpt-mine.toml", "")
    with pytest.raises(RecipeError, match=r"did you mean: .*gpt-mine\.toml"):
        read(tmp_path / "gpt-mime.toml")


# === Extending ===


def test_extends_merges_tables_and_replaces_arrays(base):
    child = from_values(
        {"extends": "base", "model": {"hidden_dims": [9]}, "train": {"epochs": 2}},
        name="child",
        resolve={"base": base}.__getitem__,
    )
    assert child.table("model") == {"num_layers": 12, "hidden_dims": [9]}
    assert child.table("train") == {"learning_rate": 6e-4, "epochs": 2}
    assert child.extends == ("base",)
    assert "extends" not in child.values
    assert base.values == BASE  # the parent is not touched


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"train": {"epochs": 2}}, 1_000),
        ({"model": {"num_layers": 12}}, 1_000),
        ({"model": {"num_layers": 6}}, None),
        ({"task_options": {"num_labels": 3}}, None),
        ({"model": {"num_layers": 6}, "parameters": 500}, 500),
    ],
)
def test_a_changed_model_drops_the_parents_parameter_count(base, own, expected):
    child = from_values({"extends": "base", **own}, name="c", resolve={"base": base}.__getitem__)
    assert child.parameters == expected


def test_a_circle_of_extends_is_named(tmp_path):
    write(tmp_path / "a.toml", 'extends = "b"\n')
    write(tmp_path / "b.toml", 'extends = "a"\n')

    def resolve(name: str) -> Recipe:
        return read(tmp_path / f"{name}.toml", resolve=resolve)

    with pytest.raises(RecipeError, match="a -> b -> a"):
        resolve("a")
    # The failure leaves nothing behind: the next read is not taken for a part of the circle.
    write(tmp_path / "b.toml", 'architecture = "gpt"\n')
    assert resolve("a").extends == ("b",)


def test_a_file_may_extend_the_recipe_that_it_is_named_after(tmp_path, base):
    path = write(tmp_path / "base.toml", 'extends = "base"\n[train]\nepochs = 3\n')
    assert read(path, resolve={"base": base}.__getitem__).table("train")["epochs"] == 3


def test_an_unknown_parent_is_named_with_the_nearest():
    def resolve(name: str) -> Recipe:
        raise UnknownNameError("no", did_you_mean="gpt-small")

    with pytest.raises(RecipeError, match=r"'gpt-smal'(.|\n)*did you mean: gpt-small\?"):
        from_values({"extends": "gpt-smal"}, name="c", resolve=resolve)


# === Overriding ===


def test_a_bare_key_means_the_model_and_any_other_table_is_written_out(base):
    changed = override(base, {"num_layers": 6, "train.learning_rate": 0.1, "summary": "mine"})
    assert changed.table("model")["num_layers"] == 6
    assert changed.table("train")["learning_rate"] == 0.1
    assert changed.summary == "mine"
    assert changed.parameters is None
    assert base.values == BASE


def test_none_gives_back_the_default_and_leaves_no_empty_table(base):
    assert "num_layers" not in override(base, {"num_layers": None}).table("model")
    assert override(base, {"export.max_length": None}).digest == base.digest


def test_a_tuple_is_an_array_and_a_mapping_merges(base):
    assert override(base, {"hidden_dims": (1, 2)}).table("model")["hidden_dims"] == [1, 2]
    merged = override(base, {"train": {"epochs": 1}}).table("train")
    assert merged == {"learning_rate": 6e-4, "epochs": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trian.epochs": 1}, r"no table 'trian'(.|\n)*did you mean: train\?"),
        ({"extends": "x"}, "cannot be overridden"),
        ({"model.num_layers.x": 1}, "num_layers is a value"),
        ({"num_layers": object()}, "holds what a recipe cannot"),
        ({"architecture": None}, "names no architecture"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(base, changes, message):
    with pytest.raises(RecipeError, match=message):
        override(base, changes)


def test_set_reads_toml_values_and_takes_the_rest_as_text():
    assert parse_set(
        ["a=6", "b=1e-3", "c=true", "d=[1, 2]", "e=gelu", "f=a=b", 'g="6"', "h=", "i=2020-01-01"]
    ) == {
        "a": 6,
        "b": 1e-3,
        "c": True,
        "d": [1, 2],
        "e": "gelu",
        "f": "a=b",
        "g": "6",
        "h": "",
        "i": "2020-01-01",
    }


def test_set_cannot_smuggle_in_a_second_key():
    assert parse_set(["a=1\nb=2"]) == {"a": "1\nb=2"}


@pytest.mark.parametrize("pair", ["num_layers", "=6", ""])
def test_set_without_key_or_value_is_refused(pair):
    with pytest.raises(RecipeError, match="KEY=VALUE"):
        parse_set([pair])


# === The schema is the signature ===


def build(
    *,
    num_layers: int,
    dropout: float = 0.1,
    tied: bool = True,
    activation: Literal["gelu", "relu"] = "gelu",
    kv_heads: int | None = None,
    dims: tuple[int, ...] = (),
    patch: tuple[int, int] = (16, 16),
    names: list[str] | None = None,
    extra: dict[str, int] | None = None,
) -> "keras.Model":  # noqa: F821, UP037 - as in an architecture: Keras is not imported yet
    """Stands for an architecture."""


def with_model(**model: object) -> Recipe:
    return from_values({"architecture": "gpt", "model": model}, name="r", source="r.toml")


def test_values_arrive_as_the_function_expects_them():
    given = validate_against(
        with_model(num_layers=2, dropout=0, dims=[1, 2], patch=[8, 8], names=["a"], extra={"a": 1}),
        build,
    )
    assert given == {
        "num_layers": 2,
        "dropout": 0.0,
        "dims": (1, 2),
        "patch": (8, 8),
        "names": ["a"],
        "extra": {"a": 1},
    }
    assert type(given["dropout"]) is float


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"num_layer": 2}, r"takes no 'num_layer'(.|\n)*did you mean: num_layers\?"),
        ({}, "needs num_layers"),
        ({"num_layers": "six"}, 'model.num_layers must be an int, not "six"'),
        ({"num_layers": True}, "must be an int, not true"),
        ({"num_layers": 2.0}, r"must be an int, not 2\.0"),
        ({"num_layers": 2, "dropout": "0.1"}, "must be a float"),
        ({"num_layers": 2, "tied": "True"}, r"must be a bool(.|\n)*did you mean: true\?"),
        ({"num_layers": 2, "tied": 1}, "must be a bool, not 1"),
        (
            {"num_layers": 2, "activation": "gleu"},
            r'"gelu" or "relu", not "gleu"(.|\n)*did you mean: gelu\?',
        ),
        ({"num_layers": 2, "kv_heads": "a"}, "must be an int"),
        ({"num_layers": 2, "dims": [1, "2"]}, "must be an array of int"),
        ({"num_layers": 2, "dims": 3}, "must be an array"),
        ({"num_layers": 2, "patch": [8]}, r"must be \[int, int\]"),
        ({"num_layers": 2, "names": [1]}, "must be an array of string"),
        ({"num_layers": 2, "extra": {"a": "b"}}, "must be a table"),
    ],
)
def test_typo_in_override_suggests_the_real_name(model, message):
    with pytest.raises(RecipeError, match=message) as caught:
        validate_against(with_model(**model), build)
    assert "r.toml, model" in str(caught.value)


def positional(num_layers: int): ...
def loose(*, num_layers: int, **kwargs: int): ...
def bare(*, num_layers): ...
def unreadable(*, num_layers: "NoSuchType"): ...  # noqa: F821, UP037


@pytest.mark.parametrize("function", [positional, loose, bare, unreadable])
def test_a_signature_that_is_no_schema_is_refused(function):
    with pytest.raises(ModelzooError, match=function.__name__):
        validate_against(with_model(num_layers=2), function)


def test_the_options_of_a_task_are_held_against_its_class():
    class Task:
        def __init__(self, *, num_labels: int = 2) -> None: ...

    values = {"architecture": "gpt", "task": "t", "task_options": {"num_label": 3}}
    recipe = from_values(values, name="r")
    with pytest.raises(RecipeError, match=r"task t takes no 'num_label'"):
        validate_against(recipe, Task, table="task_options")


# === Digest, TOML, lock ===


def test_the_digest_is_of_the_values_not_of_their_order(base):
    shuffled = from_values(dict(reversed(BASE.items())), name="other", source="elsewhere.toml")
    assert shuffled.digest == base.digest
    assert override(base, {"num_layers": 11}).digest != base.digest


def test_the_digest_does_not_change_between_versions_of_modelzoo():
    known = from_values({"architecture": "gpt", "model": {"a": 1, "é": 0.1}}, name="x")
    assert known.digest == "ef5430a8b8e156711298105f46f8d1f5e00e194654f17e96ca25fb949307af07"


def test_a_copied_table_does_not_lead_back_into_the_recipe(base):
    base.table("model")["hidden_dims"].append(1)
    assert base.table("model")["hidden_dims"] == [4, 5]


def test_what_dumps_writes_reads_back_equal():
    values = {
        "text": 'quote " backslash \\ tab \t newline \n bell \x07 delete \x7f é 模型 🙂',
        "whole": -3,
        "large": 124_439_808,
        "largest": 2**63 - 1,
        "float": 6e-4,
        "float_whole": 1.0,
        "big_float": 1e22,
        "infinite": math.inf,
        "yes": True,
        "empty": [],
        "nested": [[1, 2], ["a"], [{"k": 1}]],
        "key with spaces": 1,
        "": 2,
        "table": {"a": 1, "deeper": {"dotted.key": "x", "empty": {}}},
    }
    assert tomllib.loads(dumps(values)) == values


@pytest.mark.parametrize("line", ["PARTSb = 1", "[PARTSb]", "x = {PARTSb = 1}", "'é'. PARTSb = 1"])
def test_a_key_with_thousands_of_parts_is_refused_at_once(tmp_path, line):
    (tmp_path / "r.toml").write_text('summary = "x"\n' + line.replace("PARTS", "a." * 100_000))
    with pytest.raises(RecipeError, match="a key has more than 64 parts") as caught:
        read(tmp_path / "r.toml")
    assert caught.value.where == f"{tmp_path / 'r.toml'}:2"


@pytest.mark.parametrize("value", [None, object(), "\ud800", 2**63])
def test_dumps_refuses_what_toml_cannot_hold(value):
    with pytest.raises(RecipeError):
        dumps({"model": {"x": value}})


def test_a_lock_gives_back_the_recipe_and_its_versions(tmp_path, base):
    path = write_lock(tmp_path, base, keras="3.15.1", backend="jax")
    assert path.name == "recipe.lock.toml"
    found, lock = read_lock(tmp_path)
    assert (found.name, found.values, found.digest) == (base.name, base.values, base.digest)
    assert lock["keras"] == "3.15.1"
    assert lock["backend"] == "jax"
    assert lock["format_version"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["recipe.lock.toml"]  # no leftovers


def test_a_lock_of_a_newer_modelzoo_is_refused(tmp_path, base, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr(lock, "FORMAT_VERSION", lock.FORMAT_VERSION + 1)
        write_lock(tmp_path, base, source={"weights": "random"})
    with pytest.raises(ModelDirectoryError, match=r"newer modelzoo(.|\n)*--upgrade modelzoo"):
        read_lock(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_layers = 12", "num_layers = 11", "edited by hand"),
        ("[lock]", "[lokc]", r"\[lock\] is missing"),
        ("format_version = 1", 'format_version = "1"', r"missing or incomplete"),
        ("[model]", "[model", "not valid TOML"),
        ('architecture = "gpt"\n', "", "names no architecture"),
    ],
)
def test_a_lock_that_was_altered_is_refused(tmp_path, base, old, new, message):
    path = write_lock(tmp_path, base)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ModelDirectoryError, match=message):
        read_lock(tmp_path)


def test_a_directory_without_a_lock_is_no_model_directory(tmp_path):
    with pytest.raises(ModelDirectoryError, match="is not a model directory"):
        read_lock(tmp_path)


def test_a_lock_cannot_be_written_where_there_is_no_folder(tmp_path, base):
    with pytest.raises(OutputError, match="cannot write"):
        write_lock(tmp_path / "nowhere", base)


# === A key of another table ===


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("learning_rate", "train.learning_rate"),
        ("learning_rat", "train.learning_rate"),
        ("patience", "train.patience"),
        ("early_stopping", "train.patience"),
        ("lr", "train.learning_rate"),
        ("labels", "task_options.labels"),
        ("num_labels", "task_options.labels"),
        ("num_layer", "num_layers"),
        ("train.lr", "learning_rate"),
    ],
)
def test_a_key_of_another_table_is_named_with_its_table(key, meant):
    from modelzoo import registry
    from modelzoo.recipe.schema import validate_against
    from modelzoo.recipe.train_options import train_options

    found = registry.recipe("bert-tiny-classifier", {key: 1})
    with pytest.raises(RecipeError) as caught:
        validate_against(found, registry.architecture(found.architecture))
        train_options(found)
    assert caught.value.did_you_mean == meant
