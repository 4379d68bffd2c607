"""`bind-tiny` binds three modalities, two of which are never paired.

    python -m benchmarks.training.tuxpaint

Needs apt (it fetches tuxpaint-stamps-default, GPL-2). A stamp has a drawing, a French caption and
that caption spoken. One in ten captions is held out. The loss compares drawings with texts and
drawings with speech, and never a sound with a text. Then speech is asked for its text: among
captions whose drawings were trained on, and among those held out. Recall in %.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import write_result
from benchmarks.training.asterisk import TOPS, cells, fetch, figures

PACKAGE = "tuxpaint-stamps-default"
LANGUAGE = "fr"


def stamps(folder: Path) -> list[dict]:
    """`image`, `audio`, `text` and `held_out` of each stamp that has all three."""
    root, found = folder / "unpacked" / "usr" / "share" / "tuxpaint" / "stamps", []
    for image in sorted(root.rglob("*.png")):
        caption = image.with_suffix(".txt")
        audio = image.with_name(f"{image.stem}_desc_{LANGUAGE}.ogg")
        if not caption.is_file() or not audio.is_file():
            continue
        lines = caption.read_text("utf-8", "replace").splitlines()
        start = f"{LANGUAGE}.utf8="
        text = next((line.removeprefix(start) for line in lines if line.startswith(start)), "")
        if text.strip():
            number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            one = {"image": image, "audio": audio, "text": text.strip()}
            found.append({**one, "held_out": number % 10 == 0})
    return found


def training_rows(found: list[dict]) -> list[dict]:
    """What is not held out; `bind-tiny` pairs its images with both others, and those not at all."""
    kinds = ("image", "text", "audio")
    return [{kind: one[kind] for kind in kinds} for one in found if not one["held_out"]]


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--keep", type=Path, help="a folder for the package")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--set", action="append", default=[], help="train.epochs=2, for one")
    options = parser.parse_args()
    from modelzoo import export, load, read_recipe
    from modelzoo.recipe import parse_set
    from modelzoo.runtime import load as load_bundle
    from modelzoo.training.train import train

    augment = {
        "image": {"shift": 0.1, "crop": 0.2, "color": 0.2, "flip": 0.5},
        "audio": {"shift": 0.1, "gain": 6.0},
    }
    changes = {
        "train.validation_fraction": 0.0,
        "train.epochs": 60,
        "train.learning_rate": 2e-3,
        "train.batch_size": 96,
        "train.warmup_steps": 40,
        "task_options.augment": augment,
        **parse_set(options.set),
    }
    with tempfile.TemporaryDirectory() as temporary:
        cache, work = options.keep or Path(temporary), Path(temporary)
        fetch(cache, (PACKAGE,))
        found = stamps(cache)
        rows = training_rows(found)
        parts = {
            "trained on": [one for one in found if not one["held_out"]],
            "held out": [one for one in found if one["held_out"]],
        }
        print(", ".join(f"{len(part)} stamps {name}" for name, part in parts.items()))
        start = time.monotonic()
        train(read_recipe("bind-tiny", changes), rows, work / "model")
        minutes = round((time.monotonic() - start) / 60, 1)
        model = load(work / "model", compile=False)
        export(model, work / "bundle", quantize=options.quantize)
        bundle = load_bundle(work / "bundle")

        table: list[dict] = []

        def add(stamps: str, count: int, pair: str, system: str, values: list[float]) -> None:
            head = {"stamps": stamps, "count": count, "pair": pair, "system": system}
            table.append({**head, **cells(values, ("forth", "back"))})

        for name, part in parts.items():
            texts = [one["text"] for one in part]
            chance = [min(1.0, top / len(set(texts))) for _ in range(2) for top in TOPS]
            add(name, len(part), "", "chance", chance)
            for who, one in (("Keras", model), (f"TFLite {options.quantize}", bundle)):
                vectors = embedded(one, part)
                for asking, asked in (("audio", "text"), ("image", "text"), ("image", "audio")):
                    values = figures(vectors[asking], vectors[asked], texts)
                    add(name, len(part), f"{asking}-{asked}", who, values)
    write_result(
        "tuxpaint",
        {"recall in %": table, "cost": [{"minutes of training": minutes}]},
        packages=("keras", "tensorflow", "ai-edge-litert"),
        folder=options.results,
    )


def embedded(model, part: list[dict]) -> dict[str, np.ndarray]:
    return {
        "image": model.embed_image([one["image"] for one in part]),
        "audio": model.embed_audio([one["audio"] for one in part], truncate=True),
        "text": model.embed_text([one["text"] for one in part], truncate=True),
    }


if __name__ == "__main__":
    main()
