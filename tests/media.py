"""Small pictures and sounds for tests, and a model that tells them apart by their mean."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from modelzoo.recipe import Recipe
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo
from modelzoo.runtime.model import Model

COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 60), "red": (230, 30, 20)}
IMAGE = {"size": [8, 8], "resize": "squash", "resize_to": None, "interpolation": "bilinear"}
AUDIO = {"sample_rate": 8000, "num_samples": 800, "padding": "zeros"}

_TRAIN = {"batch_size": 4, "learning_rate": 5e-3, "warmup_steps": 0}
VIT = {"image_size": 8, "patch_size": 4, "num_layers": 1, "hidden_dim": 16, "num_heads": 2}


def picture(colour: str, seed: int = 0, height: int = 10, width: int = 12) -> np.ndarray:
    """(height, width, 3) uint8 of nearly one colour."""
    noise = np.random.default_rng(seed).integers(-20, 20, (height, width, 3))
    return np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_sound(path: Path, samples: np.ndarray, rate: int = 8000) -> Path:
    """A 16-bit WAV of numbers in [-1, 1]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def tone(hertz: float, seconds: float = 0.1, rate: int = 8000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def photos(folder: Path, count: int = 4, colours=tuple(COLOURS)) -> Path:
    """A folder for each colour with `count` pictures in it."""
    for colour in colours:
        for number in range(count):
            write_picture(folder / colour / f"{number}.png", picture(colour, number))
    return folder


def vit_recipe(labels=None, **tables) -> Recipe:
    """An image classifier so small that a step takes milliseconds."""
    options = {} if labels is None else {"labels": list(labels)}
    values = {
        "architecture": "vit",
        "task": "image-classification",
        "model": dict(VIT),
        "task_options": options,
        "train": dict(_TRAIN),
    }
    for name, table in tables.items():
        values[name] = {**values.get(name, {}), **table}
    return Recipe("vit-test", values, "a test")


class Engine:
    """numpy in the place of a device: the vector of a picture or a text is its mean colour."""

    def __init__(self, signatures: dict[str, SignatureInfo]):
        self.signatures, self.calls = signatures, []

    def run(self, name, inputs):
        self.calls.append(name)
        if "images" in inputs:
            assert inputs["images"].dtype == np.uint8
            means = inputs["images"].astype(np.float32).mean(axis=(1, 2))
        elif "audio" in inputs:
            loud = np.abs(inputs["audio"]).mean(axis=1, keepdims=True)
            counts = inputs["num_samples"][:, None]
            means = np.concatenate([loud, counts, counts], axis=1)
        else:
            means = np.array([COLOURS[NAMES[int(row[1])]] for row in inputs["token_ids"]], float)
        key = "logits" if name.startswith("serve") else "embedding"
        scaled = means / 100 if key == "logits" else means / np.linalg.norm(means, axis=1)[:, None]
        return {key: scaled.astype(np.float32)}


NAMES = dict(enumerate(COLOURS))


class Words:
    """A tokenizer of three words: a text's first token that is a colour's name."""

    def __init__(self):
        self.roles = {"pad": 0, "cls": 0, "sep": 0}
        self.seen = []

    def role(self, name):
        return self.roles[name]

    def encode_pair(self, text, other=None, length=None, **options):
        self.seen.append(text)
        (token,) = (number for number, name in NAMES.items() if name in text)
        return [9, token, 9], [0, 0, 0]


def classifier(rows=(1,), labels=("r", "g", "b")) -> Model:
    """A `runtime.Model` whose logits are a picture's mean red, green and blue."""
    return Model(_bundle("image-classification", labels), None, Engine(_serve(rows)))


def comparer(**contrastive) -> Model:
    """A `runtime.Model` that puts pictures and the names of colours into one space."""
    signatures = {
        "encode_image": _info({"images": ((1, 8, 8, 3), "uint8")}, ("embedding", 3)),
        "encode_text": _info(
            {"token_ids": ((1, 8), "int32"), "padding_mask": ((1, 8), "int32")}, ("embedding", 3)
        ),
    }
    bundle = _bundle("contrastive", None, {"contrastive": contrastive})
    return Model(bundle, Words(), Engine(signatures))


def listener() -> Model:
    """A `runtime.Model` that embeds sounds."""
    inputs = {"audio": ((1, 800), "float32"), "num_samples": ((1,), "int32")}
    engine = Engine({"encode_audio": _info(inputs, ("embedding", 3))})
    return Model(_bundle("audio-classification", None), None, engine)


def _serve(rows):
    return {
        f"{base}{'' if n == 1 else f'_x{n}'}": _info({"images": ((n, 8, 8, 3), "uint8")}, out, n)
        for n in rows
        for base, out in (("serve", ("logits", 3)), ("encode_image", ("embedding", 3)))
    }


def _info(inputs, output, rows=1) -> SignatureInfo:
    return SignatureInfo(
        {name: TensorInfo(shape, dtype) for name, (shape, dtype) in inputs.items()},
        {output[0]: TensorInfo((rows, output[1]), "float32")},
    )


def _bundle(task, labels, processing=()):
    manifest = {
        "name": "test",
        "task": task,
        "labels": None if labels is None else list(labels),
        "processing": {"image": IMAGE, "audio": AUDIO, **dict(processing)},
    }
    return Bundle(Path("test.bundle"), manifest)
