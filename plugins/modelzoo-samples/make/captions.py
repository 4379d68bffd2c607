"""`samples/captions`: what a small drawing shows, in English words.

A smaller `caption-tiny` over the frozen image tower of `samples/emoji`, which is made first. It
learns the English names of Google's drawings of 1,911 concepts, and is tested on Twitter's.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import emoji as sample_of_emoji

from benchmarks.common import percent
from benchmarks.training import captions, emoji

SUMMARY = "What a small drawing shows, in English words"
COMMAND = "modelzoo run samples/captions drawing.png"
EXAMPLE = 'print(model.caption(np.zeros((64, 64, 3), "uint8"), max_new_tokens=16))'
DATA = sample_of_emoji.DATA
LIMITS = """It knows drawings of emoji, and no photographs. In a style that it has not seen, the
nearest drawing by its pixels is right more often."""
RECIPE, EPOCHS = "caption-tiny", 40
STYLE, OTHER = emoji.STYLES


def train(folder: Path) -> Path:
    """The model directory."""
    import modelzoo
    from modelzoo.training.train import train

    emoji.fetch(folder)
    rows = [{"image": one[STYLE], "text": one["en"]} for one in emoji.concepts(folder)]
    changes = {
        "vocab_size": 1024,  # names are short, and all samples together stay small
        "num_layers": 2,
        "image.weights": "emoji",
        "image.frozen": True,
        "task_options.augment": captions.AUGMENT,
        "train.epochs": EPOCHS,
        "train.validation_fraction": 0.0,
    }
    with contextlib.chdir(folder):  # so that the lock file names no place of this machine
        train(modelzoo.read_recipe(RECIPE, changes), rows, "captions", force=True)
    return folder / "captions"


def figures(folder: Path, bundle) -> list[dict]:
    """Words and exact names on every fourth of Twitter's drawings, against the nearest pixels."""
    found = emoji.concepts(folder)
    training = [{"image": one[STYLE], "text": one["en"]} for one in found]
    test = [{"image": one[OTHER], "text": one["en"]} for one in found[::4]]
    nearest = captions.Nearest(training, bundle.bundle.processing["image"])
    systems = {
        "nearest pixels": nearest(test),
        "samples/captions": bundle.caption([one["image"] for one in test], max_new_tokens=16),
    }
    rows = []
    for name, guesses in systems.items():
        pairs = [(one["text"], guess) for one, guess in zip(test, guesses, strict=True)]
        words = sum(captions.f1(*pair) for pair in pairs) / len(pairs)
        exact = sum(truth == guess for truth, guess in pairs) / len(pairs)
        row = {"system": name, "drawings": len(pairs)}
        rows.append({**row, "F1 of words %": percent(words), "exact %": percent(exact)})
    return rows
