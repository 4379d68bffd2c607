"""Each check of a plugin as a whole, of its recipes and parts, against one that breaks it."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from modelzoo.errors import ModelzooError
from modelzoo.plugins import Plugin
from modelzoo.runtime.bundle import write_manifest
from modelzoo.runtime.engines.base import signatures_as_json
from modelzoo.runtime.model import load
from modelzoo.testing import Check, CheckFailure, Skipped, plugin_checks, wheel
from modelzoo.testing.check import fail, not_applicable
from tests import docstring_folder
from tests.plugin_site import Site
from tests.testing import crowd as plugin

SIZE = "parameters = 9_000\n"


# === What a check is ===


def test_checks_are_collected_without_importing_the_plugin_or_keras(crowd):
    plugin.decoder(crowd, "collected", "    pass", more=SIZE)
    code = (
        "import sys; from modelzoo.testing import plugin_checks\n"
        "names = [str(check) for check in plugin_checks('collected')]\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'numpy', 'modelzoo_collected'}\n"
        "print(names, sorted(heavy & set(sys.modules)))"
    )
    done = Site(crowd.path, crowd.recipes).python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
    for name in ("listing", "signature:collected/net", "fit:collected/tiny"):
        assert f"'{name}'" in done.stdout


def test_the_three_lines_of_the_docstring_are_a_test_file(crowd, tmp_path):
    plugin.net(crowd, "sound")
    (tmp_path / "test_plugin.py").write_text(
        "import pytest\nfrom modelzoo.testing import plugin_checks\n"
        '@pytest.mark.parametrize("check", plugin_checks("sound"), ids=str)\n'
        "def test_plugin(check): check()\n"
    )
    argv = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(tmp_path)]
    done = Site(crowd.path, crowd.recipes).run(*argv, "-k", "discovery or signature or parameters")
    assert "2 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "sound/tiny states no parameters" in done.stdout


def test_a_check_without_pytest_gives_its_reason_as_a_value(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    check = Check("fit", "acme/tiny", lambda: not_applicable("no task"))
    assert check() == Skipped("no task")
    assert str(check) == "fit:acme/tiny"


def test_a_failure_names_the_distribution_and_keeps_its_cause():
    with pytest.raises(CheckFailure, match="in: modelzoo-acme 1.0") as caught:
        Check("fit", "acme/tiny", lambda: fail("no", next_step="do"), "modelzoo-acme 1.0")()
    assert "next: do" in str(caught.value)
    with pytest.raises(CheckFailure, match="fit:acme/tiny: ZeroDivisionError") as caught:
        Check("fit", "acme/tiny", lambda: 1 // 0, "modelzoo-acme 1.0")()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_check_can_be_left_out_with_a_reason_and_a_typo_is_refused(crowd, check):
    plugin.net(crowd, "sound")
    assert check("sound", "batch", skip={"batch:sound/*": "it ranks"}) == Skipped("it ranks")
    with pytest.raises(ModelzooError, match="no such check"):
        plugin_checks("sound", skip={"batches": "it ranks"})


# === The plugin as a whole ===


def test_a_plugin_that_is_not_installed_is_told_to_be(check):
    with pytest.raises(CheckFailure, match="no installed plugin claims 'nobody'") as caught:
        check("nobody", "discovery")
    assert "pip install -e" in caught.value.next_step


def test_a_plugin_with_a_problem_has_one_check_which_fails(crowd, check):
    plugin.install(crowd, "future", {"net.py": ""}, requires=("modelzoo>=99",))
    with pytest.raises(CheckFailure, match="needs modelzoo>=99"):
        check("future", "discovery")
    assert len(plugin_checks("future")) == 1


def test_listing_that_imports_the_plugin_is_refused(crowd, check):
    plugin.net(crowd, "eager")
    assert check("eager", "listing") is None
    hook = crowd.path / "sitecustomize.py"
    hook.write_text("import modelzoo_eager\n")
    try:
        with pytest.raises(CheckFailure, match="listing imports modelzoo_eager"):
            check("eager", "listing")
    finally:
        hook.unlink()
        shutil.rmtree(crowd.path / "__pycache__", ignore_errors=True)


def test_a_recipe_that_lists_with_a_problem_is_refused(crowd, check):
    plugin.install(crowd, "typo", {"net.py": ""}, {"tiny": "architecure = 'typo/net'\n"})
    with pytest.raises(CheckFailure, match="typo/tiny is listed with a problem.*'architecure'"):
        check("typo", "listing")


def test_a_catalogue_that_is_none_is_refused(crowd, check):
    plugin.net(crowd, "prose")
    path = crowd.path / "modelzoo_prose" / "recipes.toml"
    path.write_text("Our recipes:\n")
    with pytest.raises(CheckFailure, match="its recipes.toml, line 1: 'Our recipes:'") as caught:
        check("prose", "listing")
    assert str(path) in caught.value.where
    path.write_text("# none yet\n")
    assert check("prose", "listing") is None


def test_an_import_that_raises_or_exits_is_refused(crowd, check):
    plugin.install(crowd, "raises", {"net.py": "import no_such_module\n"})
    with pytest.raises(CheckFailure, match="No module named 'no_such_module'"):
        check("raises", "import")
    plugin.install(crowd, "exits", {"net.py": "raise SystemExit(1)\n"})
    with pytest.raises(CheckFailure, match="SystemExit"):
        check("exits", "import")


_MEDDLER = '''
import os

import keras
import numpy as np

print("welcome to the meddler")
keras.config.set_floatx("float16")
os.environ["TF_MEDDLED"] = "1"
np.random.seed(0)
import logging
logging.getLogger().setLevel(logging.DEBUG)


def build(*, width: int = 4) -> "keras.Model":
    """Build a net, and take over the seed.

    Returns: (batch, 4) -> (batch, 4).
    """
    keras.utils.set_random_seed(7)
    np.seterr(all="ignore")
    given = keras.Input((4,))
    return keras.Model(given, keras.layers.Dense(width)(given))
'''


def test_an_import_that_prints_or_meddles_with_what_is_the_users_is_refused(
    crowd, check, monkeypatch
):
    """One fresh process finds all of it; each is refused on its own as well."""
    from modelzoo.testing import package_checks

    plugin.install(crowd, "meddler", {"net.py": _MEDDLER})
    found = {}
    real = package_checks.fresh.answer
    monkeypatch.setattr(package_checks.fresh, "answer", lambda job: found.setdefault(1, real(job)))
    monkeypatch.setattr(package_checks, "_subjects_of", lambda plugin, options: BUILDS)
    monkeypatch.setattr(package_checks.plugins, "load", lambda group, name: None)
    with pytest.raises(CheckFailure, match="importing it prints: 'welcome to the meddler'"):
        check("meddler", "import")
    with pytest.raises(CheckFailure, match="importing it changes Keras' floatx: float32 before"):
        check("meddler", "globals")
    changed = found[1]["changed"]
    for what, after in {
        "the environment variable TF_MEDDLED": "1",
        "the root logger: level": "DEBUG",
        "Keras' floatx": "float16",
    }.items():
        assert changed[what][1] == after, what
    assert "random numbers of numpy" in changed
    assert set(found[1]["built"]) == {"numpy's handling of errors"}
    assert found[1]["seeded"] == ["meddler/net"]
    changed.clear()
    with pytest.raises(CheckFailure, match="building its models changes numpy's handling"):
        check("meddler", "globals")
    found[1]["built"].clear()
    with pytest.raises(CheckFailure, match="building meddler/net sets the global seed"):
        check("meddler", "globals")
    found[1]["seeded"].clear()
    assert check("meddler", "globals") is None


BUILDS = [{"architecture": "meddler/net", "model": {}}]


# === The wheel ===

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "modelzoo-wheeled"
version = "0.2.1"
[project.entry-points."modelzoo.plugins"]
wheeled = "modelzoo_wheeled"
[tool.hatch.build.targets.wheel]
packages = ["modelzoo_wheeled"]
"""


