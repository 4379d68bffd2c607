"""KerasHub on the CPU, quietly; small models, and one preset on disk."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def gpt2_preset(tmp_path_factory):
    """The directory of a small GPT-2 that KerasHub itself saved, with seeded weights."""
    import keras

    from modelzoo_kerashub import index
    from modelzoo_kerashub.construct import construct
    from modelzoo_kerashub.sizes import small_values

    keras.utils.set_random_seed(0)
    backbone = construct("GPT2Backbone", small_values(index.backbone("GPT2Backbone")))
    folder = tmp_path_factory.mktemp("presets") / "gpt2"
    backbone.save_to_preset(str(folder))
    return folder
