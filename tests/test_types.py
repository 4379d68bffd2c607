"""What an editor and a type checker learn: run over a small script, as a user writes one."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import subprocess
import sys

import pytest

from modelzoo.building import zoo_model
from modelzoo.runtime.abilities import protocols
from modelzoo.runtime.generation.sampling import Sampling, SamplingOptions
from modelzoo.runtime.model import Model
from tests.plugin_site import ROOT

# Each line's type follows it; what follows `error:` must be part of an error there.
SCRIPT = """
import keras
import numpy as np
import modelzoo
from modelzoo.runtime.abilities.protocols import (
    Captions, Chats, Classifies, Embeds, EmbedsMedia, FillsMasks, Generates, Tags, Transcribes,
    ZeroShot,
)

model, loaded = modelzoo.build("gpt-tiny"), modelzoo.load("runs/gpt")
reveal_type(model.generate("x"))  # str
reveal_type(model.generate(["x"], temperature=0.5))  # list[str]
reveal_type(model.generate("x", stream=True))  # Iterator[str]
reveal_type(model.generate(["x"], stream=True))  # Iterator[tuple[int, str]]
reveal_type(model.chat("x"))  # str
reveal_type(loaded.classify("x"))  # list[tuple[str, float]]
reveal_type(loaded.tokenizer)  # Tokenizer | None
reveal_type(model.fit)  # as Keras
reveal_type(keras.Model().fit)  # as Keras

bundle = modelzoo.runtime.load("b")
reveal_type(bundle)  # Model
reveal_type(bundle.generate("x"))  # str
reveal_type(bundle.generate(("x", "y"), False, True))  # list[str]
reveal_type(bundle.generate("x", stream=True))  # Iterator[str]
reveal_type(bundle.generate(["x"], stream=True, top_k=3))  # Iterator[tuple[int, str]]
reveal_type(bundle.chat_session().chat("x", True))  # Iterator[str]
reveal_type(bundle.classify(("x", "y")))  # list[tuple[str, float]]
reveal_type(bundle.classify([np.zeros(3)], top=1))  # list[list[tuple[str, float]]]
reveal_type(bundle.caption("x.png", "a cat"))  # str
reveal_type(bundle.caption(["x.png"]))  # list[str]
reveal_type(bundle.transcribe((np.zeros(3), 16_000)))  # str
reveal_type(bundle.tag("x"))  # list[Span]
reveal_type(bundle.tag([("x", "y")]))  # list[list[Span]]
reveal_type(bundle.zero_shot(["x.png"], ["a", "b"]))  # list[list[tuple[str, float]]]
bundle.generate("x", temprature=0.5)  # error: "generate"

def either(flag: bool, text: str | list[str]) -> None:
    reveal_type(bundle.generate("x", stream=flag))  # Iterator[str] | str
    reveal_type(bundle.generate(text))  # str | list[str]

def takes_all(a: Generates, b: Chats, c: Classifies, d: Embeds, e: FillsMasks, f: Captions,
              g: Transcribes, h: EmbedsMedia, i: ZeroShot, j: Tags) -> None: ...

takes_all(*(bundle,) * 10)
takes_all(*(model,) * 10)
"""


def test_a_type_checker_knows_what_build_and_load_give(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    config = {"extraPaths": [str(ROOT)], "typeCheckingMode": "basic", "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run([*command, "-p", str(tmp_path)], capture_output=True, text=True)
    found = {}
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        line, message = one["range"]["start"]["line"], one["message"]
        is_type = one["severity"] == "information"
        found[line] = message.rpartition('" is "')[2].rstrip('"') if is_type else message
    fits = []
    for line, text in enumerate(SCRIPT.splitlines()):
        expected = text.partition("  # ")[2]
        if expected == "as Keras":
            fits.append(found.pop(line))
        elif expected.startswith("error: "):
            assert expected.removeprefix("error: ") in found.pop(line), text
        elif expected:
            assert found.pop(line) == expected, text
    assert found == {}
    assert fits[0] == fits[1] and "validation_split: float" in fits[0]


@pytest.mark.parametrize("package", ["modelzoo.runtime", "modelzoo.data"])
def test_lazy_names_are_visible_to_an_editor(package):
    module = importlib.import_module(package)
    tree = ast.parse(inspect.getsource(module))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    shown = {alias.name: node.module for node in block.body for alias in node.names}
    assert shown == {name: f"{package}.{home}" for name, home in module._HOMES.items()}
    assert {*module.__all__} == {*shown}


def test_the_protocols_import_nothing_and_no_base_of_a_keras_model_is_made_of_them():
    code = "import sys, modelzoo.runtime.abilities.protocols; print({*sys.modules} & {'numpy'})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
    assert not hasattr(zoo_model, "ZooModel")


def test_each_ability_of_a_bundle_is_a_method_of_a_protocol():
    methods = {
        name
        for protocol in protocols.__all__
        for name in vars(getattr(protocols, protocol))
        if not name.startswith("_")
    }
    able = "generate chat classify fill_mask tag embed caption transcribe embed_text zero_shot"
    assert methods == {*able.split(), "chat_session", "embed_image", "embed_audio", "embed_video"}
    for name in methods:
        owner = next(kind for kind in Model.__mro__ if name in vars(kind))
        assert owner.__name__ not in protocols.__all__, name


def test_the_options_of_sampling_are_its_fields():
    assert [*SamplingOptions.__annotations__] == [f.name for f in dataclasses.fields(Sampling)]
