"""Plugins as in the field: really installed, some of them broken, seen by a child Python."""

from __future__ import annotations

import json

import pytest

from tests.plugin_site import Site, acme

LOAD = """
from modelzoo import registry
try:
    print(registry.architecture("acme/moe")())
except Exception as error:
    print(type(error).__name__, error)
    print("cause:", type(error.__cause__).__name__)
"""


def listed(site: Site, plugins: str | None = None) -> dict[str, dict]:
    done = site.modelzoo("list", "--json", plugins=plugins)
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


def test_a_plugin_adds_its_recipes_to_the_same_list(site):
    acme(site, requires=("modelzoo-keras>=0.2,<1",))
    done = site.modelzoo("list")
    assert done.stderr == ""
    assert "acme/tiny  causal-lm       1.23K  -        Acme tiny" in done.stdout
    entry = listed(site)["acme/tiny"]
    assert entry["plugin"] == "modelzoo-acme 0.2.1"
    assert entry["problem"] is None


def test_listing_imports_neither_the_plugin_nor_anything_heavy(site):
    acme(site)
    done = site.python(
        "import sys; from modelzoo.cli import main; main(['list']); main(['plugins']);"
        "heavy = {'keras', 'tensorflow', 'numpy', 'jax', 'modelzoo_acme', 'modelzoo.layers'};"
        "print('imported:', sorted(heavy & set(sys.modules)))"
    )
    assert "acme/tiny" in done.stdout
    assert "imported: []" in done.stdout


def test_a_plugins_architecture_is_loaded_on_use_and_keeps_its_signature(site):
    acme(site)
    done = site.python(
        "from modelzoo import registry; from modelzoo.recipe.schema import arguments\n"
        "build = registry.architecture('acme/moe')\n"
        "print(build.__module__, arguments(build), build is registry.architecture('acme/moe'))"
    )
    assert "modelzoo_acme.moe {'num_layers': (<class 'int'>, False)} True" in done.stdout


def test_a_plugin_whose_import_raises_still_lists_and_its_use_names_everything(site):
    acme(site)
    (site.path / "modelzoo_acme" / "__init__.py").write_text("raise RuntimeError('no licence')\n")
    assert listed(site)["acme/tiny"]["summary"] == "Acme tiny"
    said = site.python(LOAD).stdout
    assert "PluginError the plugin acme cannot be used" in said
    assert "RuntimeError: no licence" in said
    assert "in: modelzoo-acme 0.2.1, entry point moe = modelzoo_acme.moe:build" in said
    assert "pip uninstall modelzoo-acme, or go on without it: set MODELZOO_PLUGINS=" in said
    assert "cause: RuntimeError" in said


def test_a_plugin_that_exits_at_import_does_not_take_modelzoo_along(site):
    acme(site)
    (site.path / "modelzoo_acme" / "moe.py").write_text("raise SystemExit(0)\n")
    assert "cause: SystemExit" in site.python(LOAD).stdout


def test_a_plugin_for_a_newer_modelzoo_lists_with_its_problem_and_is_refused_on_use(site):
    acme(site, requires=("modelzoo>=99",))
    done = site.modelzoo("list")
    assert done.returncode == 0
    assert "(cannot be used) Acme tiny" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "plugin acme (modelzoo-acme 0.2.1): it needs modelzoo>=99" in done.stderr
    shown = site.modelzoo("show", "acme/tiny")
    assert shown.returncode == 2
    assert "it needs modelzoo>=99" in shown.stderr
    assert site.modelzoo("show", "gpt-small").returncode == 0


@pytest.mark.parametrize(
    ("requirement", "sound"),
    [
        ("modelzoo-keras>=0.2,<1", True),
        ("modelzoo_keras[tensorflow]~=0.2", True),
        ("Modelzoo.Keras==0.*", True),
        ("modelzoo-keras>=99; extra == 'future'", True),
        ("modelzoo-keras>=99; python_version < '3'", True),
        ("modelzoo-kerashub>=99", True),
        ("modelzoo-keras<0.2", False),
        ("modelzoo-keras!=0.2.*", False),
        ("modelzoo-keras=>1", False),
        ("modelzoo-keras>=99; python_version >= '3'", False),
        ("modelzoo<0.2", False),
        ("modelzoo=>1", False),
    ],
)
def test_the_requirement_is_held_against_the_running_version(site, requirement, sound):
    acme(site, requires=("numpy>=1", requirement))
    assert (listed(site)["acme/tiny"]["problem"] is None) == sound


