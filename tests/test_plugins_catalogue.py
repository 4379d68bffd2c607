"""A catalogue: the recipes of a plugin as the tables of one file, `recipes.toml`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from modelzoo import cli, plugins, registry
from modelzoo.errors import ModelzooError, RecipeError
from modelzoo.plugins.catalogue import read_catalogue
from modelzoo.recipe import dumps, read, read_lock, write_lock
from modelzoo.registry import recipes as registered
from tests.plugin_site import Site, acme

SOUND = """\
# What Acme brings.

# The small one.
[small]
summary = "Acme small"
architecture = "acme/moe"
task = "causal-lm"
parameters = 2_345

[small.model]
num_layers = 4   # four

["small-3.5"]
extends = "acme/small"
summary = "Acme small, five layers"

["small-3.5".model]
num_layers = 5
"""


@pytest.fixture
def package(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the plugin acme, whose catalogue is SOUND; this process sees it."""
    acme(site)
    folder = site.path / "modelzoo_acme"
    (folder / "recipes.toml").write_text(SOUND)
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.setenv(plugins.VARIABLE, "acme")
    return folder


def listed() -> dict[str, registry.Entry]:
    return {entry.name: entry for entry in registry.names() if "/" in entry.name}


def problem_of_the_plugin() -> str | None:
    (plugin,) = plugins.discover()
    assert plugin.usable
    return plugin.problem


# === Tables are recipes ===


def test_tables_list_beside_files_and_name_their_file(package):
    entries = listed()
    assert list(entries) == ["acme/small", "acme/small-3.5", "acme/tiny"]
    small = entries["acme/small"]
    assert (small.summary, small.task, small.parameters) == ("Acme small", "causal-lm", 2345)
    assert (small.architecture, small.plugin) == ("acme/moe", "modelzoo-acme 0.2.1")
    assert small.source == str(package / "recipes.toml")
    assert entries["acme/small-3.5"].summary == "Acme small, five layers"
    assert problem_of_the_plugin() is None
    assert {entry.problem for entry in entries.values()} == {None}


def test_a_table_is_the_recipe_that_a_file_of_its_text_would_be(package, tmp_path):
    for name in ("small", "small-3.5"):
        found = registry.recipe(f"acme/{name}")
        file = tmp_path / f"{name}.toml"
        file.write_text(found.text)
        again = registry.recipe(str(file))
        assert (again.values, again.digest) == (found.values, found.digest)
        assert again.extends == found.extends
        assert found.source == str(package / "recipes.toml")
        assert found.plugin == "modelzoo-acme 0.2.1"
    assert found.values["model"] == {"num_layers": 5}
    assert found.extends == ("acme/small",)


def test_a_digest_is_that_of_the_values_wherever_they_are_written(package):
    values = {
        "summary": "A dotted name",
        "architecture": "acme/moe",
        "reference": 'quotes " and \\',
        "model": {"num_layers": 2, "rotary": {"kind": "yarn", "sizes": [[1, 2], [3]]}},
        "train": {"learning_rate": 1e-3},
    }
    (package / "recipes" / "file.toml").write_text(dumps(values))
    (package / "recipes.toml").write_text(dumps({"table": values, "v1.5": values}))
    found = {name: registry.recipe(f"acme/{name}") for name in ("file", "table", "v1.5")}
    assert {recipe.digest for recipe in found.values()} == {found["file"].digest}
    assert found["table"].values == values


def test_a_recipe_of_a_catalogue_locks_as_any_other(package, tmp_path):
    recipe = registry.recipe("acme/small-3.5")
    write_lock(tmp_path, recipe)
    locked, lock = read_lock(tmp_path)
    assert (locked.name, locked.values) == ("acme/small-3.5", recipe.values)
    assert (locked.digest, lock["plugin"]) == (recipe.digest, "modelzoo-acme 0.2.1")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_find_names_the_line_of_the_table(package, newline):
    path = package / "recipes.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SOUND.replace("\n", newline).encode())
    lines = SOUND.splitlines()
    for name, header in (("small", "[small]"), ("small-3.5", '["small-3.5"]')):
        assert registry.where(f"acme/{name}") == (str(path), lines.index(header) + 1)
        place = registry.find(f"acme/{name}")[0]
        assert (place.kind, place.file, lines[place.line - 1]) == ("recipe", str(path), header)
    assert registry.where("acme/tiny") == (str(package / "recipes" / "tiny.toml"), 1)