def test_a_wheel_that_is_built_without_its_recipes_is_refused(crowd, check, tmp_path):
    plugin.net(crowd, "wheeled")
    shutil.copytree(crowd.path / "modelzoo_wheeled", tmp_path / "modelzoo_wheeled")
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT)
    assert check("wheeled", "wheel", project=tmp_path) is None
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT + 'exclude = ["*.toml"]\n')
    with pytest.raises(CheckFailure, match="without modelzoo_wheeled/recipes/tiny.toml"):
        check("wheeled", "wheel", project=tmp_path)
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT + 'exclude = ["recipes.toml"]\n')
    assert check("wheeled", "wheel", project=tmp_path) is None
    catalogue = tmp_path / "modelzoo_wheeled" / "recipes.toml"
    catalogue.write_text("[more]\narchitecture = \n")
    with pytest.raises(CheckFailure, match=r"without modelzoo_wheeled/recipes\.toml"):
        check("wheeled", "wheel", project=tmp_path)
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT)
    with pytest.raises(CheckFailure, match="wheeled/more cannot be read from .*not valid TOML"):
        check("wheeled", "wheel", project=tmp_path)
    catalogue.write_text('[more]\nextends = "wheeled/tiny"\n')
    assert check("wheeled", "wheel", project=tmp_path) is None
    renamed = _PYPROJECT.replace('"modelzoo.plugins"', '"modelzoo.plugin"')
    (tmp_path / "pyproject.toml").write_text(renamed)
    with pytest.raises(CheckFailure, match="without the entry point modelzoo.plugins"):
        check("wheeled", "wheel", project=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["modelzoo_wheeled", "pyproject.toml"]


# === Recipes ===


@pytest.mark.parametrize(
    ("namespace", "text", "says"),
    [
        ("mute", 'architecture = "mute/net"\n', "mute/tiny has no summary"),
        (
            "misfit",
            'summary = "x"\nreference = "y"\narchitecture = "misfit/net"\n[model]\nwidht = 4\n',
            "takes no 'widht'",
        ),
        (
            "lacking",
            'summary = "x"\nreference = "y"\narchitecture = "lacking/nets"\n',
            "has no architecture 'nets'",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(crowd, check, namespace, text, says):
    plugin.net(crowd, namespace)
    (crowd.path / plugin.package_of(namespace) / "recipes" / "tiny.toml").write_text(text)
    with pytest.raises(CheckFailure, match=says):
        check(namespace, "recipe")


def test_the_checks_of_a_recipe_run_over_the_tables_of_a_catalogue(crowd, check):
    plugin.net(crowd, "catalogued")
    home = crowd.path / "modelzoo_catalogued"
    (home / "recipes" / "tiny.toml").unlink()
    table = '[odd]\nsummary = "x"\nreference = "y"\narchitecture = "catalogued/net"\n'
    (home / "recipes.toml").write_text(table)
    assert check("catalogued", "recipe") is None
    (home / "recipes.toml").write_text("# ours\n\n" + table + "[odd.model]\nwidht = 4\n")
    with pytest.raises(CheckFailure, match="takes no 'widht'") as caught:
        check("catalogued", "recipe")
    assert f"{home / 'recipes.toml'}:3, model.widht" in str(caught.value)
    names = {str(made) for made in plugin_checks("catalogued")}
    assert {"recipe:catalogued/odd", "parameters:catalogued/odd", "build:catalogued/odd"} <= names


def test_a_count_that_is_not_the_models_is_refused_with_the_right_one(crowd, check):
    plugin.decoder(crowd, "miscounted", "    pass", more=SIZE)
    with pytest.raises(CheckFailure, match="states 9,000 parameters, and its model has 8,624"):
        check("miscounted", "parameters")


# === Parts ===

_PARTS = '''
class Task:
    name = "parts/odd"

    def __init__(self, *, labels: list[str] | None = None): ...
    def model(self, backbone): ...
    def losses(self): ...
    def batches(self, raw, tokenizer, **options): ...
    def evaluate(self, model, batches): ...
    def examples(self, raw): ...


class Nameless(Task):
    name = "task"


class Positional(Task):
    def __init__(self, labels): ...


class Half:
    name = "parts/half"


def export(model, signatures, folder, *, mode, scratch):
    """Nothing."""


def flat(model, folder):
    """Nothing."""


def positional(width: int = 3):
    """A net. Returns: x."""


def bare(*, width=3):
    """A net. Returns: x."""


def mute(*, width: int = 3): ...


def vague(*, width: int = 3):
    """A net."""
'''


@pytest.mark.parametrize(
    ("group", "attribute", "says"),
    [
        ("architectures", "positional", "width is not keyword-only"),
        ("architectures", "bare", "width has no annotation"),
        ("architectures", "mute", "has no docstring"),
        ("architectures", "vague", "does not say what it returns"),
        ("architectures", "missing", "has no attribute 'missing'"),
        ("tasks", "Task", None),
        ("tasks", "Nameless", "has no name of its own"),
        ("tasks", "Positional", "labels is not keyword-only"),
        ("tasks", "Half", r"has no batches\(\), which a task must have"),
        ("tasks", "export", "is of type function, not a task's class"),
        ("exporters", "export", None),
        ("exporters", "flat", "cannot be called as modelzoo calls it"),
        ("weight_tables", "export", "is of type function, not a modelzoo.weights.table.Table"),
    ],
)
def test_a_part_of_the_wrong_form_is_refused(crowd, check, group, attribute, says):
    namespace = f"parts-{group.replace('_', '-')}-{attribute.lower()}"
    target = f"{plugin.package_of(namespace)}.net:{attribute}"
    groups = {f"modelzoo.{group}": {"part": target}}
    plugin.install(crowd, namespace, {"net.py": _PARTS}, {}, groups)
    rules = {"architectures": "signature", "tasks": "task", "exporters": "exporter"}
    rule = rules.get(group, "table")
    (only,) = [c for c in _again(namespace) if c.rule == rule and c.subject.endswith("/part")]
    if says is None:
        assert only() is None
        return
    with pytest.raises(CheckFailure, match=says) as caught:
        only()
    assert f"modelzoo-{namespace} 0.2.1" in caught.value.where


def _again(namespace: str) -> list[Check]:
    from modelzoo.plugins import discovery

    discovery._discover.cache_clear()
    discovery._metadata_folders.cache_clear()
    return plugin_checks(namespace)


_TABLE = """
from modelzoo.weights.table import Head, Table, Value

TABLE = Table(
    model_type="{namespace}",
    architecture="{namespace}/net",
    prefix="",
    rules=(),
    layer_rules=(),
    values=(Value("size", "{key}"),),
    heads={{"causal-lm": Head(("PartForCausalLM",))}},
)
"""


def with_table(crowd, namespace: str, key: str) -> None:
    plugin.decoder(crowd, namespace, "    pass", more=SIZE)
    package = crowd.path / plugin.package_of(namespace)
    (package / "table.py").write_text(_TABLE.format(namespace=namespace, key=key))
    (info,) = crowd.path.glob(f"{package.name}-*.dist-info")
    with (info / "entry_points.txt").open("a") as file:
        file.write(f"[modelzoo.weight_tables]\n{namespace} = {package.name}.table:TABLE\n")


def test_a_weight_table_that_sets_what_the_architecture_does_not_take_is_refused(crowd, check):
    with_table(crowd, "tabled", "max_length")
    assert check("tabled", "table") is None
    with_table(crowd, "mistabled", "max_lenght")
    with pytest.raises(CheckFailure, match="sets max_lenght, which mistabled/net does not take"):
        check("mistabled", "table")


def test_a_weight_table_that_leaves_weights_out_is_refused(crowd, check):
    with_table(crowd, "forgetful", "max_length")
    with pytest.raises(CheckFailure, match="Hugging Face has no counterpart .* has no "):
        check("forgetful", "checkpoint")


# === Bundles ===


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A sound bundle that answers `classify`."""
    path = tmp_path_factory.mktemp("bundle") / "emoji"
    docstring_folder._write(
        path,
        "text-classification",
        ["a fine film"],
        lambda *_: docstring_folder._reader("serve", "logits", np.array([[3.9, 0.0]])),
        labels=["positive", "negative"],
    )
    (path / "README.md").write_text("# A card\n")
    told(
        path,
        example='print(model.classify("a fine film", top=1))',
        signatures=signatures_as_json(load(path).engine.signatures),
    )
    return path


def told(path, **changes) -> None:
    write_manifest(path, {**json.loads((path / "manifest.json").read_text()), **changes})


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        ("whole", None),
        ("bent", "tokenizer.json is not the file that was exported"),
        ("cardless", "cardless/emoji has no README.md"),
        ("mute", "the example of mute/emoji prints nothing: model.classify"),
        ("lost", "bundle:lost/emoji: NameError: name 'modle' is not defined"),
        ("plain", "plain/emoji has no example"),
    ],
)
def test_a_bundle_that_does_not_keep_its_word_is_refused(crowd, check, classifier, namespace, says):
    package = f"modelzoo_{namespace}"
    crowd.add(
        f"modelzoo-{namespace}",
        entry_points={"modelzoo.plugins": {namespace: package}},
        files={f"{package}/__init__.py": ""},
    )
    home = crowd.path / package / "bundles/emoji"
    shutil.copytree(classifier, home)
    if namespace == "bent":
        with (home / "tokenizer.json").open("a") as file:
            file.write(" ")
    elif namespace == "cardless":
        (home / "README.md").unlink()
        told(home)
    elif namespace == "mute":
        told(home, example='model.classify("a fine film")')
    elif namespace == "lost":
        told(home, example="print(modle)")
    elif namespace == "plain":
        told(home, example=None)
    if says is None:
        assert check(namespace, "bundle") is None
    else:
        with pytest.raises(CheckFailure, match=re.escape(says)):
            check(namespace, "bundle")


def test_a_bundle_with_the_name_of_a_recipe_does_not_list(crowd, check):
    package = "modelzoo_twice"
    crowd.add(
        "modelzoo-twice",
        entry_points={"modelzoo.plugins": {"twice": package}},
        files={
            f"{package}/__init__.py": "",
            f"{package}/recipes/emoji.toml": 'architecture = "gpt"\nsummary = "x"\n',
            f"{package}/bundles/emoji/manifest.json": "{}",
        },
    )
    with pytest.raises(CheckFailure, match="twice/emoji is both a recipe and the bundle"):
        check("twice", "listing")


def test_a_wheel_without_a_file_of_a_bundle_is_refused(tmp_path):
    home = tmp_path / "modelzoo_acme/bundles/emoji"
    home.mkdir(parents=True)
    for name in ("manifest.json", "model.tflite"):
        (home / name).write_text("{}")
    wanted = wheel._data_of(tmp_path, "modelzoo_acme")
    assert wanted == ["bundles/emoji/manifest.json", "bundles/emoji/model.tflite"]
    plugin = Plugin("acme", "modelzoo-acme", "1.0", "modelzoo_acme")
    built = {"modelzoo_acme/bundles/emoji/manifest.json"}
    with pytest.raises(CheckFailure, match="is built without modelzoo_acme/bundles/emoji/model"):
        wheel._check_data(plugin, tmp_path, "a.whl", wanted, built)
