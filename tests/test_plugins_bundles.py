"""Bundles that a plugin brings: listed without import, and found by name."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from modelzoo.cli import main
from modelzoo.plugins import discovery
from tests.plugin_site import Site, acme

MANIFEST = {"name": "tiny", "task": "causal-lm", "does": "writes on", "parameters": 1234}
PACKAGE = "modelzoo_acme"


class Here(Site):
    """A site whose `modelzoo` runs in this process."""

    def modelzoo(self, *argv: str) -> SimpleNamespace:
        discovery._discover.cache_clear()
        discovery._metadata_folders.cache_clear()
        code = main([*argv])
        said = self.capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)


@pytest.fixture
def site(tmp_path, monkeypatch, capsys):
    for name in ("recipes", "site"):
        (tmp_path / name).mkdir()
    made = Here(tmp_path / "site", tmp_path / "recipes")
    object.__setattr__(made, "capsys", capsys)
    monkeypatch.syspath_prepend(made.path)
    monkeypatch.chdir(made.path)
    monkeypatch.setattr("modelzoo.registry.recipes.recipes_directory", lambda: made.recipes)
    monkeypatch.setenv(discovery.VARIABLE, "acme")
    return made


def with_bundles(site: Site, *names: str, manifest: object = MANIFEST, recipe: str = "") -> None:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    files = {f"{PACKAGE}/__init__.py": "raise RuntimeError('imported')\n"}
    files |= {f"{PACKAGE}/bundles/{name}/manifest.json": text for name in names}
    if recipe:
        files[f"{PACKAGE}/recipes/{recipe}.toml"] = 'architecture = "gpt"\nsummary = "a recipe"\n'
    acme(site, entry_points={"modelzoo.plugins": {"acme": PACKAGE}}, files=files)


def test_bundles_list_beside_the_recipes_and_the_package_is_not_imported(site):
    with_bundles(site, "emoji", "poems")
    done = site.modelzoo("list")
    assert done.returncode == 0 and done.stderr == ""
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [line[0] for line in lines] == ["acme/emoji", "acme/poems"]
    assert lines[0][1:] == ["causal-lm", "1.23K", "yes", *["(ready", "to", "run)", "writes", "on"]]
    (first, _) = json.loads(site.modelzoo("list", "--json").stdout)
    assert first["kind"] == "bundle" and first["plugin"] == "modelzoo-acme 0.2.1"


def test_a_plugin_of_bundles_alone_brings_something(site):
    with_bundles(site, "emoji")
    (entry,) = json.loads(site.modelzoo("plugins", "--json").stdout)
    assert entry["bundles"] == ["acme/emoji"] and entry["usable"] and entry["problem"] is None
    assert "1 bundle" in site.modelzoo("plugins").stdout
    assert "acme/emoji" in site.modelzoo("completion", "names").stdout.splitlines()


def test_a_folder_that_begins_with_an_underscore_or_a_dot_is_not_a_bundle(site):
    with_bundles(site, "emoji", "_drafts", ".cache")
    (entry,) = json.loads(site.modelzoo("plugins", "--json").stdout)
    assert entry["bundles"] == ["acme/emoji"]


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [("{", "is not JSON"), ("[]", "is not a table"), ({"does": 3, "task": []}, None)],
)
def test_a_damaged_manifest_is_the_problem_of_its_own_line(site, manifest, problem):
    with_bundles(site, "emoji", manifest=manifest)
    done = site.modelzoo("list")
    assert done.returncode == 0 and "acme/emoji" in done.stdout
    if problem is None:
        assert done.stderr == ""
    else:
        assert f"modelzoo: bundle acme/emoji: its manifest.json {problem}" in done.stderr
        assert "(cannot be used)" in done.stdout


def test_a_bundle_without_a_manifest_is_listed_with_its_problem(site):
    with_bundles(site, "emoji")
    (site.path / PACKAGE / "bundles/empty").mkdir()
    done = site.modelzoo("list")
    assert "bundle acme/empty: its manifest.json cannot be read: No such file" in done.stderr


def test_a_name_of_both_a_recipe_and_a_bundle_is_told(site):
    with_bundles(site, "emoji", recipe="emoji")
    problem = "acme/emoji is both a recipe and the bundle bundles/emoji: rename one"
    assert problem in site.modelzoo("plugins").stdout
    assert f"modelzoo: plugin acme (modelzoo-acme 0.2.1): {problem}" in site.modelzoo("list").stderr


def test_a_bundles_folder_that_is_not_a_name_is_told(site):
    with_bundles(site, "two words")
    assert "'two words', of bundles/, is not a name" in site.modelzoo("plugins").stdout


@pytest.mark.parametrize(
    "argv", [("run", "NAME", "x"), ("bench", "NAME"), ("verify", "NAME"), ("search", "NAME", "x")]
)
def test_every_command_that_takes_a_bundle_takes_its_name(site, argv):
    with_bundles(site, "emoji")
    (site.path / "a.txt").write_text("a passage\n")
    more = ["--in", "a.txt"] if argv[0] == "search" else []
    done = site.modelzoo(*(word.replace("NAME", "acme/emoji") for word in argv), *more)
    assert done.returncode == 2
    assert "the manifest's format_version is None" in done.stderr  # it was found
    assert str(site.path / PACKAGE / "bundles/emoji/manifest.json") in done.stderr


def test_a_wrong_name_says_the_nearest(site):
    with_bundles(site, "emoji")
    for argv in (("run", "acme/emojj", "x"), ("bench", "acme/emojj"), ("verify", "acme/emojj")):
        done = site.modelzoo(*argv)
        assert done.returncode == 2
        assert "no such bundle: acme/emojj" in done.stderr
        assert "did you mean: acme/emoji?" in done.stderr
        assert "modelzoo list shows the bundles that are installed" in done.stderr


def test_a_recipe_of_that_name_is_not_there_and_the_error_says_what_is(site):
    with_bundles(site, "emoji")
    done = site.modelzoo("show", "acme/emoji")
    assert done.returncode == 2
    assert "it is a bundle of modelzoo-acme 0.2.1, ready to run: modelzoo run" in done.stderr


def test_a_path_that_exists_wins(site):
    with_bundles(site, "emoji")
    (site.path / "acme/emoji").mkdir(parents=True)
    done = site.modelzoo("verify", "acme/emoji")
    assert "not a bundle: acme/emoji has no manifest.json" in done.stderr


def test_a_plugin_that_cannot_be_used_keeps_its_bundles_to_itself(site):
    with_bundles(site, "emoji")
    acme(
        site,
        name="modelzoo-rival",
        entry_points={"modelzoo.plugins": {"acme": "modelzoo_rival"}},
        files={"modelzoo_rival/recipes/x.toml": 'architecture = "gpt"\n'},
    )
    done = site.modelzoo("run", "acme/emoji", "x")
    assert done.returncode == 2 and "the namespace acme is claimed by" in done.stderr
    assert "(cannot be used)" in site.modelzoo("list").stdout


def test_the_runtime_finds_a_name_and_imports_no_keras(site):
    with_bundles(site, "emoji")
    done = site.python(
        "import sys\nfrom modelzoo.runtime.bundle import bundle_directory\n"
        "print(bundle_directory('acme/emoji').name, {'keras', 'numpy'} & {*sys.modules})"
    )
    assert done.stdout == "emoji set()\n", done.stderr
