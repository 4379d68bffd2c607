"""The keys of `transformers`' own configurations: its defaults are read, and what is not is named.

Its configuration classes are the reference for what a file of a model type may hold.
"""

from __future__ import annotations

import json

import pytest

transformers = pytest.importorskip("transformers")

from modelzoo.errors import WeightsError  # noqa: E402
from modelzoo.weights.tables import TABLES  # noqa: E402

pytestmark = pytest.mark.real

# Where the class's defaults describe no model: SigLIP's tensors say whether it has its head.
NAMES = {"siglip": frozenset({"vision_model.head.probe"})}


def defaults(model_type: str) -> dict:
    return json.loads(transformers.CONFIG_MAPPING[model_type]().to_json_string(use_diff=False))


@pytest.mark.parametrize("model_type", TABLES)
def test_the_defaults_of_every_model_type_are_read(model_type):
    table = TABLES[model_type]
    values = table.read_config(
        defaults(model_type), NAMES.get(model_type, frozenset()), "transformers"
    )
    assert values


@pytest.mark.parametrize("model_type", TABLES)
def test_a_key_of_a_newer_release_is_named(model_type):
    config = {**defaults(model_type), "mixes_twice": 0.5}
    with pytest.raises(WeightsError, match=r"mixes_twice = 0\.5"):
        TABLES[model_type].read_config(config, NAMES.get(model_type, frozenset()), "x")


FOREIGN = ["mistral", "granite", "phi3", "gemma2", "smollm3", "stablelm", "cohere"]


@pytest.mark.parametrize("model_type", FOREIGN)
def test_a_relative_whose_type_is_changed_to_llama_is_rejected(model_type):
    config = {**defaults(model_type), "model_type": "llama"}
    config |= {"embedding_multiplier": 12.0} if model_type == "granite" else {}
    config |= {"hidden_act": "silu", "rope_parameters": None}
    with pytest.raises(WeightsError):
        TABLES["llama"].read_config(config, frozenset(), "x")
