"""Vision towers against `transformers`, from pixels on, and images against its processors.

Nothing is downloaded: `transformers` makes small models with seeded random weights.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pillow = pytest.importorskip("PIL.Image")

import modelzoo  # noqa: E402
from modelzoo.runtime.media.images import prepare_image  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import assert_close  # noqa: E402

pytestmark = pytest.mark.real

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth waves and some noise, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + c) + rng.normal()) * np.cos(y / (7 + c)) for c in range(3)]
    noise = rng.normal(0, 10, (height, width, 3))
    return (127 + 90 * np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)


PICTURES = [picture(57, 83, 1), picture(90, 40, 2), picture(20, 24, 3), picture(32, 32, 4)]


def seeded(model):
    """Every weight with a value of its own, so that no bias is zero and no gain one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            centre = parameter.mean() if parameter.ndim == 1 else 0.0
            parameter.copy_(centre + 0.1 * noise)
    return model.eval()


def saved(model, processor, folder):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def pixels(processor, images):
    images = [pillow.fromarray(image) for image in images]
    return torch.from_numpy(np.stack(processor(images)["pixel_values"]))


def prepared(model, images) -> np.ndarray:
    return np.stack([prepare_image(image, model.processing()["image"]) for image in images])


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    labels = {i: f"label {i}" for i in range(5)}
    config = transformers.ViTConfig(**SIZES, id2label=labels, label2id={})
    theirs = seeded(transformers.ViTForImageClassification(config))
    processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
    folder = saved(theirs, processor, tmp_path_factory.mktemp("vit"))
    return theirs, processor, modelzoo.build(folder, compile=False)


def test_a_vit_gives_the_logits_of_transformers_from_pictures_of_any_size(vit):
    theirs, processor, ours = vit
    with torch.no_grad():
        wanted = theirs(pixels(processor, PICTURES)).logits.numpy()
    got = number(ours(prepared(ours, PICTURES)))
    assert_close(theirs, got, wanted)
    assert ours.recipe.table("task_options")["labels"] == [f"label {i}" for i in range(5)]


def test_a_vit_written_here_is_read_by_transformers(vit, tmp_path):
    _, processor, ours = vit
    write_checkpoint(ours, tmp_path / "out")
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path / "out").eval()
    reader = transformers.ViTImageProcessorPil.from_pretrained(tmp_path / "out")
    np.testing.assert_array_equal(pixels(reader, PICTURES), pixels(processor, PICTURES))
    with torch.no_grad():
        wanted = again(pixels(reader, PICTURES)).logits.numpy()
    np.testing.assert_allclose(number(ours(prepared(ours, PICTURES))), wanted, atol=1e-4)
    assert again.config.id2label[4] == "label 4"


@pytest.mark.parametrize("size", [48, 24])
def test_an_image_of_another_size_takes_interpolated_positions(vit, tmp_path, size):
    theirs, processor, _ = vit
    folder = saved(theirs, processor, tmp_path)
    ours = modelzoo.build(folder, image_size=size, compile=False)
    reader = transformers.ViTImageProcessorPil(size={"height": size, "width": size})
    with torch.no_grad():
        given = pixels(reader, PICTURES)
        wanted = theirs(given, interpolate_pos_encoding=True).logits.numpy()
    np.testing.assert_allclose(number(ours(prepared(ours, PICTURES))), wanted, atol=1e-4)


# === Two towers ===

TEXT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "vocab_size": 50,
    "max_position_embeddings": 12,
}
IDS = np.random.default_rng(0).integers(1, 48, (4, 12))


def text_inputs(lengths, end: int, pad: int):
    """Ids (4, 12) that end with `end`, and their mask."""
    ids, mask = IDS.copy(), np.zeros((4, 12), np.int32)
    for row, length in enumerate(lengths):
        ids[row, length - 1], ids[row, length:] = end, pad
        mask[row, :length] = 1
    return ids.astype("int32"), mask


