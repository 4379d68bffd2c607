"""What is read from KerasHub's source is what KerasHub has when it is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from modelzoo.errors import UnknownNameError

from modelzoo_kerashub import index


@pytest.fixture(scope="module")
def models():
    import keras_hub

    return keras_hub.models


def test_every_public_backbone_is_found(models):
    abstract = {models.Backbone, models.FeaturePyramidBackbone}
    public = {
        name
        for name, one in vars(models).items()
        if isinstance(one, type) and issubclass(one, models.Backbone) and one not in abstract
    }
    assert set(index.backbones()) == public


def test_every_built_in_preset_is_found_with_its_class(models):
    found = {name: preset.backbone for name, preset in index.presets().items()}
    public = {
        name: kind.__name__
        for kind in {one for one in vars(models).values() if isinstance(one, type)}
        if issubclass(kind, models.Backbone) and kind.__subclasses__() == []
        for name in kind.presets
    }
    assert {name: found.get(name) for name in public} == public


def test_every_task_is_found_with_its_backbone(models):
    for name, task in index.tasks().items():
        kind = getattr(models, name)
        assert kind.backbone_cls.__name__ == task.backbone
        assert issubclass(kind, getattr(models, task.kind))


def test_arguments_are_those_of_the_constructor(models):
    import inspect

    for name, backbone in index.backbones().items():
        parameters = inspect.signature(getattr(models, name).__init__).parameters
        theirs = {
            key: item.default is item.empty
            for key, item in parameters.items()
            if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
            if key not in ("self", "dtype", "name", "trainable")
        }
        ours = {argument.name: argument.default is ... for argument in backbone.arguments}
        assert ours == theirs, name


def test_types_come_from_defaults_and_from_the_docstring():
    arguments = {a.name: a for a in index.backbone("BertBackbone").arguments}
    assert arguments["num_layers"].hint is int and arguments["num_layers"].default is ...
    assert arguments["dropout"].hint is float and arguments["dropout"].default == 0.1


def test_two_names_of_one_class_are_one_backbone():
    assert index.backbone("Qwen2Backbone") is index.backbone("QwenBackbone")
    assert index.backbone("QwenBackbone").aliases == ("Qwen2Backbone",)


def test_an_unknown_backbone_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        index.backbone("BertBackbon")
    assert caught.value.did_you_mean == "BertBackbone"


def test_reading_and_listing_import_neither_keras_nor_kerashub():
    code = (
        "import sys; from modelzoo import registry; from modelzoo_kerashub import index, generate;"
        "names = {entry.name for entry in registry.names()};"
        "assert 'kerashub/BertBackbone' in names and 'kerashub/gpt2_base_en' in names;"
        "index.backbones(); index.presets(); index.tasks(); generate.recipes();"
        "print(sorted({'keras', 'keras_hub', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
