"""The recipes in the package are those that its generator writes, and each fits."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import modelzoo
import pytest
from modelzoo import registry
from modelzoo.errors import RecipeError
from modelzoo.recipe.schema import validate_against

from modelzoo_kerashub import generate, index
from modelzoo_kerashub.families import CARRIED

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "modelzoo_kerashub"


def test_the_files_are_what_the_generator_writes():
    wanted = generate.texts()
    paths = [PACKAGE / "recipes.toml", *(PACKAGE / "recipes").glob("*.toml")]
    found = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in paths}
    assert sorted(found) == sorted(wanted)
    assert [name for name in found if found[name] != wanted[name]] == []


def test_what_has_no_values_is_in_the_catalogue_and_all_else_in_files_of_its_own():
    catalogue = tomllib.loads((PACKAGE / "recipes.toml").read_text(encoding="utf-8"))
    wanted = generate.recipes()
    short = {
        name for name, values in wanted.items() if values.get("model", {}).keys() <= {"preset"}
    }
    assert catalogue.keys() == short > {name for name in index.presets() if name in wanted}
    files = {path.stem for path in (PACKAGE / "recipes").glob("*.toml")}
    assert files == wanted.keys() - short


def test_a_recipe_of_the_catalogue_is_what_the_generator_says_and_has_its_own_line():
    wanted = generate.recipes()
    for name in ("bert_base_en", "gpt2_base_en", "gemma3_4b_text"):
        found = registry.recipe(f"kerashub/{name}")
        assert found.values == wanted[name]
        catalogue = Path(found.source)  # of the installed plugin
        assert catalogue.name == "recipes.toml"
        assert catalogue.read_text(encoding="utf-8").splitlines()[found.line - 1] == f"[{name}]"


def test_generating_again_changes_nothing_and_removes_what_is_gone(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "gone.toml").write_text("")
    first = generate.write(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in first}
    assert {path: path.stat().st_mtime_ns for path in generate.write(tmp_path)} == times
    assert not (tmp_path / "recipes" / "gone.toml").exists()


def test_every_public_name_of_a_backbone_is_an_architecture():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = project["entry-points"]["modelzoo.architectures"]
    target = "modelzoo_kerashub.architectures"
    names = [*index.backbones(), "decoder", "preset"]
    assert entries == {name: f"{target}:{name}" for name in sorted(names)}


def test_every_recipe_has_a_summary_a_reference_and_values_that_fit():
    for entry in registry.names():
        if not entry.name.startswith("kerashub/"):
            continue
        recipe = registry.recipe(entry.name)
        assert recipe.summary and recipe.reference, entry.name
        if entry.name not in ("kerashub/preset", "kerashub/decoder"):  # they need a preset
            validate_against(recipe, registry.architecture(recipe.architecture))


def test_every_family_that_can_be_carried_has_a_small_decoder():
    for name in CARRIED:
        recipe = registry.recipe(f"kerashub/{name.replace('Backbone', 'Decoder')}")
        assert recipe.architecture == "kerashub/decoder" and recipe.task == "causal-lm"


def test_presets_of_carried_families_keep_a_cache_unless_they_see():
    assert registry.recipe("kerashub/gemma3_4b_text").architecture == "kerashub/decoder"
    assert registry.recipe("kerashub/gemma3_4b").architecture == "kerashub/preset"
    assert registry.recipe("kerashub/bert_base_en").architecture == "kerashub/preset"


@pytest.mark.slow
def test_the_stated_counts_are_those_of_the_models():
    counted = generate.count()
    stated = json.loads(generate.COUNTS.read_text(encoding="utf-8"))
    assert counted == {name: stated[name] for name in counted}
    assert len(counted) > 150


def test_a_typo_in_an_argument_suggests_the_real_one_and_loads_nothing():
    with pytest.raises(RecipeError) as caught:
        modelzoo.build("kerashub/BertBackbone", num_layer=1)
    assert caught.value.did_you_mean == "num_layers"


def test_a_value_of_the_wrong_type_is_refused():
    with pytest.raises(RecipeError, match="num_layers must be an int"):
        modelzoo.build("kerashub/BertBackbone", num_layers="two")


def test_values_that_kerashub_refuses_are_an_error_of_the_recipe():
    with pytest.raises(RecipeError, match="KerasHub cannot build a MobileNetBackbone"):
        modelzoo.build("kerashub/MobileNetBackbone", image_shape=[32])
    with pytest.raises(RecipeError, match="no class 'NoEncoder'"):
        modelzoo.build("kerashub/SegFormerBackbone", image_encoder={"class": "NoEncoder"})
