"""Images, videos and sounds altered at random, so that each epoch sees others. numpy only.

The random numbers come from the batch's own generator: step 1,000 is the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from modelzoo.errors import RecipeError, nearest
from modelzoo.runtime.cores import usable_cores

__all__ = ["augmenter"]

# What a recipe's `augment` table may hold, and the most that makes sense.
_PICTURES = {"crop": 0.9, "flip": 1.0, "color": 1.0, "shift": 0.9}
_SOUNDS = {"shift": 1.0, "gain": 40.0, "noise": 10.0, "mask": 0.9}
OPTIONS = {"image": _PICTURES, "video": _PICTURES, "audio": _SOUNDS}

# One row and its generator -> the altered row, a new array.
Change = Callable[[Any, np.random.Generator], Any]


def augmenter(
    kind: str, table: Mapping[str, float] | None, workers: int | None = None
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray] | None:
    """What alters a batch: `alter(rows, generator) -> rows`; `None` where nothing is asked for.

    Rows are worked on by several threads, each with random numbers of its own.

    Args:
        kind: "image" (B, H, W, 3) uint8, "video" (B, F, H, W, 3) uint8, whose frames are altered
            alike, or "audio" (B, N) float32.
        table: how much at most; of pictures
            crop: share of each side that is cut off; what is left is stretched to the old size;
            shift: share of each side that it is moved by, with its edge repeated;
            flip: the probability of the mirror image;
            color: share by which brightness, contrast and saturation change;
            and of sounds
            shift: share of the window that it is moved by, with silence at the other end;
            gain: decibels louder or softer;
            noise: white noise, in parts of the sound's own level;
            mask: share of the window that falls silent, as time masks do (Park et al. 2019).
        workers: threads. Default: one for each core.

    Raises:
        RecipeError: an unknown name, or a number that is out of range.

    Example:
        >>> alter, rows = augmenter("image", {"flip": 1.0}), np.arange(6).reshape(1, 1, 2, 3)
        >>> alter(rows, np.random.default_rng(0)).tolist()
        [[[[3, 4, 5], [0, 1, 2]]]]
    """
    amounts = _checked(kind, table or {})
    if not amounts:
        return None
    changes = _sound_changes(amounts) if kind == "audio" else _picture_changes(amounts)
    workers = workers or usable_cores()
    pool = ThreadPoolExecutor(workers, "augment") if workers > 1 else None

    def one(row, generator):
        for change in changes:
            row = change(row, generator)
        return row

    def alter(rows, generator):
        # One seed a row: what a row becomes does not hang on who works on it.
        generators = [np.random.default_rng(s) for s in generator.integers(0, 2**63, len(rows))]
        run = map if pool is None else pool.map
        return np.stack(list(run(one, rows, generators))) if len(rows) else rows

    return alter


def _checked(kind: str, table: Mapping[str, float]) -> dict[str, float]:
    """The amounts that are not 0."""
    known = OPTIONS[kind]
    for name, amount in table.items():
        if name not in known:
            raise RecipeError(
                f"augment has no {name!r} for {kind}",
                did_you_mean=nearest(name, known),
                next_step=f"there is {', '.join(known)}",
            )
        number = isinstance(amount, int | float)
        if not number or not 0 <= amount <= known[name]:
            raise RecipeError(f"augment.{name} must be from 0 to {known[name]:g}, not {amount!r}")
    return {name: float(amount) for name, amount in table.items() if amount}


# === Pictures: (H, W, 3) or (F, H, W, 3) uint8 ===


def _picture_changes(amounts: Mapping[str, float]) -> list[Change]:
    makers = {"crop": _crop, "shift": _shift_picture, "flip": _flip, "color": _color}
    return [make(amounts[name]) for name, make in makers.items() if name in amounts]


def _crop(share: float) -> Change:
    from modelzoo.runtime.media.images import resize

    def crop(picture, generator):
        height, width = picture.shape[-3:-1]
        scale = 1 - share * generator.random()
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        top = generator.integers(0, height - rows + 1)
        left = generator.integers(0, width - columns + 1)
        cut = picture[..., top : top + rows, left : left + columns, :]
        if picture.ndim == 3:
            return resize(cut, (height, width), "bilinear")
        return np.stack([resize(frame, (height, width), "bilinear") for frame in cut])

    return crop


def _shift_picture(share: float) -> Change:
    def shift(picture, generator):
        height, width = picture.shape[-3:-1]
        down, right = (
            int(generator.integers(-limit, limit + 1))
            for limit in (int(height * share), int(width * share))
        )
        rows = np.clip(np.arange(height) - down, 0, height - 1)
        columns = np.clip(np.arange(width) - right, 0, width - 1)
        return picture[..., rows, :, :][..., columns, :]

    return shift


def _flip(probability: float) -> Change:
    def flip(picture, generator):
        return picture[..., ::-1, :] if generator.random() < probability else picture

    return flip


def _color(share: float) -> Change:
    def color(picture, generator):
        bright, contrast, saturation = generator.uniform(1 - share, 1 + share, 3).astype(np.float32)
        x = picture.astype(np.float32) * bright
        mean = x.mean()
        x = mean + contrast * (x - mean)
        grey = x @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
        x = grey[..., None] + saturation * (x - grey[..., None])
        return np.clip(np.rint(x), 0, 255).astype(np.uint8)

    return color


# === Sounds: (N,) float32 ===


def _sound_changes(amounts: Mapping[str, float]) -> list[Change]:
    makers = {"shift": _shift_sound, "mask": _mask, "gain": _gain, "noise": _noise}
    return [make(amounts[name]) for name, make in makers.items() if name in amounts]


def _shift_sound(share: float) -> Change:
    def shift(sound, generator):
        limit = int(len(sound) * share)
        by = int(generator.integers(-limit, limit + 1))
        moved = np.zeros_like(sound)
        moved[max(by, 0) : len(sound) + min(by, 0)] = sound[max(-by, 0) : len(sound) - max(by, 0)]
        return moved

    return shift


def _mask(share: float) -> Change:
    def mask(sound, generator):
        count = int(generator.integers(0, int(len(sound) * share) + 1))
        start = int(generator.integers(0, len(sound) - count + 1))
        masked = sound.copy()
        masked[start : start + count] = 0
        return masked

    return mask


def _gain(decibels: float) -> Change:
    def gain(sound, generator):
        factor = np.float32(10 ** (generator.uniform(-decibels, decibels) / 20))
        return np.clip(sound * factor, -1, 1)

    return gain


def _noise(share: float) -> Change:
    def noise(sound, generator):
        level = np.float32(share * generator.random()) * np.sqrt(np.mean(sound**2))
        return np.clip(sound + level * generator.standard_normal(len(sound), np.float32), -1, 1)

    return noise
