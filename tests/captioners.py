"""Small models that write about images, of both fusions, and images that such models can tell."""

from __future__ import annotations

import numpy as np

import modelzoo
from modelzoo import registry
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.recipe import from_values
from modelzoo.tasks.profile import said
from tests.core import randomise

SIZE, VOCAB = 16, 280
IMAGE = {
    "architecture": "vit",
    "model": {
        "image_size": SIZE,
        "patch_size": 4,
        "num_layers": 1,
        "hidden_dim": 24,
        "num_heads": 2,
        "cls_token": False,
        "pooling": "mean",
    },
}
_SIZES = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "max_length": 24}
_PLAIN = {"dropout": 0.0, "attention_dropout": 0.0}
DECODER = {"architecture": "gpt", "model": {**_SIZES, **_PLAIN, "vocab_size": VOCAB}}
# fusion -> architecture and its [model] table
FUSIONS = {
    "cross-attention": ("captioner", {**_SIZES, **_PLAIN, "vocab_size": VOCAB, "image": IMAGE}),
    "prefix": ("prefix", {"image": IMAGE, "decoder": DECODER, "pixel_shuffle": 2}),
    "prefix in text": (
        "prefix",
        {
            "image": IMAGE,
            "decoder": {
                "architecture": "gpt",
                "model": {
                    **DECODER["model"],
                    "positions": "rotary",
                    "norm": "rms",
                    "num_kv_heads": 1,
                    "tie_embeddings": False,
                },
            },
            "projector": "mlp",
            "pixel_shuffle": 2,
            "image_token": 7,
        },
    ),
}
COLOURS = {"red": (230, 20, 20), "green": (20, 200, 30), "blue": (30, 30, 220)}
TEXTS = [f"a {colour} square. is it {colour}? yes no" for colour in COLOURS] * 2


def backbone(fusion: str, seed: int | None = 0, **changes):
    """A backbone with random weights throughout; `seed=None` leaves the initial ones."""
    architecture, values = FUSIONS[fusion]
    model = registry.architecture(architecture)(**{**values, **changes})
    return model if seed is None else randomise(model, seed)


def recipe(fusion: str, options: dict | None = None, **changes):
    architecture, values = FUSIONS[fusion]
    table = {"architecture": architecture, "task": "captioning", "model": {**values, **changes}}
    table["train"] = {"batch_size": 6, "learning_rate": 5e-3, "length": 16, "weight_decay": 0.0}
    if options:
        table["task_options"] = options
    return from_values(table, name=fusion.replace(" ", "-"))


def tokenizer():
    return train_tokenizer(TEXTS, vocab_size=VOCAB, specials=said("captioning", "special_tokens"))


def model(fusion: str, options: dict | None = None, seed: int | None = 0, **changes):
    """A task model with a tokenizer, compiled."""
    built = modelzoo.build(recipe(fusion, options, **changes), tokenizer=tokenizer())
    return built if seed is None else randomise(built, seed)


def picture(colour: str, height: int = 20, width: int = 24) -> np.ndarray:
    return np.full((height, width, 3), COLOURS[colour], np.uint8)


def images(count: int, seed: int = 0) -> np.ndarray:
    """(count, SIZE, SIZE, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype("uint8")


CAPTIONED = [{"image": picture(colour), "text": f"a {colour} square"} for colour in COLOURS] * 4
ASKED = [
    {
        "image": picture(one),
        "question": f"is it {other}?",
        "answer": "yes" if one == other else "no",
    }
    for one in COLOURS
    for other in COLOURS
]
