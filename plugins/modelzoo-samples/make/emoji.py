"""`samples/emoji`: texts in two languages, and drawings, to the nearest emoji.

`clip-tiny` learns Google's drawings of 1,911 concepts with their English and Chinese names and
tags. One English tag of each concept that has three or more is left out of training: it is the
query of the test.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from benchmarks.common import percent
from benchmarks.training import emoji

RECIPE = "clip-tiny"
SUMMARY = "A text in English or Chinese, or a drawing, to the nearest of 1,911 emoji"
COMMAND = 'modelzoo run samples/emoji "a red apple" --top 3'
EXAMPLE = 'print(model.nearest("a red apple", top=3))'
DATA = [
    {
        "what": "Google's drawings, Noto",
        "from": "npm emoji-datasource-google 16.0.0",
        "licence": "Apache-2.0, as its README says",
    },
    {
        "what": "Twitter's drawings, Twemoji, for the test alone",
        "from": "npm emoji-datasource-twitter 16.0.0",
        "licence": "CC-BY-4.0, as its README says",
    },
    {
        "what": "Names and tags in English and Chinese",
        "from": "npm emojibase-data 17.0.0",
        "licence": "MIT, as its package.json says",
    },
]
LIMITS = """It has read names and tags, and never a sentence. It always answers:
"a dog on the beach" may be a hot dog."""
CHANGES = {"train.validation_fraction": 0.0, "train.steps": 1100}
STYLE, OTHER = emoji.STYLES
LANGUAGES = emoji.LANGUAGES
TOPS = (1, 10)


def concepts(folder: Path) -> list[dict]:
    """As the benchmark reads them, with the `emoji` itself, and a tag of each left out as `asked`,
    "" where it has few."""
    emoji.fetch(folder)
    found = emoji.concepts(folder)
    for one in found:
        one["emoji"] = "".join(chr(int(code, 16)) for code in one[STYLE].stem.split("-"))
        tags = one["en_tags"].split(", ")
        number = hashlib.sha256(one["en"].encode()).digest()[0]
        one["asked"] = tags.pop(number % len(tags)) if len(tags) > 2 else ""
        one["en_tags"] = ", ".join(tags)
    return found


def rows(found: list[dict]) -> list[dict]:
    """A drawing with each of its names, twice, and each of its tags by itself."""
    made = []
    for one in found:
        tags = [tag for key in ("en_tags", "zh_tags") for tag in one[key].split(", ") if tag]
        texts = [*2 * [one["en"], one["zh"]], *tags]
        made += [{"image": one[STYLE], "text": text} for text in texts]
    return made


def train(folder: Path) -> Path:
    """The model directory."""
    import modelzoo
    from modelzoo.training.train import train

    recipe = modelzoo.read_recipe(RECIPE, CHANGES)
    train(recipe, rows(concepts(folder)), folder / "emoji", force=True)
    return folder / "emoji"


def gallery(folder: Path, bundle) -> tuple[list[str], np.ndarray]:
    """Of each concept three vectors: its drawing with its names, its name as a phrase, its tags."""
    found = concepts(folder)
    names = [f"{one['emoji']} {one['en']}" for one in found]
    drawn = bundle.embed_image([one[STYLE] for one in found])
    named = [bundle.embed_text([one[key] for one in found], truncate=True) for key in LANGUAGES]
    phrases = bundle.embed_text([f"a {one['en']}" for one in found], truncate=True)
    tagged, tags = [], []
    for name, one in zip(names, found, strict=True):
        own = [tag for key in LANGUAGES for tag in one[f"{key}_tags"].split(", ") if tag]
        if own:
            tagged.append(name)
            tags.append(bundle.embed_text(own, truncate=True).mean(0))
    return [*names, *names, *tagged], np.concatenate([drawn + sum(named), phrases, np.stack(tags)])


def figures(folder: Path, bundle) -> list[dict]:
    """How often the right concept is among the nearest 1 and 10 of the gallery."""
    found = concepts(folder)
    asked = [one for one in found if one["asked"]]
    tests = {
        "Twitter's drawings": ([one[OTHER] for one in found], found),
        "English tags left out of training": ([one["asked"] for one in asked], asked),
        '"the" before an English name': ([f"the {one['en']}" for one in found], found),
    }
    rows = []
    for name, (queries, truth) in tests.items():
        answers = bundle.nearest(queries, top=max(TOPS), truncate=True)
        row = {"queries": name, "number": len(queries)}
        for top in TOPS:
            hits = [
                f"{one['emoji']} {one['en']}" in [label for label, _ in answer[:top]]
                for one, answer in zip(truth, answers, strict=True)
            ]
            row[f"right among {top} %"] = percent(float(np.mean(hits)))
            row[f"chance among {top} %"] = percent(top / len(found), 2)
        rows.append(row)
    return rows
