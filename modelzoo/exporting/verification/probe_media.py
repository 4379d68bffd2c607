"""Pictures and sounds of every machine, for exports: coloured shapes, tones and noises, by number.

A model need not know them: what is measured is how far a bundle's answer is from Keras'.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["altered", "picture", "scene_inputs", "sound"]


def picture(number: int, height: int = 64, width: int = 64) -> np.ndarray:
    """(height, width, 3) uint8: a few shapes over a gradient, with a little grain."""
    rng = np.random.default_rng([number, 1])
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slope = rng.uniform(-1, 1, (2, 3))
    image = rng.uniform(40, 215, 3) + 60 * (y[..., None] * slope[0] + x[..., None] * slope[1])
    for _ in range(rng.integers(2, 6)):
        down, right, size = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.35)
        far = {
            0: np.hypot(y - down, x - right),  # a disc
            1: np.maximum(abs(y - down), abs(x - right)),  # a square
            2: abs(np.hypot(y - down, x - right) - size) + 0.8 * size,  # a ring
            3: abs(y - down) + 0.3 * abs(x - right),  # a bar
        }[int(rng.integers(4))]
        image[far < size] = rng.uniform(0, 255, 3)
    image += rng.normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def sound(number: int, count: int, sample_rate: int = 16_000) -> np.ndarray:
    """(count,) float32: gliding tones with overtones that come and go, over quiet noise."""
    rng = np.random.default_rng([number, 2])
    t = np.arange(count) / sample_rate
    length = max(count / sample_rate, 1e-3)
    wave = rng.normal(0, 0.01, count)
    for _ in range(rng.integers(2, 5)):
        low, high = rng.uniform(80, sample_rate / 5, 2)
        phase = 2 * np.pi * (low * t + (high - low) * t**2 / (2 * length))
        middle, spread = rng.uniform(0, length), rng.uniform(0.05, 0.4) * length
        loud = rng.uniform(0.05, 0.3) * np.exp(-(((t - middle) / spread) ** 2))
        wave += loud * (np.sin(phase) + 0.4 * np.sin(2 * phase))
    return np.clip(wave, -1, 1).astype(np.float32)


def altered(scene: np.ndarray, number: int) -> np.ndarray:
    """The scene once more: a picture moved, brighter or darker; a sound softer and noisier."""
    rng = np.random.default_rng([number, 3])
    if scene.ndim == 1:
        return (0.7 * scene + rng.normal(0, 0.01, scene.shape)).astype(np.float32)
    by = [max(1, size // 16) for size in scene.shape[-3:-1]]
    moved = np.roll(scene, by, axis=(-3, -2)).astype(np.float32) * rng.uniform(0.85, 1.15)
    return np.clip(moved, 0, 255).astype(np.uint8)


def scene_inputs(inputs: Mapping, processing: Mapping, first: int) -> dict[str, np.ndarray]:
    """What a signature's inputs for media are given: scenes from number `first` on.

    Args:
        inputs: name -> what has a `shape`.
        processing: the model's; see `TaskModel.processing`.
    """
    found = {}
    for name, spec in inputs.items():
        numbers = range(first, first + spec.shape[0]) if spec.shape else ()
        if name == "images":
            found[name] = np.stack([picture(n, *spec.shape[1:3]) for n in numbers])
        elif name == "frames":
            frames = spec.shape[1]
            found[name] = np.stack([_film(n, frames, *spec.shape[2:4]) for n in numbers])
        elif name == "audio":
            rate = processing.get("audio", {}).get("sample_rate", 16_000)
            found[name] = np.stack([sound(n, spec.shape[1], rate) for n in numbers])
    return found


def _film(number: int, frames: int, height: int, width: int) -> np.ndarray:
    still = picture(number, height, width)
    return np.stack([np.roll(still, by * max(1, width // 16), axis=1) for by in range(frames)])
