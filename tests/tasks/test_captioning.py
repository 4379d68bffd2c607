"""Models that write about images: training, generation, figures, saving, signatures."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import modelzoo
from modelzoo import registry
from modelzoo.errors import ModelzooError, RecipeError, TokenizerError
from modelzoo.recipe.train_options import train_options
from modelzoo.registry.of_recipe import recipe_of, task_of
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.sampling import Sampling
from tests import captioners
from tests.captioners import ASKED, CAPTIONED, COLOURS, FUSIONS, IMAGE, images, picture
from tests.core import assert_near, number
from tests.plugin_site import ROOT

TEMPLATE = "<s>a{image}<s>{prompt}</s>"  # text before the image


def model(fusion: str, **options):
    template = TEMPLATE if fusion == "prefix in text" else None
    return captioners.model(fusion, {"template": template} if template else None, **options)


def batches_of(built, examples, **options):
    task = task_of(recipe_of(built))
    options = {**task.batch_options(built, train_options(built.recipe)), **options}
    return task.batches(examples, built.tokenizer, batch_size=6, **options)


# === Generation ===


@pytest.mark.parametrize("fusion", FUSIONS)
def test_greedy_text_is_what_the_full_pass_finds_likeliest_token_by_token(fusion):
    built = model(fusion)
    frame = built.processing()["caption"]
    for picture_ in images(2, seed=5):
        tokens = []
        prompt = [*frame["before"], *frame["between"], *frame["after"]]
        if frame["in_text"]:
            place = [frame["image_token"]] * frame["image_tokens"]
            prompt = [*frame["before"], *place, *frame["between"], *frame["after"]]
        for _ in range(5):
            inputs = {
                "images": picture_[None],
                "token_ids": np.array([prompt + tokens], "int32"),
            }
            tokens.append(int(number(built(inputs))[0, -1].argmax()))
        stops = built.tokenizer.stop_tokens
        tokens = tokens[: next((n for n, t in enumerate(tokens) if t in stops), len(tokens))]
        assert built.caption(picture_, max_new_tokens=5) == built.tokenizer.decode(tokens)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_batch_of_images_gives_what_each_gives_alone(fusion):
    built, several = model(fusion), images(3, seed=2)
    prompts = ["is it red?", "a", None]
    together = built.caption(several, prompts, max_new_tokens=4)
    alone = [built.caption(i, p, max_new_tokens=4) for i, p in zip(several, prompts, strict=True)]
    assert together == alone
    assert "".join(built.caption(several[0], prompts[0], stream=True, max_new_tokens=4)) == alone[0]


def test_a_window_that_the_image_fills_almost_leaves_room_for_what_fits():
    decoder = {**captioners.DECODER, "model": {**captioners.DECODER["model"], "max_length": 10}}
    built = model("prefix", decoder=decoder)
    image = images(1)[0]
    stepper = built.stepper(image[None], [[1] * 9], Sampling())
    assert len(list(generate_tokens(stepper, [[1] * 9], Sampling()))) == 2
    with pytest.raises(ModelzooError, match="have 11 tokens, and the model's window 10"):
        built.caption(image, built.tokenizer.decode(built.tokenizer.encode("is it red?")[:1] * 6))


def test_without_a_tokenizer_there_is_no_caption():
    built = modelzoo.build(captioners.recipe("prefix"))
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        built.caption(images(1)[0])
    assert set(built.processing()) == {"image"}


# === Training ===


@pytest.fixture(scope="module", params=["cross-attention", "prefix"])
def trained(request):
    """A model that was fitted to three captions, and what it scored before."""
    keras.utils.set_random_seed(1)
    built = modelzoo.build(captioners.recipe(request.param))
    data = modelzoo.dataset(built, CAPTIONED)
    before = modelzoo.evaluate(built, CAPTIONED)
    built.fit(data, epochs=60, verbose=0)
    return built, before


def test_a_trained_model_says_what_it_sees(trained):
    built, before = trained
    assert built.caption([picture(c) for c in COLOURS], max_new_tokens=12) == [
        f"a {colour} square" for colour in COLOURS
    ]
    after = modelzoo.evaluate(built, CAPTIONED)
    assert before["exact_match"] == 0 and after["exact_match"] == 1
    assert after["loss"] < 0.2 < before["loss"] and after["accuracy"] == 1


def test_exact_match_counts_the_texts_that_generation_writes_to_the_letter(trained):
    built, _ = trained
    mixed = [*CAPTIONED[:3], {"image": picture("red"), "text": "a green square"}]
    scores = modelzoo.evaluate(built, mixed)
    said = built.caption([one["image"] for one in mixed])
    right = np.mean([a == one["text"] for a, one in zip(said, mixed, strict=True)])
    assert scores["exact_match"] == right == 0.75
    assert scores["perplexity"] == pytest.approx(np.exp(scores["loss"]))


def test_figures_are_the_same_whatever_the_batches(trained):
    built, _ = trained
    wanted = modelzoo.evaluate(built, CAPTIONED[:7], batch_size=7)
    found = modelzoo.evaluate(built, CAPTIONED[:7], batch_size=5)  # the last one with a gap
    assert found == pytest.approx(wanted, rel=1e-4)


def test_the_loss_is_that_of_the_answer_alone():
    built = model("prefix")
    task = task_of(built.recipe)
    batch = batches_of(built, ASKED[:3], shuffle=False).evaluation_batch(0)
    x, y, weight = batch
    logits = number(built(x))
    nll = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, y[..., None], -1)[..., 0]
    found = task.evaluate(built, batches_of(built, ASKED[:3], shuffle=False))
    assert found["loss"] == pytest.approx((nll * weight).sum() / weight.sum(), rel=1e-4)
    assert (
        found["tokens"]
        == weight.sum()
        == sum(len(built.tokenizer.encode(one["answer"])) + 1 for one in ASKED[:3])
    )


def test_a_prefix_leaves_its_positions_out_of_the_length_of_a_text():
    options = train_options(captioners.recipe("prefix", None))
    task = registry.task("captioning")()
    assert task.batch_options(model("prefix"), options, 24)["length"] == 20
    assert task.batch_options(model("prefix in text"), options, 24)["length"] == 24
    assert task.batch_options(model("cross-attention"), options, 24)["length"] == 24


# === Saving ===


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_directory_keeps_words_weights_and_what_is_frozen(fusion, tmp_path):
    built = model(fusion, image={**IMAGE, "frozen": True})
    modelzoo.save(built, tmp_path / "model")
    again = modelzoo.load(tmp_path / "model")
    assert again.processing() == built.processing()
    assert not again.backbone.image.trainable
    assert len(again.trainable_variables) == len(built.trainable_variables)
    image = images(1)[0]
    assert again.caption(image, max_new_tokens=4) == built.caption(image, max_new_tokens=4)


def test_an_image_part_takes_the_weights_of_a_model_of_its_own(tmp_path):
    tower = captioners.model("cross-attention", seed=9).backbone.image
    whole = captioners.model("cross-attention", seed=9)
    modelzoo.save(whole, tmp_path / "other")
    built = modelzoo.build(captioners.recipe("cross-attention"), weights=tmp_path / "other")
    for one, other in zip(built.backbone.image.weights, tower.weights, strict=True):
        np.testing.assert_array_equal(number(one), number(other))


# === On a device ===


def test_a_captioner_encodes_once_and_a_prefix_is_written_into_the_smallest_cache():
    cross = model("cross-attention").export_signatures(prefill_lengths=(4,))
    assert list(cross) == ["encode", "prefill_4", "decode", "verify_4"]
    assert cross["encode"].inputs["images"].shape == (1, 16, 16, 3)
    assert cross["encode"].inputs["images"].dtype == "uint8"
    assert cross["decode"].inputs["cross_k_1"].shape == (1, 2, 16, 8)
    decoder = {**captioners.DECODER, "model": {**captioners.DECODER["model"], "max_length": 64}}
    prefix = model("prefix", decoder=decoder).export_signatures(
        windows=(8, 32), prefill_lengths=(4,)
    )
    # An image of 4 tokens in 8 slots leaves too little room for text.
    window = ["prefill_image_32", "prefill_4_32", "decode_32", "verify_4_32"]
    assert list(prefix) == [*window, "prefill_4", "decode", "verify_4"]
    assert prefix["prefill_image_32"].inputs["positions"].shape == (1, 4)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_signatures_give_the_logits_of_the_full_pass(fusion):
    built, image = model(fusion), images(1)
    signatures = built.export_signatures(prefill_lengths=(2,))
    decode = signatures["decode"].inputs
    state = {k: ops.zeros(v.shape) for k, v in decode.items() if k.startswith("kv_cache")}
    ids, start, context = np.array([[5, 9, 4]], "int32"), 0, {}
    if fusion == "cross-attention":
        context = signatures["encode"].function({"images": ops.convert_to_tensor(image)})
    else:
        start = built.backbone.image_tokens
        where = ops.convert_to_tensor(np.arange(start, dtype="int32")[None])
        given = {"images": ops.convert_to_tensor(image), "positions": where, **state}
        state = signatures["prefill_image"].function(given)

    def call(name, first, last):
        where = np.arange(start + first, start + last, dtype="int32")[None]
        inputs = {"token_ids": ids[:, first:last], "positions": where}
        inputs = {key: ops.convert_to_tensor(value) for key, value in inputs.items()}
        return signatures[name].function({**inputs, **context, **state})

    state = call("prefill_2", 0, 2)
    logits = number(call("decode", 2, 3)["logits"])[:, -1]
    if fusion == "prefix in text":
        ids = np.concatenate([np.full((1, start), 7, "int32"), ids], axis=1)
    assert_near(logits, number(built({"images": image, "token_ids": ids}))[:, -1])


# === What cannot be ===


def test_a_backbone_that_sees_nothing_is_no_captioner():
    values = {"architecture": "gpt", "task": "captioning", "model": captioners.DECODER["model"]}
    from modelzoo.recipe import from_values

    with pytest.raises(ModelzooError, match="captioning needs a backbone with image_tokens"):
        modelzoo.build(from_values(values, name="blind"))


def test_a_misspelt_augmentation_is_refused_before_the_first_batch():
    with pytest.raises(RecipeError, match="augment has no 'cropp'"):
        captioners.model("prefix", {"augment": {"cropp": 0.5}})


# === JAX ===

_ON_JAX = """
import numpy as np
from tests import captioners
from tests.captioners import CAPTIONED, images
import modelzoo
for fusion in captioners.FUSIONS:
    built = captioners.model(fusion)
    ids = np.array([[7, 7, 7, 7, 3, 5, 9]], "int32")
    logits = np.asarray(built({"images": images(1), "token_ids": ids}))
    print("logits", *(f"{v:.4f}" for v in logits[0, -1, :8]))
    print("caption", built.caption(images(2), max_new_tokens=3))
    print("loss", f"{modelzoo.evaluate(built, CAPTIONED[:3])['loss']:.4f}")
    built.fit(modelzoo.dataset(built, CAPTIONED), epochs=1, verbose=0)
"""


@pytest.mark.slow
def test_on_jax_both_fusions_give_the_numbers_of_tensorflow():
    pytest.importorskip("jax")
    said = {}
    for backend in ("tensorflow", "jax"):
        child = subprocess.run(
            [sys.executable, "-c", _ON_JAX],
            env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert child.returncode == 0, child.stderr[-3000:]
        said[backend] = child.stdout.splitlines()
    assert len(said["jax"]) == 9
    for one, other in zip(said["tensorflow"], said["jax"], strict=True):
        if one.startswith("caption"):
            assert one == other
        else:
            values = (np.array(line.split()[1:], float) for line in (one, other))
            np.testing.assert_allclose(*values, atol=2e-3, rtol=1e-3)
