"""A plugin's weight table is found by the model type, and two for one are refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from modelzoo.errors import PluginError, WeightsError
from modelzoo.plugins import discovery
from modelzoo.weights import open_checkpoint, recipe_of_checkpoint
from modelzoo.weights.lookup import known_types, table_of_type, tables_of
from tests.plugin_site import acme

TABLE = """
from modelzoo.weights.table import Head, Table, Value, rules, same

TABLE = Table(
    model_type="{model_type}",
    architecture="acme/moe",
    prefix="",
    rules=rules(same("words.weight", "words/embeddings")),
    layer_rules=(),
    values=(Value("depth", "num_layers"),),
    heads={{"text-classification": Head(("AcmeForLabels",))}},
)
"""


@pytest.fixture
def installed(site, monkeypatch):
    """Installs acme with a table for the model type acme_moe; gives the site."""
    add(site)
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.delenv(discovery.VARIABLE)
    discovery._discover.cache_clear()
    yield site
    discovery._discover.cache_clear()


def add(site, name: str = "modelzoo-acme", namespace: str = "acme", says: str = "acme_moe"):
    package = name.replace("-", "_")
    acme(
        site,
        name,
        entry_points={
            "modelzoo.plugins": {namespace: package},
            "modelzoo.architectures": {"moe": f"{package}.moe:build"},
            "modelzoo.weight_tables": {"acme_moe": f"{package}.table:TABLE"},
        },
    )
    (site.path / package / "table.py").write_text(TABLE.format(model_type=says))


def checkpoint(folder, **config):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"depth": 3, **config}))
    save_file({"words.weight": np.zeros((4, 2), "float32")}, folder / "model.safetensors")
    return open_checkpoint(folder)


def test_a_checkpoint_becomes_a_recipe_through_a_plugins_table(installed, tmp_path):
    assert "acme_moe" in known_types()
    found = checkpoint(tmp_path / "a", model_type="acme_moe", architectures=["AcmeForLabels"])
    recipe = recipe_of_checkpoint(found)
    assert recipe.architecture == "acme/moe"
    assert recipe.task == "text-classification"
    assert recipe.table("model") == {"num_layers": 3}
    bare = checkpoint(tmp_path / "b", model_type="acme_moe", architectures=["AcmeModel"])
    assert recipe_of_checkpoint(bare).task == "text-classification"
    assert [table.model_type for table in tables_of("acme/moe")] == ["acme_moe"]


def test_a_typo_in_a_model_type_suggests_a_plugins_and_imports_none(installed, tmp_path):
    (installed.path / "modelzoo_acme" / "table.py").write_text("raise RuntimeError\n")
    with pytest.raises(WeightsError) as caught:
        recipe_of_checkpoint(checkpoint(tmp_path / "a", model_type="acme_mo"))
    assert caught.value.did_you_mean == "acme_moe"


def test_two_plugins_with_a_table_for_one_model_type_are_both_named(installed):
    add(installed, "modelzoo-other", "other")
    discovery._discover.cache_clear()
    with pytest.raises(PluginError, match="modelzoo-acme 0.2.1 and modelzoo-other 0.2.1"):
        table_of_type("acme_moe")


def test_a_table_for_another_model_type_than_its_entry_point_is_refused(site, monkeypatch):
    add(site, "modelzoo-liar", "liar", says="acme_mow")
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.delenv(discovery.VARIABLE)
    discovery._discover.cache_clear()
    with pytest.raises(PluginError, match="'acme_moe' says that it is for 'acme_mow'") as caught:
        table_of_type("acme_moe")
    assert "modelzoo-liar 0.2.1, entry point acme_moe = modelzoo_liar" in caught.value.where
    discovery._discover.cache_clear()


def test_the_cores_tables_cannot_be_replaced(installed):
    assert table_of_type("gpt2").architecture == "gpt"
    assert table_of_type("nobody") is None
