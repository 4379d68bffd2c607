"""modelzoo export and modelzoo verify, as they are typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

import modelzoo
from modelzoo import cli, export, exporting, registry
from modelzoo.building import memory
from modelzoo.cli.export import WARNINGS, announce, settings, summary, verdict
from modelzoo.errors import RecipeError
from modelzoo.exporting import Report
from modelzoo.exporting.process.estimate import Estimate, estimate
from tests.plugin_site import ROOT


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A GRU that a JAX user made, exported in a process whose Keras runs on JAX."""
    directory = tmp_path_factory.mktemp("cli")
    code = f"""
import modelzoo
from modelzoo.recipe import from_values
table = {{"vocab_size": 64, "embedding_dim": 8, "hidden_dims": [8], "cell": "gru"}}
values = {{"architecture": "recurrent", "task": "causal-lm", "model": table}}
values["export"] = {{"prefill_lengths": [2]}}
model = modelzoo.build(from_values(values, name="toy"), compile=False)
modelzoo.save(model, {str(directory / "toy")!r})
report = modelzoo.export(model, {str(directory / "toy.bundle")!r}, quantize="float32")
import keras
assert keras.backend.backend() == "jax"
print(report)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "MODELZOO_PLUGINS": "", "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("Report(")
    return directory


def test_a_jax_user_exports_a_live_model(exported):
    assert sorted(path.name for path in exported.iterdir()) == ["toy", "toy.bundle"]
    parity = json.loads((exported / "toy.bundle" / "parity.json").read_text())
    assert parity["generation"]["greedy"]["equal"] > 200
    manifest = json.loads((exported / "toy.bundle" / "manifest.json").read_text())
    assert manifest["options"] == {"prefill_lengths": [2]}  # the recipe's own
    assert manifest["tokenizer"] is None
    assert not (exported / "toy.bundle" / "tokenizer.json").exists()


def test_verify_checks_a_bundle_by_itself(exported, capfd):
    assert cli.main(["verify", str(exported / "toy.bundle")]) == 0
    out, err = capfd.readouterr()
    assert "sound; 4 files have their hashes, and decode, prefill_2, score_32 run" in out
    assert err == ""


def test_verify_against_the_model_shows_the_figures(exported, capfd):
    bundle, model = str(exported / "toy.bundle"), str(exported / "toy")
    assert cli.main(["verify", bundle, "--against", model]) == 0
    out, err = capfd.readouterr()
    assert f"it answers as {model} does" in out
    assert "greedy text: 240 of 240 tokens equal" in out
    # No log of native code: a line a step.
    assert all(line.startswith("modelzoo: ") for line in err.splitlines())
    assert " s: starting TensorFlow" in err


def test_verify_names_the_file_that_was_altered(exported, tmp_path, capsys):
    bundle = shutil.copytree(exported / "toy.bundle", tmp_path / "b")
    (bundle / "README.md").write_text("other")
    assert cli.main(["verify", str(bundle)]) == 2
    assert "README.md is not the file that was exported" in capsys.readouterr().err


def test_verify_holds_the_manifest_against_the_file(exported, tmp_path, capsys):
    bundle = shutil.copytree(exported / "toy.bundle", tmp_path / "b")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["signatures"]["decode"]["outputs"]["logits"]["shape"] = [1, 1, 65]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["verify", str(bundle)]) == 2
    assert "signature decode, outputs: logits is " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["num_layers=2"], "takes export.* and quantize.* only"),
        (["max_length=8"], "did you mean: export.max_length?"),
        (["exprt.max_length=8"], "did you mean: export.max_length?"),
        (["export=3"], "takes export.* and quantize.* only"),
        (["export.=3"], "takes export.* and quantize.* only"),
    ],
)
def test_only_export_values_can_be_set(given, said):
    with pytest.raises(RecipeError) as caught:
        settings(given)
    assert said in str(caught.value)


def test_values_are_read_as_toml():
    given = ["export.max_length=8", "export.name=a=b", 'quantize.layers={"ffn/up" = "int8"}']
    options = {"max_length": 8, "name": "a=b"}
    assert settings(given) == (options, {"layers": {"ffn/up": "int8"}})


@pytest.fixture
def recorded(monkeypatch):
    """What the command asks for; nothing is exported."""
    calls = []
    figure = {"max_abs_error": 2e-6, "allowed": 1e-4, "cosine": 0.9999999}
    parity = {"bytes": 1234, "signatures": {"decode": {"logits": figure}}}
    greedy = {"compared": 9, "equal": 8, "ties": 1}
    parity["generation"] = {"prefill": figure, "positions": 5, "greedy": greedy}
    manifest = {"name": "toy", "format": "tflite", "precision": "float32"}

    def export_bundle(*args, **options):
        del options["progress"], options["begins"]
        calls.append((args, options))
        return Report("b", manifest, parity)

    monkeypatch.setattr(exporting, "export_bundle", export_bundle)
    return calls


def test_export_prints_what_was_written_and_the_figures(recorded, capsys):
    line = ["export", "runs/gpt", "-o", "b", "--set", "export.max_length=8", "--force"]
    assert cli.main(line) == 0
    ((args, options),) = recorded
    assert args == ("runs/gpt", "b", "tflite", None)
    assert options == {"force": True, "options": {"max_length": 8}, "quantization": {}}
    out = capsys.readouterr().out
    assert out.startswith("b: toy, tflite, float32, 1,234 bytes\n")
    assert "decode         logits       2e-06   0.0001  1.000000" in out
    assert "greedy text: 8 of 9 tokens equal (1 ties)" in out


def test_a_vocabulary_is_an_export_option_with_a_flag(recorded, capsys):
    line = ["export", "m", "--vocabulary", "corpus.txt", "--vocabulary-size", "900"]
    assert cli.main([*line, "--set", "export.max_length=8"]) == 0
    options = recorded[0][1]["options"]
    assert options == {"max_length": 8, "vocabulary": "corpus.txt", "vocabulary_size": 900}
    parity = {"signatures": {}, "bytes": 9, "vocabulary": {"tokens": 900, "of": 49_152}}
    report = Report("b", {"name": "toy", "format": "tflite", "precision": "int8"}, parity)
    assert summary(report, "b").startswith("b: toy, tflite, int8, 9 bytes, 900 of 49,152 tokens\n")


def test_one_plain_sentence_comes_before_the_table(recorded, capsys):
    assert cli.main(["export", "runs/gpt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "gpt.bundle: toy, tflite, float32, 1,234 bytes",
        "answers as Keras does: the same text, 8 of 9 tokens",
        "",
    ]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("random", WARNINGS["random"]),
        (
            "partly random",
            "its head has random weights: train the model before you use its answers",
        ),
        ("trained", ""),
    ],
)
def test_random_weights_are_told_after_the_verdict(weights, said):
    manifest = {"name": "toy", "format": "tflite", "precision": "float32"}
    report = Report("b", manifest, {"signatures": {}, "weights": weights})
    assert summary(report, "b").splitlines()[2] == said


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"metric": "label_agreement", "texts": 64}, "the same label for 48 of 64 held-out texts"),
        (
            {"metric": "recall@1", "texts": 48, "of": "pictures"},
            "finds 36 of 48 held-out pictures again, and Keras finds 48",
        ),
        (
            {"metric": "perplexity", "tokens": 200, "argmax_agreement": 0.99},
            "the same next token at 198 of 200 places",
        ),
    ],
)
def test_the_sentence_names_what_was_compared(figures, said):
    figures |= {"float32": 1.0, "bundle": 0.75}
    assert verdict({"held_out": figures}) == f"answers as Keras does: {said}"
    assert verdict({}).endswith("every output is within the allowed error")


def test_a_long_export_says_before_it_starts_what_it_needs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(memory, "free_bytes", lambda: 2e9)
    announce(registry.recipe("gpt-small"), "gpt-small")
    assert capsys.readouterr().err.splitlines() == [
        "note: the weights are random; for those of hf://openai-community/gpt2: modelzoo build "
        "gpt-small --pretrained -o DIR, then modelzoo export DIR",
        "note: estimated from the number of parameters: about 2 min, 7.0 GB of memory, and only "
        "2.0 GB are free now",
    ]
    announce(registry.recipe("gpt-tiny"), "gpt-tiny")  # seconds
    (tmp_path / "model.keras").write_bytes(b"")
    announce(registry.recipe("bert-base"), str(tmp_path))  # of a directory, by its size
    assert capsys.readouterr().err == ""


def test_an_export_is_estimated_by_parameters_and_by_what_the_task_does(tmp_path):
    def told(name: str, **changes) -> Estimate | None:
        return estimate(registry.recipe(name, changes), name)

    measured = told("smollm2-135m")  # benchmarks/results/export.json: 143 s, 7.4 GiB
    assert measured.seconds == pytest.approx(143, rel=0.1)
    assert measured.memory == pytest.approx(7.4 * 2**30, rel=0.1)
    assert told("bert-base").seconds < told("gpt-small").seconds
    assert told("gpt-small", num_layers=2) is None  # how many parameters is not known
    with (tmp_path / "model.keras").open("wb") as file:
        file.truncate(4 * 124_439_808)
    recipe = registry.recipe("gpt-small")
    assert estimate(recipe, tmp_path) == estimate(recipe, "gpt-small")
    assert str(Estimate(44, 1.44e9)) == "about 40 s, 1.4 GB of memory"


@pytest.mark.parametrize("model", ["runs/gpt", "runs/gpt/", "acme/gpt", "."])
def test_the_bundle_is_named_after_the_model(recorded, monkeypatch, tmp_path, model):
    (tmp_path / "gpt").mkdir()
    monkeypatch.chdir(tmp_path / "gpt")
    assert cli.main(["export", model]) == 0
    assert recorded[0][0][1] == "gpt.bundle"


def test_help_of_set_names_what_export_takes(capsys):
    assert cli.main(["export", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--set KEY=VALUE export.max_length=256" in out and "train.learning_rate" not in out
    assert "litertlm" in out


def test_format_and_precision_go_through(recorded):
    cli.main(["export", "d", "-o", "b", "--format", "savedmodel", "--quantize", "float32"])
    assert recorded[0][0] == ("d", "b", "savedmodel", "float32")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["export"], "the following arguments are required: DIR|NAME"),
        (["export", "gpt-tiny", "--format", "onnx"], "--format: 'onnx' is not a format\n"),
        (["export", "gpt-tinny", "-o", "b"], "did you mean: gpt-tiny?"),
        (["export", "gpt-tiny", "-o", "b", "--quantize", "flaot16"], "did you mean: float16?"),
        (["export", "gpt-tiny", "-o", "b", "--format", "tflit"], "did you mean: tflite?"),
        (["verify", "nothing"], "no such bundle: nothing"),
    ],
)
def test_a_users_error_is_one_message(monkeypatch, tmp_path, capsys, line, said):
    monkeypatch.chdir(tmp_path)
    assert cli.main(line) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from modelzoo import cli; cli.main(['export', '--help']);"
        "cli.main(['verify', '--help']);"
        "assert not {'numpy', 'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("examples:") == 2


def test_the_function_is_the_module():
    assert callable(modelzoo.export)
    assert modelzoo.export is export
