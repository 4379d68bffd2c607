from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelzoo import registry
from modelzoo.errors import (
    MissingDependencyError,
    ModelDirectoryError,
    ModelzooError,
    RecipeError,
    UnknownNameError,
)
from modelzoo.recipe import write_lock
from modelzoo.recipe.schema import arguments, validate_against
from modelzoo.registry import components

CORE_RECIPES = registry.recipes_directory()


# === The zoo itself ===


def test_every_recipe_of_the_zoo_reads_and_states_what_it_is():
    names = [path.stem for path in sorted(CORE_RECIPES.glob("*.toml"))]
    assert names, f"no recipes in {CORE_RECIPES}"
    digests: dict[str, str] = {}
    for name in names:
        recipe = registry.recipe(name)
        assert recipe.summary, f"{name} states no summary"
        assert recipe.task, f"{name} states no task"
        assert recipe.architecture in components.CORE["architectures"], name
        assert recipe.task in components.CORE["tasks"], name
        twin = digests.setdefault(recipe.digest, name)
        assert twin == name, f"{name} and {twin} are one recipe"


def test_every_recipe_of_the_zoo_fits_the_signature_of_its_architecture():
    for path in sorted(CORE_RECIPES.glob("*.toml")):
        recipe = registry.recipe(path.stem)
        validate_against(recipe, registry.architecture(recipe.architecture))


# === Recipes by name and by path ===


def test_names_are_sorted_and_light(recipes):
    entries = registry.names()
    assert [entry.name for entry in entries] == ["gpt-small", "gpt-tiny"]
    small, tiny = entries
    assert (small.task, small.architecture, small.parameters) == ("causal-lm", "gpt", 124_439_808)
    assert (tiny.task, tiny.parameters, tiny.problem) == ("causal-lm", None, None)
    assert small.source == str(recipes / "gpt-small.toml")


def test_names_take_a_word_and_are_a_table():
    """L8."""
    entries = registry.names("MiniLM")
    assert [entry.name for entry in entries] == ["minilm-l6", "minilm-l6-classifier"]
    (by_alias,) = registry.names("google-bert/bert-base-uncased")
    assert by_alias.name == "bert-base"
    assert {entry.task for entry in registry.names("captioning")} == {"captioning"}
    assert registry.names("xyzzy") == []
    lines = repr(entries).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "minilm-l6", "minilm-l6-classifier"]
    assert lines[1].split()[1:] == ["text-embedding", "22,713,216", "yes"]


def test_a_table_of_names_in_a_notebook_is_escaped():
    entry = registry.Entry("<b>", "a & b", None, "gpt", None, None, "")
    html = registry.Entries([entry])._repr_html_()
    assert "<td>&lt;b&gt;</td><td>-</td><td>-</td><td>-</td><td>a &amp; b</td>" in html
    assert html.count("<tr>") == 2 and html.endswith("</table>")


def test_a_broken_recipe_lists_with_its_problem_and_hides_no_other(recipes):
    (recipes / "broken.toml").write_text("architecture = \n")
    entries = {entry.name: entry for entry in registry.names()}
    assert "not valid TOML" in entries["broken"].problem
    assert entries["gpt-small"].problem is None


def test_a_recipe_is_found_by_name_by_file_and_by_model_directory(recipes, tmp_path):
    by_name = registry.recipe("gpt-tiny")
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "gpt-tiny"\n')
    directory = tmp_path / "model"
    directory.mkdir()
    write_lock(directory, by_name)
    assert by_name.extends == ("gpt-small",)
    assert registry.recipe(str(mine)).extends == ("gpt-tiny", "gpt-small")
    assert registry.recipe(mine).digest == by_name.digest
    assert registry.recipe(str(directory)).name == "gpt-tiny"
    assert registry.recipe(directory / "recipe.lock.toml").digest == by_name.digest


