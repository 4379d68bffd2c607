"""Recipes whose models are made of others."""

from __future__ import annotations

import pytest

import modelzoo
from modelzoo import registry
from modelzoo.errors import RecipeError
from modelzoo.recipe.composition import parts_of

WHOLE = """
architecture = "t5"
[model]
embed_dim = 8
[model.text]
recipe = "bert-tiny"
frozen = true
[model.text.model]
num_layers = 1
"""


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.toml"
    path.write_text(WHOLE, encoding="utf-8")
    return path


def test_a_part_holds_what_its_recipe_says_under_what_it_says_itself(whole):
    text = registry.recipe(whole).values["model"]["text"]
    theirs = registry.recipe("bert-tiny").table("model")
    assert text["of"] == "bert-tiny" and text["architecture"] == "bert" and text["frozen"] is True
    assert text["model"] == {**theirs, "num_layers": 1} and "recipe" not in text


def test_a_lock_file_keeps_a_part_whatever_becomes_of_the_recipe_behind_it(whole, tmp_path):
    found = registry.recipe(whole)
    modelzoo.recipe.write_lock(tmp_path, found)
    again, _ = modelzoo.recipe.read_lock(tmp_path)
    assert again.values == found.values and again.digest == found.digest


def test_a_child_that_names_another_recipe_for_a_part_inherits_nothing_of_the_first(whole):
    first = registry.recipe(whole)
    second = modelzoo.recipe.from_values(
        {"extends": "whole", "model": {"text": {"recipe": "gpt-tiny"}}},
        name="child",
        resolve=lambda name: first if name == "whole" else registry.recipe(name),
    )
    text = second.values["model"]["text"]
    assert text["model"] == registry.recipe("gpt-tiny").table("model")
    assert text["frozen"] is True and second.values["model"]["embed_dim"] == 8


def test_an_override_reaches_into_a_part_and_exchanges_it(whole):
    deeper = registry.recipe(whole, {"text.model.num_layers": 5})
    assert deeper.values["model"]["text"]["model"]["num_layers"] == 5
    other = registry.recipe(deeper, {"text.recipe": "gpt-tiny", "text.model.num_layers": 2})
    expected = {**registry.recipe("gpt-tiny").table("model"), "num_layers": 2}
    assert other.values["model"]["text"]["model"] == expected


def test_a_part_of_no_recipe_suggests_the_nearest_name(whole):
    with pytest.raises(RecipeError, match="gpt-tny") as caught:
        registry.recipe(whole, {"text.recipe": "gpt-tny"})
    assert caught.value.did_you_mean == "gpt-tiny"


def test_a_part_whose_recipe_is_no_name_is_refused(whole):
    with pytest.raises(RecipeError, match="must be a recipe's name"):
        registry.recipe(whole, {"text.recipe": 3})


def test_tables_that_are_no_parts_stay_as_they_are():
    assert not dict(parts_of({"model": {"rotary_scaling": {"factor": 2}}}))


def test_a_part_begins_with_the_weights_that_it_names_and_a_frozen_one_keeps_them(tmp_path):
    import numpy as np

    net = {"image_size": 8, "widths": [4, 8]}
    source = modelzoo.build("convnet-tiny", compile=False, **net)
    modelzoo.save(source, tmp_path / "classifier")
    text = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "vocab_size": 50}
    recipe = modelzoo.recipe.from_values(
        {
            "architecture": "contrastive",
            "task": "contrastive",
            "model": {
                "embed_dim": 8,
                "image": {
                    "recipe": "convnet-tiny",
                    "weights": str(tmp_path / "classifier"),
                    "frozen": True,
                    "model": net,
                },
                "text": {"recipe": "bert-tiny", "pooling": "mean", "model": text},
            },
        },
        name="mine",
        resolve=registry.recipe,
    )
    model = modelzoo.build(recipe)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype("uint8")
    wanted = np.asarray(source.backbone(images)["pooled"])
    assert np.array_equal(np.asarray(model.backbone.image(images)["pooled"]), wanted)

    before = [np.array(weight) for weight in model.backbone.image.weights]
    inputs = {"images": images, "token_ids": np.arange(12).reshape(3, 4)}
    inputs["padding_mask"] = np.ones((3, 4), "int32")
    model.fit(inputs, {"image": np.arange(3), "text": np.arange(3)}, epochs=1, verbose=0)
    after = model.backbone.image.weights
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(before, after, strict=True))

    # A model made of parts gives the part of that name, and only that.
    modelzoo.save(model, tmp_path / "clip")
    part = {"recipe": "convnet-tiny", "weights": str(tmp_path / "clip"), "model": net}
    table = {**text, "image": part}
    values = {"architecture": "captioner", "task": "captioning", "model": table}
    found = modelzoo.recipe.from_values(values, name="captions", resolve=registry.recipe)
    captioner = modelzoo.build(found, compile=False)
    assert np.array_equal(np.asarray(captioner.backbone.image(images)["pooled"]), wanted)
