"""A bundle's figures are those of the Keras model that it was exported from."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo
from modelzoo.cli import main
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import ModelzooError
from modelzoo.runtime.bundle import read_bundle
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo
from modelzoo.runtime.model import Model
from modelzoo.tasks.profile import ENCODER_TOKENS, said
from modelzoo.tasks.shared.bundle_model import BundleModel
from modelzoo.tasks.shared.keras_engine import KerasEngine, device_model
from modelzoo.training.evaluate import evaluate_in_detail
from tests import captioners
from tests.core import randomise
from tests.media import picture

TEXTS = ["a fine film", "a dull long film", "好 电影", "the end of the film was fine"]
ENCODER = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 32, "max_length": 24}
CASES = {
    "text-classification": (
        "bert-tiny-classifier",
        {**ENCODER, "task_options.labels": ["a", "b"]},
        [{"text": text, "label": "ab"[n % 2]} for n, text in enumerate(TEXTS)],
        {"max_length": 24, "lengths": (8,), "batch_sizes": (2,)},
    ),
    "several labels": (
        "bert-tiny-classifier",
        {
            **ENCODER,
            "task_options.labels": ["a", "b"],
            "task_options.problem_type": "multi_label_classification",
            "task_options.thresholds": [0.4, 0.6],
        },
        [{"text": text, "label": ["a", "b"][: n % 3]} for n, text in enumerate(TEXTS)],
        {"max_length": 24, "lengths": ()},
    ),
    "question-answering": (
        "bert-tiny-qa",
        {**ENCODER, "task_options.stride": 2, "task_options.threshold": 0.0},
        [
            {"question": "好?", "context": " ".join(TEXTS), "answer": "fine", "start": 2},
            {"question": "好?", "context": TEXTS[2], "answer": "", "start": ""},
        ],
        {"max_length": 24, "lengths": (16,), "batch_sizes": (2,)},
    ),
    "text-embedding": (
        "minilm-l6",
        ENCODER,
        [{"text_a": text, "text_b": text[::-1]} for text in TEXTS],
        {"max_length": 24, "lengths": (8,)},
    ),
    "masked-lm": (
        "bert-tiny",
        ENCODER,
        [{"text": " ".join(TEXTS)}] * 3,
        {"max_length": 24, "lengths": ()},
    ),
    "token-classification": (
        "bert-tiny-tagger",
        {**ENCODER, "task_options.labels": ["O", "B-X", "I-X"]},
        [
            {"words": TEXTS[0].split(), "tags": ["B-X", "I-X", "O"]},
            {"text": TEXTS[2], "spans": [{"start": 0, "end": 1, "label": "X"}]},
        ],
        {"max_length": 24, "lengths": (8,), "batch_sizes": (2,)},
    ),
    "causal-lm": (
        "gpt-tiny",
        {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 24},
        [{"text": text} for text in TEXTS],
        {"prefill_lengths": (8,)},
    ),
    "seq2seq-lm": (
        "t5-tiny",
        {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 24},
        [{"source": text, "target": text[:6]} for text in TEXTS],
        {},
    ),
}


def made(name: str, changes: dict):
    """A model with random weights, whose tokenizer knows the texts."""
    recipe = modelzoo.read_recipe(name)
    kind = recipe.table("tokenizer").get("kind", "wordpiece")
    tokens = ENCODER_TOKENS if kind == "wordpiece" else said(recipe.task, "special_tokens")
    tokenizer = train_tokenizer(TEXTS * 3, kind, 600, tokens)
    length = 24 if recipe.task == "question-answering" else 12
    sizes = {"vocab_size": tokenizer.vocab_size, "parameters": None, "train.length": length}
    return randomise(
        modelzoo.build(name, compile=False, tokenizer=tokenizer, **{**changes, **sizes})
    )


@pytest.mark.parametrize("case", CASES)
def test_figures_over_signatures_are_those_of_the_model(case):
    name, changes, data, sizes = CASES[case]
    model = made(name, changes)
    engine = KerasEngine(model, model.export_signatures(**sizes))
    if "decode" in engine.signatures:
        engine.stepper = lambda source=None: Stepper(engine, source)
    processing = {"processing": {}}
    assert_same_figures(model, device_model(model, engine, **processing), data, 3)


def assert_same_figures(model, bundle, data, batch_size):
    wanted = evaluate_in_detail(model, data, batch_size=batch_size).figures
    device = BundleModel(bundle, model.recipe)
    found = evaluate_in_detail(device, data, batch_size=batch_size).figures
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key


class Stepper:
    """One token at a time through `decode`, its state carried over; no engine's tricks."""

    def __init__(self, engine, source):
        info = engine.signatures["decode"]
        self.engine = engine
        self.state = {
            key: np.zeros(tensor.shape, tensor.dtype)
            for key, tensor in info.inputs.items()
            if key not in ("token_ids", "positions")
        }
        if source is not None:
            outputs = engine.run("encode", source)
            self.state |= {key: value for key, value in outputs.items() if key in self.state}
            names = [key for key in self.state if key not in outputs and key in source]
            self.state |= {key: source[key] for key in names}

    def decode(self, token_ids, positions):
        outputs = self._run("decode", token_ids=token_ids, positions=positions)
        return outputs["logits"].reshape(1, -1)

    def prefill_image(self, images, positions):
        self._run("prefill_image", images=images, positions=positions)

    def _run(self, name, **inputs):
        known = self.engine.signatures[name].inputs
        given = {**inputs, **self.state}
        outputs = self.engine.run(name, {key: given[key] for key in known})
        self.state |= {key: value for key, value in outputs.items() if key in self.state}
        return outputs