def test_a_name_wins_over_a_directory_and_a_path_says_that_it_is_one(
    recipes, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("gpt-small").mkdir()
    write_lock("gpt-small", registry.recipe("gpt-tiny"))
    assert registry.recipe("gpt-small").name == "gpt-small"
    assert registry.recipe("./gpt-small").name == "gpt-tiny"
    assert registry.recipe(Path("gpt-small")).name == "gpt-tiny"


def test_a_directory_that_is_no_model_says_so(recipes, tmp_path):
    with pytest.raises(ModelDirectoryError, match=r"holds no recipe\.lock\.toml"):
        registry.recipe(str(tmp_path))


def test_overrides_are_applied(recipes):
    recipe = registry.recipe("gpt-small", {"num_layers": 6})
    assert recipe.table("model")["num_layers"] == 6
    assert recipe.parameters is None


def test_an_unknown_name_suggests_the_nearest(recipes):
    with pytest.raises(UnknownNameError) as caught:
        registry.recipe("gpt-smal")
    assert caught.value.did_you_mean == "gpt-small"


def test_an_unknown_namespace_points_to_the_plugins(recipes, monkeypatch):
    with pytest.raises(UnknownNameError, match="MODELZOO_PLUGINS=''"):
        registry.recipe("acme/tiny")
    monkeypatch.delenv("MODELZOO_PLUGINS")
    with pytest.raises(UnknownNameError, match="install the plugin that brings acme"):
        registry.recipe("acme/tiny")


def test_a_bare_name_is_resolved_without_looking_for_plugins(recipes, monkeypatch):
    def scan():
        raise AssertionError("scanned")

    monkeypatch.setattr("modelzoo.plugins.discovery.discover", scan)
    assert registry.recipe("gpt-tiny").architecture == "gpt"


# === Registration ===


def build_own(*, num_layers: int = 1) -> object:
    return num_layers


def test_what_is_registered_is_listed_and_found(recipes):
    registry.register(
        "own/model",
        architecture=build_own,
        recipe={"architecture": "own/model", "summary": "mine", "model": {"num_layers": 3}},
    )
    assert registry.architecture("own/model") is build_own
    assert registry.recipe("own/model").table("model") == {"num_layers": 3}
    assert "own/model" in [entry.name for entry in registry.names()]
    places = {place.kind: place for place in registry.find("own/model")}
    assert places["architecture"].file == __file__
    assert places["architecture"].line == build_own.__code__.co_firstlineno


def test_registering_again_replaces_and_a_bad_recipe_leaves_the_old_one(recipes):
    registry.register("mine", recipe={"architecture": "gpt", "summary": "one"})
    registry.register("mine", recipe={"architecture": "gpt", "summary": "two"})
    with pytest.raises(RecipeError):
        registry.register("mine", recipe={"architecture": "gpt", "sumary": "three"})
    assert registry.recipe("mine").summary == "two"


def test_a_recipe_file_can_be_registered_under_a_name(recipes, tmp_path):
    (tmp_path / "a.toml").write_text('extends = "gpt-small"\n')
    registry.register("mine", recipe=tmp_path / "a.toml")
    assert registry.recipe("mine").extends == ("gpt-small",)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("gpt", {"architecture": build_own}, "architecture 'gpt' exists already"),
        ("causal-lm", {"task": object}, "task 'causal-lm' exists already"),
        ("tflite", {"exporter": build_own}, "exporter 'tflite' exists already"),
        ("gpt-small", {"recipe": {"architecture": "gpt"}}, "recipe 'gpt-small' exists already"),
        ("new", {}, "nothing to register"),
        ("./new", {"architecture": build_own}, "cannot be a name"),
        ("new.toml", {"architecture": build_own}, "cannot be a name"),
    ],
)
def test_a_name_of_the_core_cannot_be_taken(recipes, name, given, message):
    with pytest.raises(ModelzooError, match=message):
        registry.register(name, **given)
    assert name not in components.known("architecture") or name == "gpt"


# === Architectures, tasks, exporters ===


def test_an_unknown_architecture_or_task_suggests_the_nearest(recipes):
    with pytest.raises(UnknownNameError, match=r"not an architecture(.|\n)*did you mean: bert\?"):
        registry.architecture("brt")
    with pytest.raises(UnknownNameError, match=r"not a task(.|\n)*did you mean: causal-lm\?"):
        registry.task("causal")


def test_every_name_of_the_core_leads_to_a_definition():
    for kind in components.KINDS:
        for name in components.CORE[components.KINDS[kind]]:
            file, line = registry.where(name, kind)
            text = Path(file).read_text(encoding="utf-8").splitlines()[line - 1]
            attribute = components.CORE[components.KINDS[kind]][name].partition(":")[2]
            assert attribute in text, f"{name}: {file}:{line}: {text}"


def test_the_signature_of_every_core_architecture_is_a_schema():
    for name in components.CORE["architectures"]:
        schema = arguments(registry.architecture(name))
        assert schema, name
        # Only the parts of a whole have to be named: all else has a default.
        needed = {hint for hint, is_needed in schema.values() if is_needed}
        assert needed <= {dict}, name


def test_a_core_module_that_needs_an_extra_names_it(monkeypatch, tmp_path):
    (tmp_path / "needs_keras.py").write_text("raise ModuleNotFoundError('no', name='keras.layers')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(components.CORE["tasks"], "lame", "needs_keras:Task")
    with pytest.raises(MissingDependencyError, match=r'pip install "modelzoo-keras\[tensorflow\]"'):
        registry.task("lame")


def test_looking_for_the_source_follows_a_re_export_and_imports_nothing(tmp_path, monkeypatch):
    package = tmp_path / "acme_look"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError\nfrom .inner import build as make\n")
    (package / "inner.py").write_text("import os\n\ndef build():\n    ...\n\nTASK = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    from modelzoo.registry.definitions import locate

    assert locate("acme_look:make") == (str(package / "inner.py"), 3)
    assert locate("acme_look.inner:TASK") == (str(package / "inner.py"), 6)
    assert locate("acme_look.missing:build") is None
    assert "acme_look" not in sys.modules


# === What a task states, without an import ===


def test_a_task_states_its_fields_without_an_import():
    assert components.stated("text-classification", "fields")[0] == ("text", "label")
    # Stated by a base class, in the same file and in another.
    assert components.stated("image-classification", "reads_text") is False
    assert components.stated("causal-lm", "reads_text") is True
    assert components.stated("causal-lm", "fields") == (("text",),)
    assert components.stated("causal-lm", "no_such_thing") is None
    for name in components.CORE["tasks"]:
        assert components.stated(name, "does") == registry.task(name).does
        assert components.stated(name, "fields") == registry.task(name).fields


def test_a_task_is_checked_without_an_import():
    components.check("task", "causal-lm")
    with pytest.raises(UnknownNameError, match=r"'causal' is not a task\n.*mean: causal-lm\?"):
        components.check("task", "causal")
    with pytest.raises(UnknownNameError, match=r"did you mean: seq2seq-lm\?"):
        components.check("task", "summarization")
