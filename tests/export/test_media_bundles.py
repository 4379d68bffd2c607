"""Models of pictures and sounds on a device: answers, figures, README."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.errors import DataError
from modelzoo.exporting.bundle.readme_media import media_lines, media_sizes
from modelzoo.exporting.formats.tflite_programs import others
from modelzoo.exporting.verification.probe_media import altered, picture, scene_inputs, sound
from modelzoo.exporting.verification.quality import complaint
from modelzoo.exporting.verification.quality_media import agreement
from modelzoo.recipe import Recipe
from modelzoo.runtime import load
from modelzoo.signature import TensorSpec
from tests import media
from tests.backbones.test_hearing import WAV2VEC2
from tests.plugin_site import ROOT
from tests.tasks.test_media_classification import AST

LABELS = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return media.photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def model(folder):
    keras.utils.set_random_seed(0)
    built = modelzoo.build(media.vit_recipe(LABELS))
    built.fit(modelzoo.dataset(built, folder), epochs=12, verbose=0, shuffle=False)
    return built


@pytest.fixture(scope="module")
def bundles(model, tmp_path_factory):
    """precision -> the bundle's directory."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {}
    for precision in ("float32", "int8"):
        path = folder / f"{precision}.bundle"
        modelzoo.export(
            model,
            path,
            format="tflite",
            quantize=precision,
            batch_sizes=(4,) if precision == "int8" else (),
        )
        found[precision] = path
    return found


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_bundle_answers_as_keras_does_from_files(model, bundles, folder, precision):
    bundle, paths = load(bundles[precision]), sorted(folder.rglob("*.png"))
    assert bundle.abilities == ("classify", "embed_image")
    atol = 1e-5 if precision == "float32" else 0.02
    for right, found in zip(model.classify(paths), bundle.classify(paths), strict=True):
        assert right[0][0] == found[0][0]
        assert dict(found) == pytest.approx(dict(right), abs=atol)
    cosines = (model.embed_image(paths) * bundle.embed_image(paths)).sum(axis=1)
    assert cosines.min() > (0.99999 if precision == "float32" else 0.99)


def test_a_bad_file_is_an_error_on_a_device_too(bundles, tmp_path):
    bundle = load(bundles["float32"])
    for content in (b"", b"\x89PNG\r\n\x1a\n", b"nothing at all"):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(DataError) as error:
            bundle.classify(tmp_path / "bad.png")
        assert "bad.png" in str(error.value)


def test_the_command_line_runs_a_bundle(bundles, folder, capsys):
    from modelzoo.cli import main

    assert main(["run", str(bundles["float32"]), str(folder / "red" / "0.png"), "--top", "1"]) == 0
    assert capsys.readouterr().out.split()[1] == "red"


def test_quantization_is_held_against_float32_on_pictures(bundles):
    parity = json.loads((bundles["int8"] / "parity.json").read_text())
    held_out = parity["held_out"]
    metrics = {held_out["metric"], *(other["metric"] for other in held_out["others"])}
    assert metrics == {"label_agreement", "recall@1"}
    assert held_out["of"] == "pictures" and held_out["allowed"] < 0
    assert held_out["change"] <= held_out["others"][0]["change"]
    assert complaint(held_out) is None


def test_ties_do_not_count_as_disagreement():
    sure, torn = [("a", 0.9), ("b", 0.1)], [("a", 0.505), ("b", 0.495)]
    other = [("b", 0.6), ("a", 0.4)]
    assert next(agreement([sure, torn], [other, other]))["bundle"] == 0.0
    assert next(agreement([sure, torn], [sure, other]))["bundle"] == 1.0
    assert not list(agreement([torn], [other])), "nothing was compared, and that is no agreement"


# === README ===


def test_the_readme_says_what_goes_in(bundles):
    text = (bundles["int8"] / "README.md").read_text()
    assert "gives an image one of its labels" in text
    assert "images of 8 x 8 pixels" in text and "texts of any length" not in text
    assert "RGB, a byte for each channel" in text and "token_ids" not in text
    assert "On pictures made for the test, label_agreement" in text
    assert "`serve_x4`" in text


