"""Every kind of broken plugin: the rest of the zoo works, and the message names the way on."""

from __future__ import annotations

import json
import time

import pytest

from tests.plugin_site import Site, acme

USE = """
import sys
from modelzoo import errors, registry
try:
    print(registry.architecture("acme/moe")(num_layers=1))
except errors.ModelzooError as error:
    print(type(error).__name__, error)
"""


def break_module(site: Site, text: str) -> None:
    acme(site)
    (site.path / "modelzoo_acme" / "moe.py").write_text(text, encoding="utf-8")


def check_the_zoo_works(site: Site) -> None:
    """Other names list and show as if nothing were wrong."""
    listed = site.modelzoo("list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert {"gpt-small", "gpt-tiny"} <= {entry["name"] for entry in json.loads(listed.stdout)}
    assert site.modelzoo("show", "gpt-tiny").returncode == 0
    assert site.modelzoo("plugins").returncode == 0


# what the module holds -> what the message says
IMPORTS = {
    "import error": ("import no_such_module\n", "ModuleNotFoundError: No module named"),
    "syntax error": ("def build(:\n", "SyntaxError: "),
    "exits": ("import sys; sys.exit(3)\n", "SystemExit: 3"),
    "nothing there": ("", "has no attribute 'build'"),
    "no function": ("build = 3\n", "modelzoo_acme.moe:build is of type int, not a function"),
}


@pytest.mark.parametrize("kind", IMPORTS)
def test_a_module_that_does_not_import_is_told_with_all_that_helps(site, kind):
    text, says = IMPORTS[kind]
    break_module(site, text)
    said = site.python(USE).stdout
    assert said.startswith("PluginError the plugin acme cannot be used: ")
    assert says in said
    assert "in: modelzoo-acme 0.2.1, entry point moe = modelzoo_acme.moe:build" in said
    assert "next: pip uninstall modelzoo-acme, or go on without it: set MODELZOO_PLUGINS=" in said
    check_the_zoo_works(site)


BUILDS = {
    "raises": ("raise KeyError('heads')", "building acme/moe raises KeyError: 'heads'"),
    "exits": ("raise SystemExit(0)", "building acme/moe raises SystemExit: 0"),
    "wrong type": ("return [1, 2]", "building acme/moe returns a list, not a keras.Model"),
    "nothing": ("pass", "building acme/moe returns a NoneType, not a keras.Model"),
}


@pytest.mark.parametrize("kind", BUILDS)
def test_a_build_that_gives_no_model_is_the_plugins_fault_and_says_where(site, kind):
    body, says = BUILDS[kind]
    break_module(site, f"def build(*, num_layers: int = 2):\n    {body}\n")
    said = site.python(USE).stdout
    assert said.startswith(f"PluginError {says}")
    assert "in: modelzoo-acme 0.2.1, entry point moe = modelzoo_acme.moe:build" in said
    assert "moe.py:2" in said or kind in ("wrong type", "nothing")
    assert "its authors are those of modelzoo-acme" in said


def test_a_users_error_in_a_build_stays_the_users(site):
    break_module(
        site,
        "from modelzoo.errors import RecipeError\n"
        "def build(*, num_layers: int = 2):\n    raise RecipeError('one layer is too few')\n",
    )
    assert site.python(USE).stdout == "RecipeError one layer is too few\n"


def test_what_a_plugin_prints_does_not_get_into_json(site):
    break_module(site, "print('{hello')\ndef build(*, num_layers: int = 2): ...\n")
    (site.path / "modelzoo_acme" / "__init__.py").write_text("print('[welcome')\n")
    for command in (("list", "--json"), ("plugins", "--json"), ("plugins", "--json", "--check")):
        done = site.modelzoo(*command)
        assert isinstance(json.loads(done.stdout), list), done.stdout
    (entry,) = json.loads(done.stdout)
    assert (entry["prints"], entry["problem"]) == (True, None)
    assert "importing it prints to standard output" in site.modelzoo("plugins", "--check").stderr
    used = site.python("from modelzoo import registry; registry.architecture('acme/moe')")
    assert used.stdout == ""
    assert "[welcome\n{hello\n" in used.stderr


def test_a_slow_import_slows_no_listing_and_its_time_is_told(site):
    break_module(site, "import time; time.sleep(1.5)\ndef build(*, num_layers: int = 2): ...\n")
    began = time.perf_counter()
    done = site.modelzoo("plugins", "--json")
    without = time.perf_counter() - began
    assert "seconds" not in json.loads(done.stdout)[0]
    (entry,) = json.loads(site.modelzoo("plugins", "--json", "--time").stdout)
    assert 1.5 <= entry["seconds"] < 1.5 + 10 * without
    table = site.modelzoo("plugins", "--time").stdout
    assert f"{entry['seconds']:.0f}." in table or " s" in table.splitlines()[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os; os._exit(7)\n", "ended the interpreter with code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n", "with code -11"),
        ("raise SystemExit(2)\n", "SystemExit: 2"),
    ],
)
def test_plugins_check_outlives_whatever_an_import_does(site, text, says):
    break_module(site, text)
    site.add(
        "modelzoo-fine",
        entry_points={"modelzoo.plugins": {"fine": "modelzoo_fine"}},
        files={
            "modelzoo_fine/__init__.py": "",
            "modelzoo_fine/recipes/x.toml": 'architecture = "gpt"\n',
        },
    )
    done = site.modelzoo("plugins", "--check", "--time")
    assert done.returncode == 1
    assert f"acme (modelzoo-acme 0.2.1): importing it {says}" in done.stdout or says in done.stdout
    assert "next: pip uninstall modelzoo-acme, or set MODELZOO_PLUGINS=fine" in done.stdout
    fine = next(line for line in done.stdout.splitlines() if line.startswith("fine"))
    assert " ok " in fine and fine.endswith(" s")


