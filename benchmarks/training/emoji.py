"""`clip-tiny` learns emoji with their names in one art style, and is tested on another.

    python -m benchmarks.training.emoji

The model (1.5M parameters) trains on Google's drawings of nine in ten of the 1,911 concepts (skin
tones apart) with their English and Chinese names, and is tested on Twitter's drawings of all:
images find captions and captions find images among all 1,911. The baseline needs no training: the
nearest drawing by its pixels. The TFLite bundle is tested like the Keras model. Recall in %.

Needs npm: it fetches emoji-datasource-google and -twitter 16.0.0 and emojibase-data 17.0.0.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import percent, write_result

PACKAGES = (
    "emoji-datasource-google@16.0.0",
    "emoji-datasource-twitter@16.0.0",
    "emojibase-data@17.0.0",
)
STYLES, TOPS = ("google", "twitter"), (1, 5, 10)
LANGUAGES = {"en": "English", "zh": "Chinese"}


# === Data ===


def fetch(folder: Path) -> None:
    """Drawings of 64 x 64 and their names, unpacked; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        name = package.replace("@", "-")
        if (folder / name).is_dir():
            continue
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
        with tarfile.open(folder / f"{name}.tgz") as archive:
            wanted = [
                member
                for member in archive.getmembers()
                if "/64/" in member.name
                or member.name == "package/emoji.json"
                or member.name in [f"package/{language}/data.json" for language in LANGUAGES]
            ]
            archive.extractall(folder / name, wanted, filter="data")


def concepts(folder: Path) -> list[dict]:
    """Each emoji's image in both styles, its captions by language, and whether it is held out."""
    bases = {style: folder / f"emoji-datasource-{style}-16.0.0" / "package" for style in STYLES}
    names = {}
    for language in LANGUAGES:
        path = folder / "emojibase-data-17.0.0" / "package" / language / "data.json"
        names[language] = {_code(entry["hexcode"]): entry for entry in json.loads(path.read_text())}
    found = []
    for entry in json.loads((bases["google"] / "emoji.json").read_text()):
        code = _code(entry["unified"])
        number = int.from_bytes(hashlib.sha256(code.encode()).digest()[:4], "big")
        one: dict = {"held_out": number % 10 == 0}
        for style in STYLES:
            one[style] = bases[style] / "img" / style / "64" / entry["image"]
        for language in LANGUAGES:
            one[language] = names[language][code]["label"]
            one[f"{language}_tags"] = ", ".join(names[language][code].get("tags", ()))
        found.append(one)
    return found


def _code(text: str) -> str:
    """Code points without the one that only asks for colour."""
    return "-".join(part for part in text.upper().split("-") if part != "FE0F")


def training_rows(found: list[dict]) -> list[dict]:
    """An image with its label, and with what else it is called, in both languages."""
    return [
        {"image": one["google"], "text": one[key]}
        for one in found
        if not one["held_out"]
        for key in ("en", "zh", "en_tags", "zh_tags")
        if one[key]
    ]


# === Figures ===


def figures(images: np.ndarray, texts: np.ndarray, found: list[dict]) -> dict[str, list[float]]:
    """Recall at 1, 5 and 10 both ways, of (N, E) vectors of the concepts, seen and held out."""
    from modelzoo.tasks.shared.retrieval import recall_ranks

    every, held_out = np.arange(len(found)), np.array([one["held_out"] for one in found])
    forth = recall_ranks(images, every, texts, every)
    back = recall_ranks(texts, every, images, every)
    return _recalls(forth, back, held_out)


def _recalls(forth, back, held_out) -> dict[str, list[float]]:
    return {
        part: [float((ranks[rows] <= top).mean()) for ranks in (forth, back) for top in TOPS]
        for part, rows in (("trained on", ~held_out), ("held out", held_out))
    }


def by_pixels(found: list[dict], side: int = 16) -> dict[str, list[float]]:
    """A drawing's caption is the nearest trained drawing's; of held-out ones it knows none."""
    from modelzoo.runtime.media.images import prepare_image

    how = {"size": [side, side], "resize": "squash", "interpolation": "bicubic"}
    pixels = {
        style: np.stack([prepare_image(one[style], how).reshape(-1) for one in found]) / 255.0
        for style in STYLES
    }
    held_out = np.array([one["held_out"] for one in found])
    known, asked = pixels["google"], pixels["twitter"]
    distances = (asked**2).sum(1)[:, None] - 2 * asked @ known.T + (known**2).sum(1)[None]
    distances[:, held_out] = np.inf
    own = np.diag(distances)
    forth = (distances <= own[:, None]).sum(1)  # the number that are as near: its place
    back = (distances <= own[None, :]).sum(0)
    return _recalls(forth, back, held_out)


def embeddings(model, found: list[dict], language: str) -> tuple[np.ndarray, np.ndarray]:
    """Twitter's drawings and the captions, of a Keras model or of a bundle."""
    images = model.embed_image([one["twitter"] for one in found])
    return images, model.embed_text([one[language] for one in found], truncate=True)


def rows_of(system: str, found: dict[str, list[float]]) -> list[dict]:
    """A row for the concepts trained on and one for those held out."""
    ways = [f"{way} @{top}" for way in ("image to text", "text to image") for top in TOPS]
    return [
        {"system": system, "concepts": part, **dict(zip(ways, map(percent, values), strict=True))}
        for part, values in found.items()
    ]


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--keep", type=Path, help="a folder for the packages")
    parser.add_argument("--recipe", default="clip-tiny")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--set", action="append", default=[], help="train.epochs=2, for one")
    options = parser.parse_args()
    from modelzoo import export, load, read_recipe
    from modelzoo.recipe import parse_set
    from modelzoo.runtime import load as load_bundle
    from modelzoo.training.train import train

    with tempfile.TemporaryDirectory() as temporary:
        cache, work = options.keep or Path(temporary), Path(temporary)
        fetch(cache)
        found = concepts(cache)
        rows = training_rows(found)
        seen = sum(not one["held_out"] for one in found)
        print(f"{len(found):,} concepts, {seen:,} of them trained on, in {len(rows):,} rows")

        recipe = read_recipe(
            options.recipe, {"train.validation_fraction": 0.0, **parse_set(options.set)}
        )
        start = time.monotonic()
        train(recipe, rows, work / "model")
        model = load(work / "model", compile=False)
        minutes = round((time.monotonic() - start) / 60, 1)
        export(model, work / "bundle", quantize=options.quantize)
        size = sum(path.stat().st_size for path in (work / "bundle").rglob("*") if path.is_file())
        bundle = load_bundle(work / "bundle")

        chance = [top / len(found) for _ in range(2) for top in TOPS]
        table = rows_of("chance", {"all": chance}) + rows_of("nearest pixels", by_pixels(found))
        for language, spoken in LANGUAGES.items():
            for system, one in (("Keras", model), (f"TFLite {options.quantize}", bundle)):
                recalls = figures(*embeddings(one, found, language), found)
                table += rows_of(f"{system}, {spoken}", recalls)
    cost = [{"minutes of training": minutes, "MB of the bundle": round(size / 1e6, 2)}]
    write_result(
        "emoji",
        {"recall in %": table, "cost": cost},
        packages=("keras", "tensorflow", "ai-edge-litert"),
        folder=options.results,
    )


if __name__ == "__main__":
    main()
