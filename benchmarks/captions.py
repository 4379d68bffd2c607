"""Captions of emoji that no model has seen, beside the captions of the nearest training images.

    python benchmarks/captions.py

needs npm: it fetches emoji-datasource-google and -twitter 16.0.0 (images of 1,911 concepts in two
art styles) and emojibase-data 17.0.0 (their names in 28 languages). A tenth of the concepts is held
out. The model learns from Google's images of the others, and is asked

- *new concepts*: Google's images of the held-out concepts, whose names stand nowhere in training,
- *new style*: Twitter's images of the concepts that it has seen in Google's style.

The baseline gives the name of the training image whose pixels are nearest (squared distance at the
model's own size). F1 is the overlap of words (harmonic mean of precision and recall, averaged over
images), `exact` the share of names that are right to the letter, and chrF2 that of sacrebleu over
the whole set, where it is installed. The bundle is int8 unless said otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PACKAGES = {
    "google": "emoji-datasource-google-16.0.0.tgz",
    "twitter": "emoji-datasource-twitter-16.0.0.tgz",
    "names": "emojibase-data-17.0.0.tgz",
}
AUGMENT = {"crop": 0.2, "shift": 0.1, "color": 0.2}


# === Data ===


def fetch(folder: Path) -> None:
    """The npm packages, each fetched once."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in PACKAGES.values():
        if not (folder / file).exists():
            name = file.removesuffix(".tgz").rpartition("-")
            command = ["npm", "pack", "--silent", f"{name[0]}@{name[2]}"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def pictures(folder: Path, style: str) -> dict[str, bytes]:
    """Hexcode without variation selectors -> the PNG of 64 x 64 pixels."""
    found = {}
    with tarfile.open(folder / PACKAGES[style]) as archive:
        for member in archive:
            if f"/img/{style}/64/" in member.name and member.name.endswith(".png"):
                found[_key(Path(member.name).stem)] = archive.extractfile(member).read()
    return found


def names(folder: Path, language: str) -> dict[str, str]:
    """Hexcode -> the name of a concept; no skin tones, whose images are all but the same."""
    with tarfile.open(folder / PACKAGES["names"]) as archive:
        rows = json.load(archive.extractfile(f"package/{language}/data.json"))
    return {_key(row["hexcode"]): row["label"] for row in rows if "group" in row}


def _key(hexcode: str) -> str:
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def held_out(name: str) -> bool:
    """One concept in ten, by its name: the same in every run, and none in both parts."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 10 == 0


def examples(folder: Path, language: str) -> dict[str, list[dict]]:
    """`training`, and the two test sets, as the task reads them."""
    label, google, twitter = (
        names(folder, language),
        *(pictures(folder, style) for style in ("google", "twitter")),
    )
    both = [key for key in label if key in google and key in twitter]
    seen = [key for key in both if not held_out(label[key])]
    new = [key for key in both if held_out(label[key])]

    def of(keys, style):
        return [{"image": style[key], "text": label[key]} for key in keys]

    return {
        "training": of(seen, google),
        "new concepts": of(new, google),
        "new style": of(seen, twitter)[::4],  # every fourth is enough to measure
    }


# === Systems ===


class Nearest:
    """The caption of the training image with the nearest pixels."""

    def __init__(self, training: list[dict], processing: dict):
        self.texts = [one["text"] for one in training]
        self.processing = processing
        self.pixels = self._pixels(training)

    def _pixels(self, rows: list[dict]) -> np.ndarray:
        from modelzoo.runtime.images import prepare_image

        arrays = [prepare_image(one["image"], self.processing) for one in rows]
        return np.stack(arrays).reshape(len(rows), -1).astype(np.float32)

    def __call__(self, rows: list[dict]) -> list[str]:
        asked, known = self._pixels(rows), self.pixels
        far = (asked**2).sum(1)[:, None] - 2 * asked @ known.T + (known**2).sum(1)[None]
        return [self.texts[i] for i in far.argmin(1)]


def commonest_word(training: list[dict]) -> str:
    """What is right most often: the word that most names hold."""
    words = Counter(word for one in training for word in set(_words(one["text"])))
    return words.most_common(1)[0][0]


# === Scores ===


def _words(text: str) -> list[str]:
    """Words; of Chinese, which has no spaces, characters."""
    text = text.lower()
    if any("\u4e00" <= letter <= "\u9fff" for letter in text):
        return [letter for letter in text if letter.isalnum()]
    return "".join(letter if letter.isalnum() else " " for letter in text).split()


def f1(truth: str, guess: str) -> float:
    """Of two bags of words.

    >>> round(f1("grinning face", "a face"), 2)
    0.5
    """
    right, found = Counter(_words(truth)), Counter(_words(guess))
    shared = sum((right & found).values())
    return 2 * shared / max(1, right.total() + found.total())


def scores(rows: list[dict], guesses: list[str]) -> list[str]:
    truth = [one["text"] for one in rows]
    pairs = list(zip(truth, guesses, strict=True))
    cells = [
        f"{100 * np.mean([f1(*pair) for pair in pairs]):.1f}",
        f"{100 * np.mean([a == b for a, b in pairs]):.1f}",
    ]
    if find_spec("sacrebleu"):
        import sacrebleu

        cells.append(f"{sacrebleu.corpus_chrf(guesses, [truth]).score:.1f}")
    return cells


def train(recipe: str, training: list[dict], folder: Path, options: list[str]):
    """A model directory, of this training or of an earlier one with the same values."""
    import modelzoo
    from modelzoo.recipe import parse_set
    from modelzoo.training.train import train

    # Nothing is held out to stop early: a name that is learned late is learned all the same.
    changes = {"task_options.augment": AUGMENT, "train.validation_fraction": 0.0}
    changes |= {"train.epochs": 20, **parse_set(options)}
    where = folder / recipe
    train(modelzoo.read_recipe(recipe, changes), training, where, force=True)
    return modelzoo.load(where)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", default="caption-tiny,caption-prefix-tiny")
    parser.add_argument("--language", default="en", help="of the names: en, zh, de …")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--keep", help="a folder for what is fetched and trained")
    parser.add_argument("--show", type=int, default=6, help="captions to print of each test set")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = Path(args.keep or tempfile.mkdtemp())
    fetch(folder)
    data = examples(folder, args.language)
    print({name: len(rows) for name, rows in data.items()}, flush=True)
    tests = {name: rows for name, rows in data.items() if name != "training"}

    import modelzoo
    from modelzoo.runtime import load

    word = commonest_word(data["training"])
    systems: dict = {"commonest word": lambda rows: [word] * len(rows)}
    minutes = {}
    for recipe in args.recipes.split(","):
        began = time.monotonic()
        model = train(recipe, data["training"], folder, args.set)
        minutes[recipe] = (time.monotonic() - began) / 60
        bundle = folder / f"{recipe}.bundle"
        modelzoo.export(model, bundle, quantize=args.quantize, force=True)
        device = load(bundle)
        if "nearest pixels" not in systems:
            systems["nearest pixels"] = Nearest(data["training"], model.processing()["image"])

        def captions(rows, of):
            return of.caption([one["image"] for one in rows], max_new_tokens=16)

        systems[recipe] = lambda rows, of=model: captions(rows, of)
        systems[f"{recipe}, {args.quantize} bundle"] = lambda rows, of=device: captions(rows, of)

    chrf = " | chrF2" if find_spec("sacrebleu") else ""
    for name, rows in tests.items():
        print(f"\n{name}: {len(rows)} images\n\n| system | F1 | exact{chrf} | minutes |")
        print("|---" * (4 + bool(chrf)) + "|")
        shown = {}
        for system, guess in systems.items():
            guesses = guess(rows)
            shown[system] = guesses
            took = f"{minutes[system]:.1f}" if system in minutes else ""
            print(f"| {system} | {' | '.join(scores(rows, guesses))} | {took} |", flush=True)
        for i in range(min(args.show, len(rows))):
            said = "; ".join(f"{system}: {shown[system][i]}" for system in list(shown)[1:])
            print(f"\n- {rows[i]['text']!r}: {said}")


if __name__ == "__main__":
    main()
