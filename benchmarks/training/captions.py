"""Captions of emoji that no model has seen.

    python -m benchmarks.training.captions

Needs npm: it fetches what `benchmarks.training.emoji` does (images of 1,911 concepts in two art
styles, and their names). A tenth of the concepts is held out. The model learns from
Google's images of the others, first an image tower with their names in two languages (`clip-tiny`),
then a decoder that writes the name while it looks at what that tower sees (`caption-tiny`, 2.3M
parameters, the tower frozen). It is asked

- *new concepts*: Google's images of the held-out concepts, whose names stand nowhere in training,
- *new style*: Twitter's images of the concepts that it has seen in Google's style.

The baseline gives the name of the training image whose pixels are nearest (squared distance at the
model's own size). F1 is the overlap of words (harmonic mean of precision and recall, averaged over
images), `exact` the share of names that are right to the letter, and chrF2 that of sacrebleu over
the whole set, where it is installed. The bundle is int8 unless said otherwise.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import percent, write_result
from benchmarks.training.emoji import concepts, fetch, training_rows

AUGMENT = {"crop": 0.2, "shift": 0.1, "color": 0.3}


# === Data ===


def examples(found: list[dict], language: str) -> dict[str, list[dict]]:
    """`training`, and the two test sets, as the task reads them."""
    seen = [one for one in found if not one["held_out"]]
    new = [one for one in found if one["held_out"]]

    def of(part, style):
        return [{"image": one[style], "text": one[language]} for one in part]

    return {
        "training": of(seen, "google"),
        "new concepts": of(new, "google"),
        "new style": of(seen, "twitter")[::4],  # every fourth is enough to measure
    }


# === Systems ===


class Nearest:
    """The caption of the training image with the nearest pixels."""

    def __init__(self, training: list[dict], processing: dict):
        self.texts = [one["text"] for one in training]
        self.processing = processing
        self.pixels = self._pixels(training)

    def _pixels(self, rows: list[dict]) -> np.ndarray:
        from modelzoo.runtime.media.images import prepare_image

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


def scores(rows: list[dict], guesses: list[str]) -> dict[str, float]:
    truth = [one["text"] for one in rows]
    pairs = list(zip(truth, guesses, strict=True))
    found = {
        "F1 %": percent(float(np.mean([f1(*pair) for pair in pairs]))),
        "exact %": percent(float(np.mean([a == b for a, b in pairs]))),
    }
    if find_spec("sacrebleu"):
        import sacrebleu

        found["chrF2"] = round(sacrebleu.corpus_chrf(guesses, [truth]).score, 1)
    return found


# === Training ===


def train(recipe: str, rows: list[dict], where: Path, changes: dict):
    """A model directory, of this training or of an earlier one with the same values."""
    import modelzoo
    from modelzoo.training.train import train

    # Nothing is held out to stop early: a name that is learned late is learned all the same.
    changes = {"train.validation_fraction": 0.0, **changes}
    train(modelzoo.read_recipe(recipe, changes), rows, where, force=True)
    return modelzoo.load(where)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--tower", default="clip-tiny", help="contrastive recipe; '' for none")
    parser.add_argument("--recipe", default="caption-tiny")
    parser.add_argument("--language", default="en", help="of the names: en or zh")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--keep", help="a folder for what is fetched and trained")
    parser.add_argument("--show", type=int, default=6, help="captions to print of each test set")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = Path(args.keep or tempfile.mkdtemp())
    fetch(folder)
    found = concepts(folder)
    data = examples(found, args.language)
    print({name: len(rows) for name, rows in data.items()}, flush=True)
    tests = {name: rows for name, rows in data.items() if name != "training"}

    import modelzoo
    from modelzoo.recipe import parse_set
    from modelzoo.runtime import load

    began = time.monotonic()
    changes = {"task_options.augment": AUGMENT, "train.epochs": 80}
    if args.tower:
        train(args.tower, training_rows(found), folder / args.tower, {})
        changes |= {"image.weights": str(folder / args.tower), "image.frozen": True}
    changes |= parse_set(args.set)
    model = train(args.recipe, data["training"], folder / args.recipe, changes)
    minutes = (time.monotonic() - began) / 60
    bundle = folder / f"{args.recipe}.bundle"
    modelzoo.export(model, bundle, quantize=args.quantize, force=True)
    device = load(bundle)

    def captions(of):
        return lambda rows: of.caption([one["image"] for one in rows], max_new_tokens=16)

    word = commonest_word(data["training"])
    systems = {
        "commonest word": lambda rows: [word] * len(rows),
        "nearest pixels": Nearest(data["training"], model.processing()["image"]),
        f"{args.recipe}, Keras": captions(model),
        f"{args.recipe}, TFLite {args.quantize}": captions(device),
    }
    table: list[dict] = []
    for name, rows in tests.items():
        shown = {}
        for system, guess in systems.items():
            guesses = guess(rows)
            shown[system] = guesses
            table.append({"images": name, "system": system, **scores(rows, guesses)})
        for i in range(min(args.show, len(rows))):
            said = "; ".join(f"{system}: {shown[system][i]}" for system in list(shown)[1:])
            print(f"\n- {rows[i]['text']!r}: {said}")
    write_result(
        "captions",
        {"captions": table, "cost": [{"minutes of training": round(minutes, 1)}]},
        packages=("keras", "tensorflow", "ai-edge-litert"),
        folder=args.results,
    )


if __name__ == "__main__":
    main()