def test_its_python_programs_run(bundles):
    text = (bundles["float32"] / "README.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(programs) == 2
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=bundles["float32"],
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert any(word in done.stdout for word in (*LABELS, "logits"))


def test_programs_of_other_languages_write_bytes(bundles):
    manifest = load(bundles["float32"]).manifest
    code = others(manifest)
    for line in (
        "writeInt8(ByteArray(192))",
        "[UInt8](repeating: 0, count: 192)",
        "Write<uint8_t>",
        "new Uint8Array(192)",
        "put your pixels in",
    ):
        assert line in code


def test_sounds_videos_and_towers_are_described():
    audio = {"sample_rate": 16_000, "num_samples": 160_000, "padding": "zeros"}
    processing = {
        "image": {**media.IMAGE, "resize": "crop", "resize_to": 9},
        "audio": audio,
        "video": {"num_frames": 4},
        "contrastive": {"loss": "sigmoid", "scales": {"image-text": 14.5}, "bias": -10.0},
    }
    assert list(media_sizes(processing)) == ["4 frames of 8 x 8 pixels", "10 s of sound"]
    outputs = {"embedding": {}}
    signatures = {
        "encode_video": {"inputs": {"frames": {}}, "outputs": outputs},
        "encode_audio": {"inputs": {"audio": {}, "num_samples": {}}, "outputs": outputs},
    }
    text = "\n".join(media_lines(signatures, processing))
    for words in (
        "`frames` are images RGB",
        "first to a shorter side of 9",
        "160,000 samples between -1 and 1",
        "`num_samples` says",
        "has length 1",
        "the sigmoid of the cosines times a scale (image-text 14.5), plus -10",
    ):
        assert words in text


# === Scenes ===


def test_scenes_are_the_same_on_every_machine_and_differ_from_each_other():
    assert len({picture(n, 16, 16).tobytes() for n in range(40)}) == 40
    np.testing.assert_array_equal(picture(7, 16, 16), picture(7, 16, 16))
    assert np.abs(sound(3, 4000)).max() <= 1 and sound(3, 4000).std() > 0.01
    for scene in (picture(1, 32, 32), sound(1, 4000)):
        again = altered(scene, 1)
        assert again.shape == scene.shape and again.dtype == scene.dtype
        assert (again != scene).mean() > 0.5
    inputs = {
        "images": TensorSpec((2, 8, 8, 3), "uint8"),
        "frames": TensorSpec((1, 3, 8, 8, 3), "uint8"),
        "audio": TensorSpec((1, 400)),
        "token_ids": TensorSpec((1, 5), "int32"),
    }
    found = scene_inputs(inputs, {"audio": {"sample_rate": 8000}}, 0)
    assert {key: value.shape for key, value in found.items()} == {
        key: spec.shape for key, spec in inputs.items() if key != "token_ids"
    }


# === Sounds ===

WAVE = {key: list(v) if isinstance(v, tuple) else v for key, v in WAV2VEC2.items()}
WAVE = {**WAVE, "num_samples": 4000}


@pytest.mark.parametrize(
    ("architecture", "sizes", "options"),
    [
        ("ast", AST, {"norm_epsilon": 1e-5}),
        ("wav2vec2", WAVE, {"projection_dim": 6}),
    ],
)
def test_a_classifier_of_sounds_becomes_a_bundle(architecture, sizes, options, tmp_path):
    values = {
        "architecture": architecture,
        "task": "audio-classification",
        "model": sizes,
        "task_options": {"labels": ["high", "low"], **options},
    }
    model = modelzoo.build(Recipe("sound-test", values, "a test"))
    modelzoo.export(model, tmp_path / "a.bundle", format="tflite", quantize="int8")
    bundle = load(tmp_path / "a.bundle")
    assert bundle.abilities == ("classify", "embed_audio")
    path = media.write_sound(tmp_path / "a.wav", media.tone(700, 0.2, 22_050), 22_050)
    assert dict(bundle.classify(path)) == pytest.approx(dict(model.classify(path)), abs=0.02)
    cosine = bundle.embed_audio(path) @ model.embed_audio(path)
    assert cosine > 0.99