def unit(x) -> np.ndarray:
    x = x.detach().numpy()
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(scope="module", params=["clip", "clip cropped", "siglip"])
def towers(request, tmp_path_factory):
    if request.param == "siglip":
        text = {**TEXT, "hidden_size": 32, "num_attention_heads": 4, "projection_size": 32}
        config = transformers.SiglipConfig(text_config=text, vision_config=SIZES)
        theirs = transformers.SiglipModel(config)
        processor = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    else:
        shorter = 40 if "cropped" in request.param else 32
        text = {**TEXT, "eos_token_id": 49}
        config = transformers.CLIPConfig(text_config=text, vision_config=SIZES, projection_dim=20)
        theirs = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessorPil(
            size={"shortest_edge": shorter}, crop_size={"height": 32, "width": 32}
        )
    theirs = seeded(theirs)
    with torch.no_grad():
        theirs.logit_scale.fill_(1.7)
    folder = saved(theirs, processor, tmp_path_factory.mktemp("towers"))
    return request.param, theirs, processor, modelzoo.build(folder, compile=False)


def outputs_of(kind, theirs, processor) -> tuple[dict, dict]:
    """Inputs of ours; and vectors, logits and scale of theirs."""
    if kind == "siglip":  # reads padding too, and has no mask
        ids, mask = text_inputs([5, 12, 3, 8], 1, 1)
        given = {"input_ids": torch.from_numpy(ids).long()}
    else:
        ids, mask = text_inputs([5, 12, 3, 8], 49, 0)
        given = {
            "input_ids": torch.from_numpy(ids).long(),
            "attention_mask": torch.from_numpy(mask),
        }
    with torch.no_grad():
        found = theirs(pixel_values=pixels(processor, PICTURES), **given)
    wanted = {
        "image": unit(found.image_embeds),
        "text": unit(found.text_embeds),
        "logits": found.logits_per_image.numpy(),
    }
    return {"token_ids": ids, "padding_mask": mask}, wanted


def test_two_towers_give_the_vectors_and_logits_of_transformers(towers):
    kind, theirs, processor, ours = towers
    text, wanted = outputs_of(kind, theirs, processor)
    assert ours.count_params() == sum(p.numel() for p in theirs.parameters())
    found = ours.backbone({"images": prepared(ours, PICTURES), **text})
    for name in ("image", "text"):
        assert_close(theirs, number(found[name]), wanted[name], 1e-5)
    logits = number(found["logit_scale"]) * number(found["image"]) @ number(found["text"]).T
    logits = logits + (number(found["logit_bias"]) if "logit_bias" in found else 0.0)
    assert np.ptp(wanted["logits"]) > 0.1
    assert_close(theirs, logits, wanted["logits"])


def test_two_towers_take_larger_images_with_interpolated_positions(towers, tmp_path):
    _, theirs, processor, _ = towers
    folder = saved(theirs, processor, tmp_path)
    ours = modelzoo.build(folder, compile=False, **{"image.model.image_size": 40})
    images = np.stack([picture(40, 40, seed) for seed in range(4)])
    given = torch.from_numpy(images.transpose(0, 3, 1, 2) / 255).float()
    mean, std = (
        torch.tensor(v)[:, None, None] for v in (processor.image_mean, processor.image_std)
    )
    with torch.no_grad():
        seen = theirs.vision_model((given - mean) / std, interpolate_pos_encoding=True)
    found = number(ours.backbone.image(images)["pooled"])
    np.testing.assert_allclose(found, seen.pooler_output.numpy(), atol=1e-4)


def test_two_towers_written_here_are_read_by_transformers(towers, tmp_path):
    kind, theirs, processor, ours = towers
    write_checkpoint(ours, tmp_path / "out")
    again = type(theirs).from_pretrained(tmp_path / "out").eval()
    reader = type(processor).from_pretrained(tmp_path / "out")
    _, wanted = outputs_of(kind, theirs, processor)
    if kind != "siglip":
        again.text_model.eos_token_id = 49  # the model has no tokenizer that would say it
    _, got = outputs_of(kind, again, reader)
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-6)