def test_two_claims_on_one_namespace_fail_on_use_only_and_name_both(site):
    acme(site)
    acme(site, name="other-acme")
    site.add(
        "modelzoo-fine",
        entry_points={"modelzoo.plugins": {"fine": "modelzoo_fine"}},
        files={
            "modelzoo_fine/__init__.py": "",
            "modelzoo_fine/recipes/x.toml": 'architecture = "gpt"\n',
        },
    )
    done = site.modelzoo("list")
    assert done.returncode == 0
    assert "fine/x" in done.stdout
    assert "gpt-small" in done.stdout
    assert "acme/tiny" not in done.stdout
    for command in (done, site.modelzoo("show", "acme/tiny")):
        assert "claimed by modelzoo-acme 0.2.1 and other-acme 0.2.1" in command.stderr
    said = site.python(LOAD).stdout
    assert "claimed by modelzoo-acme 0.2.1 and other-acme 0.2.1" in said
    assert "MODELZOO_PLUGINS=fine" in said


def test_a_broken_recipe_of_a_plugin_hides_no_other(site):
    acme(site)
    (site.path / "modelzoo_acme" / "recipes" / "broken.toml").write_text("architecture = \n")
    entries = listed(site)
    assert "not valid TOML" in entries["acme/broken"]["problem"]
    assert entries["acme/tiny"]["problem"] is None
    assert "recipe acme/broken" in site.modelzoo("list").stderr


@pytest.mark.parametrize(
    ("variable", "seen"),
    [
        (None, {"acme/tiny", "fine/x"}),
        ("", set()),
        (" ", set()),
        ("acme", {"acme/tiny"}),
        ("acme, fine", {"acme/tiny", "fine/x"}),
    ],
)
def test_modelzoo_plugins_is_unset_for_all_empty_for_none_or_an_allow_list(site, variable, seen):
    acme(site)
    site.add(
        "modelzoo-fine",
        entry_points={"modelzoo.plugins": {"fine": "modelzoo_fine"}},
        files={
            "modelzoo_fine/__init__.py": "",
            "modelzoo_fine/recipes/x.toml": 'architecture = "gpt"\n',
        },
    )
    entries = listed(site, plugins=variable)
    assert {name for name in entries if "/" in name} == seen
    assert "gpt-small" in entries


def test_an_allow_list_that_names_nobody_is_told(site):
    done = site.modelzoo("list", plugins="amce")
    assert done.returncode == 0
    assert "plugin amce: MODELZOO_PLUGINS names it, and no installed plugin" in done.stderr


def test_a_plugin_outside_the_allow_list_is_not_loaded(site):
    acme(site)
    done = site.python(LOAD, plugins="fine")
    assert "UnknownNameError" in done.stdout
    assert "MODELZOO_PLUGINS='fine' limits which plugins are seen" in done.stdout


@pytest.mark.parametrize(
    ("entry_points", "problem"),
    [
        ({"modelzoo.plugins": {"acme": "no_such_package"}}, "no_such_package is not found"),
        ({"modelzoo.plugins": {"acme": "modelzoo_acme:x"}}, "is not a package"),
        ({"modelzoo.plugins": {"Ac/me": "modelzoo_acme"}}, "is not a namespace"),
        (
            {"modelzoo.plugins": {"a": "modelzoo_acme", "b": "modelzoo_acme"}},
            "claims 2 namespaces (a, b)",
        ),
        ({"modelzoo.architectures": {"moe": "modelzoo_acme.moe:build"}}, "claims a namespace"),
        (
            {
                "modelzoo.plugins": {"acme": "modelzoo_acme"},
                "modelzoo.tasks": {"t": "modelzoo_acme.t"},
            },
            "is not module:attribute",
        ),
    ],
)
def test_a_malformed_plugin_is_a_problem_and_not_a_crash(site, entry_points, problem):
    acme(site, entry_points=entry_points)
    done = site.modelzoo("plugins")
    assert done.returncode == 0
    assert problem in done.stdout
    assert "gpt-small" in site.modelzoo("list").stdout


def test_a_malformed_entry_points_file_of_a_stranger_hides_no_plugin(site):
    acme(site)
    site.add("stranger", entry_points={}, files={"stranger.py": ""})
    text = "[console_scripts]\nthis line has no equals sign\n"
    (site.path / "stranger-0.2.1.dist-info" / "entry_points.txt").write_text(text)
    done = site.modelzoo("list")
    assert done.returncode == 0, done.stderr
    assert "acme/tiny" in done.stdout


def test_a_typo_in_a_plugins_name_suggests_the_right_one(site):
    acme(site)
    done = site.modelzoo("show", "acme/tny")
    assert "did you mean: acme/tiny?" in done.stderr
    done = site.python(LOAD.replace("acme/moe", "acme/mo"))
    assert "did you mean: acme/moe?" in done.stdout
    done = site.python(LOAD.replace("acme/moe", "moe"))
    assert "did you mean: acme/moe?" in done.stdout


