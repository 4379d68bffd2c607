"""A small model that reads texts, images and videos, with random weights throughout."""

from __future__ import annotations

import numpy as np

import modelzoo
from modelzoo.architectures.multimodal import build
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.recipe import from_values
from modelzoo.tasks.profile import said
from tests.core import randomise

SIZE, FRAMES, VOCAB, LENGTH = 8, 3, 320, 12
SIZES = {
    "vocab_size": VOCAB,
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "max_length": LENGTH,
    "image_size": SIZE,
    "patch_size": 4,
    "num_frames": FRAMES,
    "ffn_bias": False,
    "experts": {"count": 4, "top_k": 2, "pattern": [False, True], "capacity": 1.25},
    "dropout": 0.0,
}
MIXTURE = {
    "denoise": {"objective": "span-corruption"},
    "caption": {"objective": "captioning", "prompt": "say:"},
}
TEXTS = ["say: yes no red green"] * 3


def backbone(**changes):
    return randomise(build(**{**SIZES, **changes}), 0)


def recipe():
    tables = {"model": SIZES, "mixture": MIXTURE, "train": {"batch_size": 4, "length": LENGTH}}
    return from_values({"architecture": "multimodal", "task": "mixture", **tables}, name="several")


def model():
    """A `MultimodalLM` with a tokenizer."""
    specials = said("mixture", "special_tokens")
    tokenizer = train_tokenizer(TEXTS, vocab_size=VOCAB, specials=specials)
    return randomise(modelzoo.build(recipe(), tokenizer=tokenizer), 0)


def film(count: int) -> np.ndarray:
    """(count, 9, 11, 3) uint8, of another size than the model's."""
    return np.random.default_rng(count).integers(0, 256, (count, 9, 11, 3)).astype("uint8")


def inputs(rows: int = 2, frames: int = FRAMES, seed: int = 0) -> dict:
    """What the model is called with."""
    rng = np.random.default_rng(seed)

    def ids(length):
        return rng.integers(0, VOCAB, (rows, length)).astype("int32")

    films = rng.integers(0, 256, (rows, frames, SIZE, SIZE, 3)).astype("uint8")
    mask = np.ones((rows, frames), "int32")
    source = {"token_ids": ids(5), "padding_mask": np.ones((rows, 5), "int32")}
    return {**source, "frames": films, "frame_mask": mask, "decoder_token_ids": ids(4)}
