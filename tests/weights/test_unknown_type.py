"""A model type without a table is refused with the nearest one, and why that is not it."""

from __future__ import annotations

import pytest

from modelzoo.plugins import discovery
from modelzoo.weights.tables import TABLES
from modelzoo.weights.unknown_type import nearest_table, unknown_type
from tests.plugin_site import acme
from tests.weights.test_keys import LLAMA
from tests.weights.test_plugin_tables import add

BLOCKS = {"architectures": ["ReluForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-5}
GPT = {"vocab_size": 23, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8}


@pytest.mark.parametrize("kind", ["bert", "gptj", "stablelm", "t5", "whisper"])
def test_a_table_is_the_nearest_to_what_it_writes(kind):
    table = TABLES[kind]
    config = {value.theirs: 2 for value in table.values} | dict(table.assumed)
    config["architectures"] = [cls for head in table.heads.values() for cls in head.classes][:1]
    assert nearest_table(config) is table


def test_the_keys_that_the_nearest_table_does_not_read_are_named():
    config = {"model_type": "own", **LLAMA, **BLOCKS, "num_experts": 8, "dtype": "float32"}
    error = unknown_type(config, "somewhere")
    assert error.what.startswith("the model type 'own' has no table here; the nearest is ")
    assert error.what.endswith(", which does not read num_experts = 8")
    assert "choose one of albert, audio-spectrogram-transformer, bart" in error.next_step


def test_a_key_that_the_nearest_table_needs_is_named():
    config = {"model_type": "own", **GPT, "architectures": ["OwnForX"], "activation_function": "x"}
    assert unknown_type(config, "x").what.endswith(
        "gptj, which rejects it: activation_function 'x' is not supported"
    )
    del config["n_positions"]
    assert unknown_type(config, "x").what.endswith("gptj, which needs n_positions")


def test_where_every_key_is_read_the_difference_is_said_to_be_elsewhere():
    error = unknown_type({"model_type": "own", **LLAMA, **BLOCKS}, "x")
    assert "which reads every key of this configuration" in error.what


def test_nothing_is_near_to_keys_of_another_kind():
    config = {"model_type": "lama", "depths": [2, 2], "window_size": 7, "out_features": ["a"]}
    assert nearest_table(config) is None
    error = unknown_type(config, "x")
    assert error.what == "the model type 'lama' has no table here"
    assert error.did_you_mean == "llama"


def test_a_plugin_that_has_the_type_and_cannot_be_used_is_named(site, monkeypatch):
    add(site)
    add(site, "modelzoo-twin", "acme")  # the same namespace: neither can be used
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.delenv(discovery.VARIABLE)
    discovery._discover.cache_clear()
    error = unknown_type({"model_type": "acme_moe"}, "x")
    discovery._discover.cache_clear()
    assert "modelzoo-acme 0.2.1 brings one and cannot be used: the namespace acme" in error.what


def test_plugins_that_a_variable_hides_are_mentioned(monkeypatch):
    monkeypatch.setenv(discovery.VARIABLE, "none-such")
    error = unknown_type({"model_type": "acme_moe"}, "x")
    assert "MODELZOO_PLUGINS='none-such' limits which plugins are seen" in error.next_step


def test_an_architecture_of_a_plugin_with_the_name_is_mentioned(site, monkeypatch):
    entry_points = {
        "modelzoo.plugins": {"acme": "modelzoo_acme"},
        "modelzoo.architectures": {"FalconMambaBackbone": "modelzoo_acme.moe:build"},
    }
    acme(site, entry_points=entry_points)
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.delenv(discovery.VARIABLE)
    discovery._discover.cache_clear()
    steps = {
        kind: unknown_type({"model_type": kind}, "x").next_step
        for kind in ("falcon_mamba", "falcon")
    }
    discovery._discover.cache_clear()
    assert steps["falcon_mamba"].startswith(
        "modelzoo-acme 0.2.1 has the architecture acme/FalconMambaBackbone, which a recipe may name"
    )
    assert "acme/" not in steps["falcon"]