def test_find_leads_into_a_plugin_without_importing_it(site):
    acme(site)
    (site.path / "modelzoo_acme" / "__init__.py").write_text("raise RuntimeError\n")
    done = site.modelzoo("find", "acme/tiny")
    assert f"{site.path / 'modelzoo_acme' / 'moe.py'}:1" in done.stdout
    assert f"{site.path / 'modelzoo_acme' / 'recipes' / 'tiny.toml'}:1" in done.stdout


def test_check_imports_everything_and_says_what_fails(site):
    acme(site)
    assert site.modelzoo("plugins", "--check").returncode == 0
    (site.path / "modelzoo_acme" / "moe.py").write_text("import no_such_thing\n")
    done = site.modelzoo("plugins", "--check")
    assert done.returncode == 1
    assert "No module named 'no_such_thing'" in done.stdout


def test_check_names_the_recipes_that_cannot_be_built(site):
    """L15."""
    acme(site)
    folder = site.path / "modelzoo_acme" / "recipes"
    broken = {
        "second": ('architecture = "acme/second"\n', "has no architecture 'second'"),
        "typo": ('architecture = "acme/moe"\n[model]\nnum_layer = 3\n', "takes no 'num_layer'"),
        "word": ('architecture = "acme/moe"\n[model]\nnum_layers = "3"\n', "num_layers must be"),
        "task": ('architecture = "acme/moe"\ntask = "chess"\n', "'chess' is not a task"),
        "rate": ('architecture = "acme/moe"\n[train]\nlearning_rate = -1.0\n', "must be above 0"),
        "child": ('extends = "acme/nobody"\n', "acme/nobody"),
    }
    for name, (text, _) in broken.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    done = site.modelzoo("plugins", "--check")
    assert done.returncode == 1
    assert "ok, but see below" in done.stdout and "next: pip uninstall" not in done.stdout
    lines = done.stdout.splitlines()
    for name, (_, said) in broken.items():
        start = f"acme (modelzoo-acme 0.2.1): the recipe acme/{name} cannot be built: "
        (line,) = [line for line in lines if line.startswith(start)]
        assert said in line, line
    (entry,) = json.loads(site.modelzoo("plugins", "--json", "--check").stdout)
    assert entry["usable"] and set(entry["broken_recipes"]) == {f"acme/{n}" for n in broken}
    assert site.modelzoo("plugins").returncode == 0


def test_a_recipe_file_that_uses_a_plugin_remembers_it(site, tmp_path):
    acme(site)
    (tmp_path / "mine.toml").write_text('architecture = "acme/moe"\n')
    done = site.modelzoo("show", str(tmp_path / "mine.toml"), "--json")
    assert json.loads(done.stdout)["plugin"] == "modelzoo-acme 0.2.1"


def test_a_name_of_a_plugin_cannot_be_registered_over(site):
    acme(site)
    done = site.python(
        "from modelzoo import errors, registry\n"
        "for name, given in (('acme/moe', {'architecture': print}),\n"
        "                    ('acme/tiny', {'recipe': {'architecture': 'gpt'}})):\n"
        "    try: registry.register(name, **given)\n"
        "    except errors.ModelzooError as error: print(error)\n"
    )
    assert done.stdout.count("exists already") == 2, done.stderr


# === The name of the distribution ===


def test_a_plugin_that_requires_the_old_name_works_and_is_told(site):
    acme(site, requires=("modelzoo>=0.1,<1",))
    done = site.modelzoo("plugins")
    assert "ok, but see below" in done.stdout
    assert "another project on PyPI" in done.stdout
    assert 'should write "modelzoo-keras>=0.2,<1"' in done.stdout
    assert "next: pip uninstall" not in done.stdout
    (entry,) = json.loads(site.modelzoo("plugins", "--json").stdout)
    assert entry["usable"] and "another project" in entry["problem"]
    assert site.modelzoo("plugins", "--check").returncode == 0
    assert listed(site)["acme/tiny"]["problem"] is None
    assert "another project" in site.modelzoo("list").stderr
    loaded = site.python("from modelzoo import registry; print(registry.architecture('acme/moe'))")
    assert "function build" in loaded.stdout, loaded.stderr


def test_the_foreign_distribution_of_our_name_is_named(site):
    site.add("modelzoo", version="0.3.3", entry_points={}, files={})
    acme(site, requires=("modelzoo-keras>=0.2",))
    done = site.modelzoo("plugins")
    assert "modelzoo (modelzoo 0.3.3): it is another project's" in done.stdout
    assert "pip uninstall modelzoo, then pip install --force-reinstall" in done.stdout
    assert "another project's" in site.modelzoo("list").stderr
    assert listed(site)["acme/tiny"]["problem"] is None
