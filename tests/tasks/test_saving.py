"""A `.keras` file opens in a process that knows nothing but `import modelzoo`."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from modelzoo.tasks.causal_lm import CausalLM
from modelzoo.tasks.masked_lm import MaskedLM
from modelzoo.tasks.seq2seq_lm import Seq2SeqLM
from modelzoo.tasks.text_classification import TextClassifier
from tests.core import (
    DECODERS,
    ENCODER_DECODERS,
    ENCODERS,
    FAMILIES,
    RECURRENT,
    assert_near,
    fresh,
    number,
    randomise,
    token_ids,
)
from tests.plugin_site import ROOT

IDS = token_ids(2, 6)
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2], "int32")
INPUTS = {"token_ids": IDS, "padding_mask": MASK}
READ_ALL = """
import sys
import modelzoo
import keras, numpy as np
for path in sys.argv[1:]:
    model = keras.saving.load_model(path)
    inputs = dict(np.load(path + ".inputs.npz"))
    outputs = [keras.ops.cast(x, "float32") for x in keras.tree.flatten(model(inputs))]
    np.savez(path + ".outputs.npz", *[keras.ops.convert_to_numpy(x) for x in outputs])
    print(type(model).__name__, model.dtype_policy.name, model.count_params())
"""


def task_models():
    for name in FAMILIES:
        if name in ENCODERS:
            yield name, MaskedLM(fresh(name), next_sentence=name == "bert"), INPUTS
        elif name in ENCODER_DECODERS:
            yield name, Seq2SeqLM(fresh(name)), {**INPUTS, "decoder_token_ids": IDS}
        else:
            yield name, CausalLM(fresh(name)), INPUTS
    yield "classifier", TextClassifier(fresh("bert"), num_labels=5, dropout=0.3), INPUTS
    yield "backbone", fresh("t5"), {**INPUTS, "decoder_token_ids": IDS}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield "half", CausalLM(fresh("llama")), INPUTS
    keras.config.set_dtype_policy(before)


def test_every_model_comes_back_whole_in_a_fresh_process(tmp_path):
    paths, wanted, said = [], [], []
    for name, model, inputs in task_models():
        randomise(model)
        path = str(tmp_path / f"{name.replace(', ', '-').replace(' ', '-')}.keras")
        model.save(path)
        np.savez(path + ".inputs.npz", **inputs)
        paths.append(path)
        wanted.append([number(x) for x in keras.tree.flatten(model(inputs))])
        said.append(f"{type(model).__name__} {model.dtype_policy.name} {model.count_params()}")
    assert len(paths) == len(DECODERS) + len(RECURRENT) + len(ENCODERS) + len(ENCODER_DECODERS) + 3
    child = subprocess.run(
        [sys.executable, "-c", READ_ALL, *paths], capture_output=True, text=True, cwd=ROOT
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines() == said
    for path, arrays in zip(paths, wanted, strict=True):
        with np.load(path + ".outputs.npz") as got:
            assert len(got.files) == len(arrays)
            for key, array in zip(got.files, arrays, strict=True):
                assert_near(got[key].astype(np.float64), array, 1e-6)


@pytest.mark.parametrize(
    "model",
    [
        MaskedLM(fresh("distilbert"), next_sentence=False),
        TextClassifier(fresh("gru"), num_labels=4, dropout=0.25),
    ],
    ids=["masked", "classifier"],
)
def test_a_task_remembers_its_options_in_plain_json(model):
    config = json.loads(json.dumps(model.get_config()))
    twin = type(model).from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config
    assert twin.count_params() == model.count_params()


def test_weights_alone_travel_through_a_weights_file(tmp_path):
    model, twin = randomise(CausalLM(fresh("lstm"))), CausalLM(fresh("lstm"))
    model.save_weights(tmp_path / "a.weights.h5")
    twin.load_weights(tmp_path / "a.weights.h5")
    assert_near(twin(INPUTS), number(model(INPUTS)), 0)
