"""From a name to a model, and from a model to a directory and back."""

from __future__ import annotations

import re
import tomllib

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.errors import (
    DataError,
    ModelDirectoryError,
    ModelzooError,
    RecipeError,
    TokenizerError,
)
from modelzoo.recipe import LOCK_NAME
from tests import small

PROMPTS = ["a rose is", "the fox"]


@pytest.fixture(scope="module")
def gpt():
    return small.with_tokenizer()


@pytest.fixture
def directory(gpt, tmp_path):
    return modelzoo.save(gpt, tmp_path / "my-gpt")


def edit(path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


# === A directory and back ===


def test_a_directory_gives_back_the_model(gpt, directory):
    assert small.listing(directory) == ["README.md", "model.keras", LOCK_NAME, "tokenizer.json"]
    again = modelzoo.load(directory)
    assert again.compiled and again.recipe.values == gpt.recipe.values
    for a, b in zip(gpt.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    wanted = gpt.generate(PROMPTS, max_new_tokens=6, temperature=1.0, seed=3)
    assert again.generate(PROMPTS, max_new_tokens=6, temperature=1.0, seed=3) == wanted


def test_the_lock_holds_the_digest_and_the_versions(gpt, directory):
    lock = tomllib.loads((directory / LOCK_NAME).read_text("utf-8"))["lock"]
    assert lock["digest"] == gpt.recipe.digest
    assert lock["name"] == "gpt-tiny" and lock["format_version"] == 2
    assert (lock["modelzoo"], lock["keras"]) == (modelzoo.__version__, keras.__version__)


def test_the_card_names_the_recipe_and_its_python_runs(gpt, directory, monkeypatch):
    card = (directory / "README.md").read_text("utf-8")
    for words in ("`gpt-tiny`", "`causal-lm`", f"{gpt.count_params():,}", gpt.recipe.digest[:16]):
        assert words in card
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(directory.parent)
    names = {}
    exec(block, names)
    assert names["model"].count_params() == gpt.count_params()


def test_saving_again_needs_force(gpt, directory):
    with pytest.raises(ModelzooError, match="exists"):
        modelzoo.save(gpt, directory)
    modelzoo.save(gpt, directory, force=True)
    assert small.listing(directory.parent) == [
        "my-gpt",
        *(f"my-gpt/{name}" for name in small.listing(directory)),
    ]


def test_a_directory_that_was_moved_is_the_same(directory, tmp_path):
    assert modelzoo.load(directory.rename(tmp_path / "moved")).recipe.name == "gpt-tiny"


def test_the_same_recipe_is_built_from_a_directory(directory):
    model = modelzoo.build(directory, num_layers=2)
    assert model.recipe.table("model") == {
        **modelzoo.load(directory).recipe.table("model"),
        "num_layers": 2,
    }


# === Damage ===


def test_a_directory_of_a_newer_modelzoo_is_refused(directory):
    edit(directory / LOCK_NAME, "format_version = 2", "format_version = 3")
    with pytest.raises(ModelDirectoryError, match="written by a newer modelzoo") as caught:
        modelzoo.load(directory)
    assert caught.value.next_step == "pip install --upgrade modelzoo-keras"


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_model_file_is_refused(directory, damage):
    path = directory / "model.keras"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes({"cut": data[:1000], "flip": data, "text": b"hello"}[damage])
    with pytest.raises(ModelDirectoryError, match="cannot be read|is damaged") as caught:
        modelzoo.load(directory)
    assert caught.value.where == str(directory)


def test_a_directory_without_its_parts_says_which(directory):
    (directory / "model.keras").unlink()
    with pytest.raises(ModelDirectoryError, match="holds no model.keras"):
        modelzoo.load(directory)
    (directory / LOCK_NAME).unlink()
    with pytest.raises(ModelDirectoryError, match=f"it holds no {LOCK_NAME}"):
        modelzoo.load(directory)


def test_a_recipe_where_a_directory_is_wanted_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, step in (
        ("gpt-tiny", "modelzoo build gpt-tiny -o DIR, then give DIR"),
        ("bert-base", "modelzoo build bert-base --pretrained -o DIR, then give DIR"),
    ):
        with pytest.raises(
            ModelDirectoryError, match=f"{name} is a recipe, not a model directory"
        ) as caught:
            modelzoo.load(name)
        assert caught.value.next_step == step
    with pytest.raises(ModelDirectoryError, match="there is no model directory runs/gpt"):
        modelzoo.load("runs/gpt")


def test_without_its_tokenizer_a_model_reads_token_ids_only(directory):
    (directory / "tokenizer.json").unlink()
    model = modelzoo.load(directory)
    assert len(model.generate_tokens([[5, 6]], max_new_tokens=2)[0]) <= 2
    with pytest.raises(TokenizerError, match="the model has no tokenizer"):
        model.generate("a rose")
    with pytest.raises(TokenizerError, match="the model has no tokenizer"):
        modelzoo.evaluate(model, small.TEXTS)


def test_a_tokenizer_must_fit_the_model(gpt, directory):
    size = gpt.tokenizer.vocab_size
    said = f"the tokenizer has {size} tokens and the model {size - 1}"
    with pytest.raises(TokenizerError, match=said) as caught:
        small.build(vocab_size=size - 1, tokenizer=gpt.tokenizer)
    assert f"--set vocab_size={size}" in caught.value.next_step
    other = small.build(vocab_size=size - 1)
    modelzoo.save(other, directory, force=True)
    gpt.tokenizer.save(directory / "tokenizer.json")  # of another model
    with pytest.raises(TokenizerError, match=said):
        modelzoo.load(directory)


# === Wrong values ===


@pytest.mark.parametrize(
    ("changes", "said", "near"),
    [
        ({"num_layer": 1}, "architecture gpt takes no 'num_layer'", "num_layers"),
        ({"num_layers": "two"}, 'model.num_layers must be an int, not "two"', None),
        ({"activation": "gleu"}, 'model.activation must be "gelu"', "gelu"),
        ({"train.learning_rat": 1e-3}, "takes no 'learning_rat'", "learning_rate"),
        ({"task_options.labels": ["a", "b"]}, "task causal-lm takes no 'labels'", None),
        ({"task": "causal"}, "'causal' is not a task", "causal-lm"),
        ({"architecture": "gtp"}, "'gtp' is not an architecture", "gpt"),
        ({"task": None}, "the recipe names no task", None),
        ({"num_heads": 5}, "hidden_dim 32 is not a multiple of num_heads 5", None),
    ],
)
def test_a_wrong_value_is_refused_with_the_nearest(changes, said, near):
    with pytest.raises(ModelzooError) as caught:
        small.build(**changes)
    assert said in caught.value.what
    assert caught.value.did_you_mean == near


def test_ids_and_texts_that_the_model_cannot_read_are_refused(gpt):
    for wrong in (300, -1):
        with pytest.raises(ModelzooError, match=f"{wrong}"):
            gpt.generate_tokens([[1, wrong]], max_new_tokens=1)
    with pytest.raises(ModelzooError, match="32"):
        gpt.generate("a rose is a rose " * 20, max_new_tokens=1)


def test_rows_longer_than_the_model_are_refused(gpt):
    with pytest.raises(RecipeError, match="33 tokens are longer than the model's max_length 32"):
        modelzoo.dataset(gpt, small.TEXTS, length=33)
    assert modelzoo.dataset(gpt, small.TEXTS, length=32)[0][1].shape[1] == 32


def test_labels_come_from_the_data_and_must_be_as_many_as_the_model_has():
    model = small.build("bert-tiny-classifier")
    modelzoo.dataset(model, small.REVIEWS * 3)
    assert model.recipe.table("task_options")["labels"] == ["bad", "good"]
    third = [*small.REVIEWS, ("a film", "so-so")]
    with pytest.raises(DataError, match="label 'so-so' is none of bad, good"):
        modelzoo.dataset(model, third)
    with pytest.raises(DataError, match="the data has 3 labels and the model 2") as caught:
        modelzoo.dataset(small.build("bert-tiny-classifier"), third)
    assert "'task_options.labels': ['bad', 'good', 'so-so']" in caught.value.next_step


def test_a_model_of_unknown_recipe_says_how_to_get_one(tmp_path):
    gpt = small.build(compile=False)
    gpt.save(tmp_path / "model.keras")
    bare = keras.saving.load_model(tmp_path / "model.keras")
    for use in (lambda: modelzoo.dataset(bare, ["a"]), lambda: modelzoo.save(bare, tmp_path / "m")):
        with pytest.raises(ModelzooError, match="does not know its recipe") as caught:
            use()
        assert "modelzoo.load(DIR)" in caught.value.next_step
    assert small.listing(tmp_path) == ["model.keras"]


# === Weights of another model ===


def test_weights_of_the_same_model_are_taken_with_their_head_and_tokenizer(gpt, directory):
    model = small.build(weights=directory)
    for a, b in zip(gpt.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.tokenizer.to_str() == gpt.tokenizer.to_str()


def test_weights_of_another_shape_are_refused(directory):
    with pytest.raises(ModelDirectoryError, match="hidden_dim is 16 here and 32 there"):
        small.build(hidden_dim=16, weights=directory)
    with pytest.raises(ModelDirectoryError, match="num_layers is 2 here and 1 there"):
        small.build(num_layers=2, weights=directory)


def test_a_class_that_nobody_registered_is_no_damage(directory, tmp_path):
    @keras.saving.register_keras_serializable("elsewhere")
    class Odd(keras.layers.Layer):
        pass

    model = keras.Sequential([keras.Input((2,)), Odd()])
    model.save(directory / "model.keras")
    keras.saving.get_custom_objects().pop("elsewhere>Odd")
    with pytest.raises(ModelDirectoryError, match="Odd") as caught:
        modelzoo.load(directory)
    assert "keras_registration.install" in caught.value.next_step