def test_a_hanging_import_is_given_up(site, monkeypatch):
    from modelzoo import plugins
    from modelzoo.plugins.probe import probe

    break_module(site, "import time; time.sleep(60)\n")
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.delenv(plugins.VARIABLE)
    found = probe(plugins.get("acme"), timeout=1.0)
    assert found.seconds is None
    assert found.problem == "importing it did not come to an end within 1 s"


# === Recipes ===


def test_a_recipe_that_names_an_architecture_that_its_plugin_lacks(site):
    acme(site)
    recipes = site.path / "modelzoo_acme" / "recipes"
    (recipes / "lost.toml").write_text('architecture = "acme/mo"\n')
    done = site.modelzoo("find", "acme/lost")
    assert done.returncode == 2
    assert "modelzoo-acme 0.2.1 has no architecture 'mo'" in done.stderr
    assert "did you mean: acme/moe?" in done.stderr
    assert site.modelzoo("show", "acme/tiny").returncode == 0
    check_the_zoo_works(site)


@pytest.mark.parametrize("others", [{}, {"loop-b": "acme/loop"}])
def test_a_recipe_that_extends_itself_is_told_and_the_others_list(site, others):
    acme(site)
    recipes = site.path / "modelzoo_acme" / "recipes"
    (recipes / "loop.toml").write_text(f'extends = "acme/{next(iter(others), "loop")}"\n')
    for name, parent in others.items():
        (recipes / f"{name}.toml").write_text(f'extends = "{parent}"\n')
    done = site.modelzoo("show", "acme/loop")
    assert done.returncode == 2
    assert "recipes extend each other in a circle: acme/loop -> " in done.stderr
    assert str(recipes) in done.stderr
    listed = site.modelzoo("list")
    assert listed.returncode == 0
    assert "acme/tiny" in listed.stdout
    assert "recipe acme/loop: recipes extend each other in a circle" in listed.stderr
    check_the_zoo_works(site)


def test_a_wheel_without_its_recipes_says_so_where_a_recipe_is_missed(site):
    acme(site)
    (site.path / "modelzoo_acme" / "recipes" / "tiny.toml").unlink()
    done = site.modelzoo("show", "acme/tiny")
    assert done.returncode == 2
    assert "modelzoo-acme 0.2.1 is installed and holds no recipe" in done.stderr
    assert (
        "built without modelzoo_acme/recipes/*.toml or modelzoo_acme/recipes.toml?" in done.stderr
    )
    check_the_zoo_works(site)


def test_a_plugin_that_brings_nothing_at_all_is_a_problem(site):
    site.add(
        "modelzoo-acme",
        entry_points={"modelzoo.plugins": {"acme": "modelzoo_acme"}},
        files={"modelzoo_acme/__init__.py": ""},
    )
    said = site.modelzoo("plugins").stdout
    assert (
        "acme (modelzoo-acme 0.2.1): it brings nothing: no recipes.toml or recipes/*.toml" in said
    )
    assert "was its wheel built without its TOML files?" in said
    check_the_zoo_works(site)