def test_show_and_cp_give_the_text_of_the_table_alone(package, capsys, tmp_path):
    assert cli.main(["show", "acme/small"]) == 0
    shown = capsys.readouterr().out
    assert f"# source     {package / 'recipes.toml'}:4\n" in shown
    text = shown.partition("\n\n")[2]
    assert text.startswith('# The small one.\n\nsummary = "Acme small"\n')
    assert text.endswith("\n[model]\nnum_layers = 4   # four\n")
    for name in ("small", "small-3.5"):
        mine = tmp_path / "mine.toml"
        assert cli.main(["cp", f"acme/{name}", str(mine), "--force"]) == 0
        assert read(mine).digest == registry.recipe(f"acme/{name}").digest
    capsys.readouterr()
    assert cli.main(["show", "acme/small", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["source"], shown["line"]) == (str(package / "recipes.toml"), 4)


def test_an_edited_catalogue_is_read_again(package):
    assert listed()["acme/small"].summary == "Acme small"
    (package / "recipes.toml").write_text(SOUND.replace("Acme small", "Acme little one"))
    assert listed()["acme/small"].summary == "Acme little one"


def test_a_name_of_a_catalogue_cannot_be_registered(package):
    with pytest.raises(ModelzooError, match="'acme/small' exists already"):
        registry.register("acme/small", recipe={"architecture": "gpt"})
    assert not registered._registered_recipes


def test_a_plugin_may_bring_a_catalogue_alone(site, monkeypatch):
    files = {"modelzoo_fine/recipes.toml": '[x]\narchitecture = "gpt"\n'}
    claim = {"modelzoo.plugins": {"fine": "modelzoo_fine"}}
    site.add("modelzoo-fine", entry_points=claim, files=files)
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.setenv(plugins.VARIABLE, "fine")
    assert problem_of_the_plugin() is None
    assert list(listed()) == ["fine/x"]


def test_names_may_be_quoted_and_spaced_as_toml_has_it(tmp_path):
    text = "[ \"a\" ] # one\nx = 1\n[ 'b.c' . model ]\n[d]\t\n\n  [indented]\n"
    (tmp_path / "recipes.toml").write_text(text)
    tables, problem = read_catalogue(tmp_path)
    assert problem is None
    assert {name: table.line for name, table in tables.items()} == {"a": 1, "b.c": 3, "d": 4}
    assert tables["b.c"].table == b"[ model ]\n"


# === Faults ===

BROKEN = {
    "not TOML": ("architecture = \n", r"not valid TOML: .*\(at line 21, column"),
    "not closed": ('architecture = "gpt\n', "not valid TOML: .*at line 21"),
    "not UTF-8": ('architecture = "g\udcffpt"\n', "not UTF-8"),
    "unknown key": ('architecture = "gpt"\nsumary = "x"\n', "a recipe has no key 'sumary'"),
    "bad value": ('architecture = "gpt"\nparameters = "12"\n', "must be a whole number"),
    "no parent": ('extends = "acme/nobody"\n', "extends 'acme/nobody', and there is no recipe"),
    "circle": ('extends = "acme/broken"\n', "extend each other in a circle: acme/broken -> "),
    "no architecture": ('summary = "x"\n', "names no architecture"),
    "unknown table": ('architecture = "gpt"\n["broken".modle]\n', "a recipe has no table 'modle'"),
    "bare dot": ('architecture = "gpt"\n[broken.v2]\n', r"no table 'v2'[\s\S]*quote a name"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_table_is_listed_with_its_problem_and_hides_no_other(package, fault, capsys):
    text, says = BROKEN[fault]
    whole = f'{SOUND}\n[broken]\n{text}\n[last]\narchitecture = "acme/moe"\n'
    (package / "recipes.toml").write_text(whole, errors="surrogateescape")
    entries = listed()
    assert entries.keys() == {f"acme/{n}" for n in ("small", "small-3.5", "tiny", "last", "broken")}
    assert [name for name, entry in entries.items() if entry.problem] == ["acme/broken"]
    with pytest.raises(RecipeError, match=says) as caught:
        registry.recipe("acme/broken")
    assert entries["acme/broken"].problem == caught.value.what
    assert caught.value.where.startswith(f"{package / 'recipes.toml'}:2")
    assert problem_of_the_plugin() is None
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().err.count("modelzoo: recipe acme/broken: ") == 1


NOT_A_CATALOGUE = {
    "prose": ("Our models are\nin the files.\n", "line 1: 'Our models are' is above the first"),
    "json": ('[\n{"a": 1}\n]\n', "line 1: '[' is not a recipe's header"),
    "scalars": ('# ours\n\nsummary = "x"\n', "line 3: 'summary = \"x\"' is above the first"),
    "array": ("\n[[a]]\n", "line 2: '[[a]]' is not a recipe's header"),
    "escapes": ('["a\\u0062"]\n', "line 1: '[\"a\\\\u0062\"]' is not"),
    "bytes": ("\x00\udcff\x01", "line 1: '\\x00\ufffd\\x01' is above"),
}


@pytest.mark.parametrize("kind", NOT_A_CATALOGUE)
def test_what_is_no_catalogue_is_told_once_with_its_line_and_files_list(package, kind, capsys):
    text, says = NOT_A_CATALOGUE[kind]
    (package / "recipes.toml").write_text(text, errors="surrogateescape")
    (package / "recipes" / "odd.toml").write_text('sumary = "x"\n')
    assert cli.main(["list", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [e["name"] for e in json.loads(out) if "/" in e["name"]] == ["acme/odd", "acme/tiny"]
    assert problem_of_the_plugin().startswith(f"its recipes.toml, {says}")
    assert err.count("its recipes.toml, line") == 1
    assert "recipe acme/odd: a recipe has no key 'sumary'" in err  # the one does not hide the other
    assert registry.recipe("acme/tiny").values["model"] == {"num_layers": 3}


def test_a_line_that_is_no_header_costs_its_own_text_alone(package):
    (package / "recipes.toml").write_text(f'[[odd]]\narchitecture = "gpt"\n\n{SOUND}')
    assert problem_of_the_plugin().startswith("its recipes.toml, line 1: '[[odd]]'")
    assert list(listed()) == ["acme/small", "acme/small-3.5", "acme/tiny"]


def test_a_catalogue_that_cannot_be_read_is_a_problem_and_files_list(package):
    (package / "recipes.toml").unlink()
    (package / "recipes.toml").mkdir()
    assert "its recipes.toml cannot be read: Is a directory" in problem_of_the_plugin()
    assert list(listed()) == ["acme/tiny"]


def test_a_name_in_catalogue_and_file_is_neither_and_both_are_named(package):
    (package / "recipes" / "small.toml").write_text('architecture = "gpt"\n')
    says = "'small' is defined twice, in recipes/small.toml and in recipes.toml, line 4: remove one"
    assert listed()["acme/small"].problem == says
    with pytest.raises(RecipeError, match="'small' is defined twice"):
        registry.recipe("acme/small")
    with pytest.raises(RecipeError, match="'small' is defined twice"):  # its heir is not guessed
        registry.recipe("acme/small-3.5")
    assert listed()["acme/tiny"].problem is None


@pytest.mark.parametrize("again", ["[small]\n", "['small']\n", "[small.train]\nsteps = 1\n"])
def test_a_table_that_stands_twice_is_told_with_both_lines(package, again):
    (package / "recipes.toml").write_text(SOUND + again)
    entries = listed()
    says = "'small' is defined twice in recipes.toml, lines 4 and 19: remove one"
    assert entries["acme/small"].problem == says
    assert entries["acme/tiny"].problem is None


def test_a_subtable_that_stands_twice_is_an_error_of_toml_with_its_line(package):
    (package / "recipes.toml").write_text(SOUND + '["small-3.5".model]\n')
    with pytest.raises(RecipeError, match=r"Cannot declare .*\(at line 19, column"):
        registry.recipe("acme/small-3.5")


@pytest.mark.parametrize("name", ["a/b", ".hidden", "", "with space", "x.toml", "é/", "../up"])
def test_an_impossible_name_is_listed_with_its_problem(package, name):
    (package / "recipes.toml").write_text(f'{SOUND}\n["{name}"]\narchitecture = "gpt"\n')
    problems = {key: entry.problem for key, entry in listed().items() if entry.problem}
    assert list(problems) == [f"acme/{name}"]
    assert f"{name!r} cannot be a recipe's name" in problems[f"acme/{name}"]
    with pytest.raises(ModelzooError):
        registry.recipe(f"acme/{name}")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "\n \n", "\ufeff"])
def test_an_empty_catalogue_brings_nothing_and_is_no_problem(package, text, site):
    (package / "recipes.toml").write_text(text, encoding="utf-8")
    assert list(listed()) == ["acme/tiny"]
    assert problem_of_the_plugin() is None


def test_a_plugin_with_an_empty_catalogue_alone_brings_nothing(site, monkeypatch):
    claim = {"modelzoo.plugins": {"bare": "modelzoo_bare"}}
    site.add("modelzoo-bare", entry_points=claim, files={"modelzoo_bare/recipes.toml": ""})
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.setenv(plugins.VARIABLE, "bare")
    (plugin,) = plugins.discover()
    assert not plugin.usable
    assert "it brings nothing: no recipes.toml or recipes/*.toml in modelzoo_bare" in plugin.problem
    assert "modelzoo_bare/recipes/*.toml or modelzoo_bare/recipes.toml?" in plugins.hint("bare/x")


def test_a_line_of_a_value_in_the_first_column_is_taken_for_a_header_and_told(package):
    odd = '[odd]\narchitecture = "gpt"\n[odd.model]\nsizes = [\n[1, 2],\n]\n'
    (package / "recipes.toml").write_text(odd + SOUND)
    assert "line 5: '[1, 2],' is not a recipe's header" in problem_of_the_plugin()
    with pytest.raises(RecipeError, match="not valid TOML"):
        registry.recipe("acme/odd")
    (package / "recipes.toml").write_text(odd.replace("\n[1", "\n  [1") + SOUND)
    assert registry.recipe("acme/odd").values["model"] == {"sizes": [[1, 2]]}


# === Speed ===


def test_a_list_reads_the_heads_of_the_tables_alone(package, monkeypatch):
    table = '[r{0}]\narchitecture = "acme/moe"\nparameters = {0}\n[r{0}.model]\nnum_layers = {0}\n'
    (package / "recipes.toml").write_text("".join(table.format(i) for i in range(500)))
    parsed, loads = [], tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: parsed.append(text) or loads(text))
    assert len(listed()) == 501
    assert not any("acme" in text for text in parsed)