def test_pictures_are_measured_too():
    changes = {"image_size": 8, "patch_size": 4, "num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    changes |= {"task_options.labels": ["red", "blue"], "parameters": None}
    model = randomise(modelzoo.build("vit-tiny", compile=False, **changes))
    data = [{"image": picture(colour, 8, 8), "label": colour} for colour in ("red", "blue", "red")]
    engine = KerasEngine(model, model.export_signatures())
    bundle = device_model(model, engine, processing=model.processing())
    assert_same_figures(model, bundle, data, 2)


@pytest.mark.parametrize("fusion", captioners.FUSIONS)
def test_captions_and_answers_are_measured_where_the_image_stands(fusion):
    template = "<s>a{image}<s>{prompt}</s>" if fusion == "prefix in text" else None
    model = captioners.model(fusion, {"template": template} if template else None)
    engine = KerasEngine(model, model.export_signatures(verify_lengths=()))
    engine.stepper = lambda source=None: Stepper(engine, source)
    bundle = device_model(model, engine, processing=model.processing())
    for data in (captioners.CAPTIONED[:3], captioners.ASKED[:4]):
        assert_same_figures(model, bundle, data, 2)


@pytest.mark.parametrize("padding", ["hidden", "visible"])
def test_towers_are_measured_and_what_a_row_lacks_is_left_out(padding):
    text = {**ENCODER, "max_length": 16}
    changes = {f"model.text.model.{key}": value for key, value in text.items()}
    changes |= {"model.image.model.image_size": 16, "model.image.model.widths": [8, 16]}
    changes |= {"model.audio.model.num_columns": 32, "model.audio.model.num_mels": 32}
    changes |= {"model.audio.model.num_layers": 1, "model.audio.model.hidden_dim": 32}
    changes |= {"model.text.padding": padding, "train.length": 12, "parameters": None}
    tokenizer = train_tokenizer(TEXTS * 3, "wordpiece", 600, ENCODER_TOKENS)
    changes["model.text.model.vocab_size"] = tokenizer.vocab_size
    model = modelzoo.build("bind-tiny", tokenizer=tokenizer, compile=False, **changes)
    noise = np.random.default_rng(0).normal(0, 0.2, (4, 4000)).astype("float32")
    rows = zip(("red", "green", "blue", "red"), TEXTS, noise, strict=True)
    data = [{"image": picture(c, 16, 16), "text": t, "audio": s} for c, t, s in rows]
    del data[0]["audio"], data[1]["image"]
    engine = KerasEngine(model, model.export_signatures(max_length=16, lengths=(8,)))
    bundle = device_model(model, engine, processing=model.processing())
    assert_same_figures(model, bundle, data, 3)


def test_a_bundle_without_such_signatures_names_the_directory():
    model = made("minilm-l6", ENCODER)
    engine = KerasEngine(model, {})
    engine.signatures["encode_text"] = SignatureInfo(
        {"token_ids": TensorInfo((1, 8), "int32")}, {"embedding": TensorInfo((1, 4), "float32")}
    )
    with pytest.raises(ModelzooError, match="give no figures of the task") as caught:
        BundleModel(device_model(model, engine), model.recipe)
    assert "model directory" in caught.value.next_step


def test_evaluate_shows_a_bundle_beside_its_directory(tmp_path, capsys):
    name, changes, data, _ = CASES["several labels"]
    model = made(name, changes)
    modelzoo.save(model, tmp_path / "model")
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in data))
    bundle, directory = str(tmp_path / "x.bundle"), str(tmp_path / "model")
    export = ["export", directory, "-o", bundle, "--quantize", "float32"]
    assert main([*export, "--set", "export.lengths=[8]"]) == 0
    assert read_bundle(bundle).manifest["thresholds"] == [0.4, 0.6]
    capsys.readouterr()
    given = ["evaluate", bundle, "--data", str(path), "--against", directory]
    assert main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    other = found["against"]["figures"]
    assert other["loss"] == pytest.approx(found["loss"], rel=1e-4)
    assert other.keys() == found.keys() - {"against", "labels"}
    assert main(given) == 0
    first, loss, *_ = capsys.readouterr().out.splitlines()
    assert first.split() == ["figure", "model", "against", "change"]
    assert loss.split()[:2] == ["loss", f"{found['loss']:,.6g}"]
    text = "a fine film"
    wanted = modelzoo.load(directory).classify(text)
    loaded = modelzoo.runtime.load(bundle)
    assert isinstance(loaded, Model)
    assert [name for name, _ in loaded.classify(text)] == [name for name, _ in wanted]
