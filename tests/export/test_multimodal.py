"""Bundles that write about a text, alone or with an image or a video: as Keras does."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo
from modelzoo import cli
from modelzoo.errors import DataError, ModelzooError
from modelzoo.exporting.process import child
from modelzoo.runtime import load
from modelzoo.tasks.shared.bundle_model import BundleModel
from tests import multimodals
from tests.multimodals import film

pytestmark = pytest.mark.slow

JOBS = {
    "float32": {"format": "tflite", "quantize": "float32"},
    "int8": {"format": "tflite", "quantize": "int8"},
    "saved": {"format": "savedmodel", "quantize": "float32"},
}
IMAGE, VIDEO = film(1)[0], film(7)
SOURCES = ["red", {"text": "say:", "image": IMAGE}, {"text": "no", "video": VIDEO}]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The Keras model, its directory, and name -> (its bundle, the child's answer)."""
    folder, model = tmp_path_factory.mktemp("multimodal"), multimodals.model()
    modelzoo.save(model, folder / "model")
    jobs = []
    for name, how in JOBS.items():
        (folder / name).mkdir()
        job = {"job": "export", "model": str(folder / "model"), "name": name, **how}
        options = {"prefill_lengths": [4], "score_lengths": [4]}
        jobs.append({**job, "folder": str(folder / name), "options": options})
    found = {}
    for name, answer in zip(JOBS, child.run_all(jobs), strict=True):
        if isinstance(answer, Exception):
            raise answer
        found[name] = (load(folder / name), answer)
    return model, folder, found


@pytest.mark.parametrize("name", ["float32", "saved"])
def test_every_encoder_and_generation_after_it_are_keras(exported, name):
    parity = exported[2][name][1]["parity"]
    assert {"encode", "encode_image", "encode_video", "decode"} <= set(parity["signatures"])
    for signature, outputs in parity["signatures"].items():
        for key, figures in outputs.items():
            assert figures["max_abs_error"] < 2e-5, (signature, key)
    for generation in (parity[f"generation{kind}"] for kind in ("", "_image", "_video")):
        assert generation["decode"]["max_abs_error"] < 2e-5
        greedy = generation["greedy"]
        assert greedy["compared"] > 5 and greedy["equal"] == greedy["compared"] - greedy["ties"]


@pytest.mark.parametrize("name", ["float32", "saved"])
def test_one_bundle_writes_scores_and_ranks_as_keras_does(exported, name):
    model, _, bundles = exported
    bundle = bundles[name][0]
    assert set(bundle.abilities) == {"generate", "caption", "score"}
    right = model.generate(SOURCES, max_new_tokens=5)
    assert bundle.generate(SOURCES, max_new_tokens=5) == right
    assert "".join(bundle.generate(SOURCES[1], stream=True, max_new_tokens=5)) == right[1]
    assert bundle.caption(IMAGE, max_new_tokens=5) == right[1]  # "say:" is the recipe's prompt
    assert bundle.caption(VIDEO, "no", kind="video", max_new_tokens=5) == right[2]
    for source in SOURCES:
        wanted, found = (one.score("yes", given=source).total for one in (model, bundle))
        assert found == pytest.approx(wanted, abs=1e-4)
        wanted, found = (dict(one.rank(source, ["yes", "no"])) for one in (model, bundle))
        assert found == pytest.approx(wanted, abs=1e-4)


def test_a_video_of_one_frame_is_an_image(exported):
    bundle = exported[2]["float32"][0]
    still = {"text": "say:", "video": IMAGE[None]}
    assert bundle.score("yes", given=still) == bundle.score("yes", given=SOURCES[1])


def test_batches_are_answered_as_keras_answers_them(exported):
    model, _, bundles = exported
    bundle = BundleModel(bundles["float32"][0], model.recipe)
    for frames in (0, 1, multimodals.FRAMES):
        x = {**multimodals.inputs(frames=frames), "decoder_padding_mask": np.ones((2, 4), "int32")}
        np.testing.assert_allclose(bundle(x), model(x), atol=1e-4)


def test_eight_bits_are_near_and_small(exported):
    model, _, bundles = exported
    bundle, answer = bundles["int8"]
    assert answer["parity"]["bytes"] < bundles["float32"][1]["parity"]["bytes"]
    for source in SOURCES:
        wanted, found = (one.score("yes no", given=source).total for one in (model, bundle))
        assert found == pytest.approx(wanted, abs=0.3)


def test_the_bundle_says_how_it_is_driven(exported):
    bundle, answer = exported[2]["float32"]
    processing = answer["manifest"]["processing"]
    assert processing["caption_prompt"] == "say:" and processing["video"]["num_frames"] == 3
    text = (bundle.bundle.directory / "README.md").read_text(encoding="utf-8")
    assert "`encode_image` and `encode_video` read an image or a video before the source" in text


def test_the_command_line_reads_a_text_with_an_image_or_a_video(exported, tmp_path, capsys):
    from PIL import Image

    model, folder, _ = exported
    Image.fromarray(IMAGE).save(tmp_path / "one.png")
    (tmp_path / "film").mkdir()
    for number, frame in enumerate(VIDEO):
        Image.fromarray(frame).save(tmp_path / "film" / f"{number}.png")
    right = model.generate(SOURCES, max_new_tokens=5)
    media = ([], ["--image", str(tmp_path / "one.png")], ["--video", str(tmp_path / "film")])
    for text, words, wanted in zip(("red", "say:", "no"), media, right, strict=True):
        for place in ("float32", "model"):
            line = ["run", str(folder / place), text, *words, "--max-new-tokens", "5", "--json"]
            assert cli.main(line) == 0
            assert json.loads(capsys.readouterr().out)["output"] == wanted
    line = ["run", str(folder / "float32"), str(tmp_path / "one.png"), "--max-new-tokens", "5"]
    assert cli.main(line) == 0
    assert capsys.readouterr().out == right[1] + "\n"
    line = ["run", str(folder / "float32"), "say:", *media[1], "--choices", "yes,no", "--json"]
    assert cli.main(line) == 0
    ranked = model.rank(SOURCES[1], ["yes", "no"])
    assert [one for one, _ in ranked] == [
        one["token"] if "token" in one else one["label"]
        for one in json.loads(capsys.readouterr().out)["labels"]
    ]


def test_bad_input_is_refused_and_the_bundle_goes_on(exported, tmp_path, capsys):
    _, folder, bundles = exported
    bundle = bundles["float32"][0]
    with pytest.raises(DataError, match="frames; 10,000 are the most"):
        bundle.generate({"text": "no", "video": np.zeros((10_001, 2, 2, 3), "uint8")})
    with pytest.raises(DataError, match="cannot be read|not an image"):
        bundle.generate({"text": "no", "image": b"\x89PNG\r\n\x1a\n"})
    with pytest.raises(ModelzooError, match="a source has no 'picture'"):
        bundle.generate({"text": "no", "picture": IMAGE})
    with pytest.raises(ModelzooError, match="shape"):
        bundle.engine.stepper({"images": IMAGE[None], "token_ids": 0, "padding_mask": 0})
    for words, said in (
        (["--image", "a.png", "--video", "b"], "no such file: a.png"),
        (["--image", __file__, "--video", __file__], "do not go together"),
    ):
        assert cli.main(["run", str(folder / "float32"), "no", *words]) != 0
        assert said in capsys.readouterr().err
    assert isinstance(bundle.generate("red", max_new_tokens=2), str)
