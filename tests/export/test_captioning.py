"""Bundles that write about images: as Keras does, from file, bytes or array."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo
from modelzoo.errors import DataError, ModelzooError, OverflowTextError
from modelzoo.exporting.process import child
from modelzoo.runtime import load
from tests import captioners
from tests.captioners import images

pytestmark = pytest.mark.slow

# name -> fusion, task options, export job
JOBS = {
    "cross": ("cross-attention", {}, {"prefill_lengths": [4]}, {}),
    "prefix": ("prefix", {}, {"prefill_lengths": [4], "windows": [21]}, {}),
    "in text": ("prefix in text", {"template": "<s>a{image}<s>{prompt}</s>"}, {}, {}),
    "saved": ("prefix", {}, {"prefill_lengths": [4]}, {"format": "savedmodel"}),
    "int8": ("cross-attention", {}, {"prefill_lengths": [4]}, {"quantize": "int8"}),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """name -> (the Keras model, its bundle, the child's answer)."""
    folder, jobs, models = tmp_path_factory.mktemp("captions"), [], {}
    for name, (fusion, task_options, options, changes) in JOBS.items():
        models[name] = captioners.model(fusion, task_options)
        modelzoo.save(models[name], folder / f"{name}.model")
        (folder / name).mkdir()
        job = {"job": "export", "model": str(folder / f"{name}.model"), "name": name}
        job |= {"folder": str(folder / name), "format": "tflite", "quantize": "float32"}
        jobs.append({**job, "options": options, **changes})
    found = {}
    for (name, model), answer in zip(models.items(), child.run_all(jobs), strict=True):
        if isinstance(answer, Exception):
            raise answer
        found[name] = (model, load(folder / name), answer)
    return found


@pytest.mark.parametrize("name", ["cross", "prefix", "in text", "saved"])
def test_every_signature_and_generation_through_the_state_are_keras(bundles, name):
    parity = bundles[name][2]["parity"]
    for signature, outputs in parity["signatures"].items():
        for key, figures in outputs.items():
            assert figures["max_abs_error"] < 2e-5, (signature, key)
    generation = parity["generation"]
    for key in ("decode", "prefill"):
        assert generation[key]["max_abs_error"] < 2e-5
    greedy = generation["greedy"]
    assert greedy["compared"] > 10 and greedy["equal"] == greedy["compared"] - greedy["ties"]


@pytest.mark.parametrize("name", ["cross", "prefix", "in text", "saved"])
def test_the_bundle_says_of_images_what_keras_says(bundles, name, tmp_path):
    from PIL import Image

    model, bundle, _ = bundles[name]
    assert bundle.abilities == ("caption",)
    several = list(images(2, seed=4))
    for prompt in (None, "is it red?"):
        right = model.caption(several, prompt, max_new_tokens=6)
        assert bundle.caption(several, prompt, max_new_tokens=6) == right
    Image.fromarray(several[0]).save(tmp_path / "one.png")
    for source in (tmp_path / "one.png", (tmp_path / "one.png").read_bytes()):
        assert bundle.caption(source, "is it red?", max_new_tokens=6) == right[0]
    pieces = bundle.caption(several[1], "is it red?", stream=True, max_new_tokens=6)
    assert "".join(pieces) == right[1]


def test_an_image_goes_into_a_small_cache_and_its_text_on_into_a_large_one(bundles):
    model, bundle, answer = bundles["prefix"]
    names = list(answer["manifest"]["signatures"])
    assert {"prefill_image_21", "decode_21", "decode"} <= set(names)
    assert "prefill_image" not in names
    image = images(1)[0]
    long = model.caption(image, max_new_tokens=None)
    assert bundle.caption(image, max_new_tokens=None) == long
    stepper = bundle.engine.stepper()
    stepper.prefill_image(image[None], np.arange(4, dtype=np.int32)[None])
    assert stepper.window.slots == 21 and stepper.kept == 4
    for place in range(4, 24):
        stepper.decode(np.array([[5]], np.int32), np.array([[place]], np.int32))
    assert stepper.window.slots == 24


def test_a_prompt_that_ends_with_the_window_leaves_the_image_alone(bundles):
    model, bundle, _ = bundles["prefix"]
    image, word = images(1)[0], " square"
    count = len(model.tokenizer.encode(word))
    prompt = word * ((24 - 5) // count)
    right = model.caption(image, prompt, max_new_tokens=1)
    assert bundle.caption(image, prompt, max_new_tokens=1) == right


def test_eight_bits_are_near_and_small(bundles):
    _, bundle, answer = bundles["int8"]
    held_out = answer["parity"]["held_out"]
    assert held_out["metric"] == "perplexity" and abs(held_out["change"]) < 0.03
    small = answer["parity"]["bytes"]
    assert small < bundles["cross"][2]["parity"]["bytes"]
    assert isinstance(bundle.caption(images(1)[0], max_new_tokens=3), str)


def test_the_manifest_says_how_an_image_and_a_prompt_become_inputs(bundles):
    model, bundle, answer = bundles["in text"]
    processing = answer["manifest"]["processing"]
    assert processing == json.loads(json.dumps(model.processing()))
    assert processing["caption"]["image_tokens"] == 4 and processing["caption"]["in_text"]
    text = (bundle.bundle.directory / "README.md").read_text(encoding="utf-8")
    assert "writes the image into the state, at 4 consecutive `positions` from 2 on" in text
    assert "model.caption(" in text


def test_bad_input_is_refused_and_the_bundle_goes_on(bundles):
    _, bundle, _ = bundles["prefix"]
    image = images(1)[0]
    with pytest.raises(OverflowTextError, match="and the model's window 24"):
        bundle.caption(image, "is it red? " * 9)
    with pytest.raises(DataError):
        bundle.caption(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ModelzooError, match="no `?generate|cannot `generate`"):
        bundle.generate("In the beginning")
    with pytest.raises(ModelzooError, match="reads no image at positions 22 to 25"):
        stepper = bundle.engine.stepper()
        stepper.prefill_image(image[None], np.arange(22, 26, dtype=np.int32)[None])
    with pytest.raises(ModelzooError, match="shape"):
        bundle.engine.stepper().prefill_image(image, np.arange(4, dtype=np.int32)[None])
    assert isinstance(bundle.caption(image, max_new_tokens=2), str)
