"""SmolVLM against `transformers`, from pixels to logits and to greedy text.

Nothing is downloaded: `transformers` makes a small model with seeded random weights.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.runtime.generation.loop import generate_tokens  # noqa: E402
from modelzoo.runtime.generation.sampling import Sampling  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import assert_close  # noqa: E402

pytestmark = pytest.mark.real

VOCAB, IMAGE_TOKEN, SIZE = 120, 7, 24
TEXT = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rope_theta": 100_000.0,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": 4,
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Their model, and ours of their files."""
    config = transformers.SmolVLMConfig(
        image_token_id=IMAGE_TOKEN,
        scale_factor=3,
        pad_token_id=0,
        text_config=TEXT,
        vision_config=VISION,
    )
    theirs = transformers.SmolVLMForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            centre = parameter.mean() if parameter.ndim == 1 else 0.0
            parameter.copy_(centre + 0.15 * torch.randn(parameter.shape, generator=generator))
    folder = tmp_path_factory.mktemp("smolvlm") / "theirs"
    theirs.save_pretrained(folder)
    return theirs, modelzoo.build(folder, compile=False)


def inputs(rows: int = 2, length: int = 12):
    """Images, and texts with the 4 tokens of an image behind the first two of their own."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (rows, SIZE, SIZE, 3)).astype("uint8")
    ids = rng.integers(8, VOCAB, (rows, length)).astype("int32")
    ids[:, 2:6] = IMAGE_TOKEN
    return images, ids


def their_pixels(images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)[:, None].float() / 255
    return (pixels - 0.5) / 0.5


def test_pixels_and_text_give_their_logits(pair):
    theirs, ours = pair
    images, ids = inputs()
    with torch.no_grad():
        right = theirs(input_ids=torch.from_numpy(ids).long(), pixel_values=their_pixels(images))
    found = number(ours({"images": images, "token_ids": ids}))
    assert ours.count_params() == sum(p.numel() for p in theirs.parameters())
    assert np.abs(right.logits.numpy()).max() > 1
    assert_close(theirs, found, right.logits.numpy())


def test_greedy_text_behind_an_image_is_theirs(pair):
    theirs, ours = pair
    images, ids = inputs(rows=1, length=9)
    with torch.no_grad():
        right = theirs.generate(
            input_ids=torch.from_numpy(ids).long(),
            pixel_values=their_pixels(images),
            attention_mask=torch.ones(1, 9, dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
        )[0, 9:].tolist()
    prompt, sampling = ids[0].tolist(), Sampling(max_new_tokens=12)
    place = {"before": prompt[:2], "image_tokens": 4}
    stepper = ours.stepper(images, [prompt], sampling, place)
    assert [token for _, token in generate_tokens(stepper, [prompt], sampling)] == right


def test_what_is_written_is_read_by_transformers(pair, tmp_path):
    _, ours = pair
    write_checkpoint(ours, tmp_path / "ours")
    again = transformers.SmolVLMForConditionalGeneration.from_pretrained(tmp_path / "ours").eval()
    images, ids = inputs()
    with torch.no_grad():
        right = again(input_ids=torch.from_numpy(ids).long(), pixel_values=their_pixels(images))
    found = number(ours({"images": images, "token_ids": ids}))
    np.testing.assert_allclose(found, right.logits.numpy(), atol=1e-4)