# === Metadata ===


def test_two_versions_in_one_folder_are_both_named_and_neither_is_used(site):
    acme(site)
    acme(site, version="0.3.0")
    said = site.modelzoo("plugins").stdout
    assert "it is installed 2 times, as 0.2.1 and 0.3.0, in" in said
    assert "pip uninstall modelzoo-acme until pip finds none" in said
    done = site.modelzoo("show", "acme/tiny")
    assert done.returncode == 2
    assert "0.2.1 and 0.3.0" in done.stderr
    check_the_zoo_works(site)


def test_a_version_earlier_on_the_path_shadows_another_as_it_should(site, tmp_path):
    acme(site)
    below = Site(tmp_path / "below", site.recipes)
    acme(below, version="0.1.0")
    done = site.python(
        f"import sys; sys.path.append({str(below.path)!r})\n"
        "from modelzoo import plugins; print([(p.title, p.problem) for p in plugins.discover()])"
    )
    assert done.stdout == "[('modelzoo-acme 0.2.1', None)]\n", done.stderr


@pytest.mark.parametrize(
    ("entry_points", "says"),
    [
        ({"modelzoo.plugins": {"Acme": "modelzoo_acme"}}, "'Acme' is not a namespace: a-z"),
        ({"modelzoo.plugins": {"acme/x": "modelzoo_acme"}}, "'acme/x' is not a namespace: a-z"),
        (
            {
                "modelzoo.plugins": {"acme": "modelzoo_acme"},
                "modelzoo.architectures": {"big/moe": "modelzoo_acme.moe:build"},
            },
            "'big/moe', of modelzoo.architectures, is not a name",
        ),
        ({"modelzoo.plugins": {"acme": "no_such_package"}}, "its package no_such_package is not"),
    ],
)
def test_a_name_with_capitals_or_a_slash_or_a_package_that_is_not_there(site, entry_points, says):
    acme(site, entry_points=entry_points)
    done = site.modelzoo("plugins")
    assert says in done.stdout
    assert "(modelzoo-acme 0.2.1)" in done.stdout
    check_the_zoo_works(site)


def test_an_architecture_may_have_capitals_and_dots(site):
    acme(
        site,
        entry_points={
            "modelzoo.plugins": {"acme": "modelzoo_acme"},
            "modelzoo.architectures": {"GPT-2.5": "modelzoo_acme.moe:build"},
        },
    )
    assert json.loads(site.modelzoo("plugins", "--json").stdout)[0]["problem"] is None


def test_an_entry_point_to_nothing_is_told_by_check(site):
    acme(
        site,
        entry_points={
            "modelzoo.plugins": {"acme": "modelzoo_acme"},
            "modelzoo.exporters": {"odd": "modelzoo_acme.nowhere:export"},
        },
    )
    done = site.modelzoo("plugins", "--check")
    assert done.returncode == 1
    assert "No module named 'modelzoo_acme.nowhere'" in done.stdout
    assert "entry point odd = modelzoo_acme.nowhere:export" in done.stdout
    check_the_zoo_works(site)


# === What plugins says of a sound one ===


def test_plugins_says_what_there_is_of_each(site):
    acme(site, requires=("modelzoo-keras<1,>=0.2",))
    line = site.modelzoo("plugins").stdout.splitlines()[1].split()
    assert line[:4] == ["acme", "modelzoo-acme", "0.2.1", "modelzoo-keras<1,>=0.2"]
    assert line[4:] == ["1", "recipe,", "1", "architecture", "ok"]
    (entry,) = json.loads(site.modelzoo("plugins", "--json").stdout)
    assert entry == {
        "namespace": "acme",
        "distribution": "modelzoo-acme",
        "version": "0.2.1",
        "package": "modelzoo_acme",
        "requires": "modelzoo-keras<1,>=0.2",
        "recipes": ["acme/tiny"],
        "bundles": [],
        "architectures": {"moe": "modelzoo_acme.moe:build"},
        "tasks": {},
        "exporters": {},
        "weight_tables": {},
        "problem": None,
        "usable": True,
    }
