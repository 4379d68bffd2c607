"""Questions about shapes and colours, answered by `vqa-tiny`.

    python -m benchmarks.training.visual_qa

Needs pip: it fetches easy-vqa 1.0 (4,000 training and 1,000 test images of 64 x 64 pixels, 48,248
questions, 13 answers; synthetic). The model (1.2M parameters) is a small ViT whose
patches a GPT reads before the question. Three baselines see no image: the commonest answer of all,
the commonest for the question's first word, and that for the very same question. The test images
are those of the package; none of them is in training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import write_result

WHEEL = "easy_vqa-1.0-py3-none-any.whl"


# === Data ===


def fetch(folder: Path) -> Path:
    """The wheel, fetched once."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / WHEEL).exists():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, "easy-vqa==1.0"], check=True)
    return folder / WHEEL


def examples(wheel: Path, part: str) -> list[dict]:
    """`train` or `test`: the bytes of an image, a question, its answer."""
    from modelzoo.runtime.media.images import open_image

    with zipfile.ZipFile(wheel) as archive:
        root = f"easy_vqa/data/{part}"
        rows = json.loads(archive.read(f"{root}/questions.json"))
        # Each once: several questions share an array.
        images = {
            number: open_image(archive.read(f"{root}/images/{number}.png"))
            for number in {row[2] for row in rows}
        }
    return [{"image": images[n], "question": q, "answer": a} for q, a, n in rows]


# === Systems ===


class Commonest:
    """The answer that is right most often for what `key` makes of a question."""

    def __init__(self, training: list[dict], key):
        self.key = key
        counts: dict = defaultdict(Counter)
        for one in training:
            counts[key(one["question"])][one["answer"]] += 1
        self.best = {k: c.most_common(1)[0][0] for k, c in counts.items()}

    def __call__(self, rows: list[dict]) -> list[str]:
        return [self.best.get(self.key(one["question"]), "") for one in rows]


def accuracy(rows: list[dict], guesses: list[str]) -> tuple[float, float]:
    """Over all questions, and over those whose answer is neither yes nor no."""
    right = np.array([one["answer"] == guess for one, guess in zip(rows, guesses, strict=True)])
    other = np.array([one["answer"] not in ("yes", "no") for one in rows])
    return float(right.mean()), float(right[other].mean())


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--questions", type=int, default=2000, help="of the test set, for tables")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--keep", help="a folder for what is fetched and trained")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = Path(args.keep or tempfile.mkdtemp())
    wheel = fetch(folder)
    training, test = examples(wheel, "train"), examples(wheel, "test")
    order = np.random.default_rng(0).permutation(len(test))
    test = [test[i] for i in order[: args.questions]]
    print(f"{len(training):,} questions in training, {len(test):,} to test on", flush=True)

    import modelzoo
    from modelzoo.recipe import parse_set
    from modelzoo.runtime import load
    from modelzoo.training.train import train

    began = time.monotonic()
    changes = {
        "train.epochs": args.epochs,
        "train.validation_fraction": 0.01,
        **parse_set(args.set),
    }
    recipe = modelzoo.read_recipe("vqa-tiny", changes)
    train(recipe, training, folder / "vqa-tiny", force=True)
    minutes = (time.monotonic() - began) / 60
    model = modelzoo.load(folder / "vqa-tiny")
    modelzoo.export(model, folder / "vqa-tiny.bundle", quantize=args.quantize, force=True)
    device = load(folder / "vqa-tiny.bundle")

    def answers(rows, of):
        images, questions = ([one[key] for one in rows] for key in ("image", "question"))
        return of.caption(images, questions, max_new_tokens=4)

    systems = {
        "commonest answer": Commonest(training, lambda question: None),
        "for the first word": Commonest(training, lambda question: question.split()[0]),
        "for the same question": Commonest(training, lambda question: question),
        "vqa-tiny, Keras": lambda rows: answers(rows, model),
        f"vqa-tiny, TFLite {args.quantize}": lambda rows: answers(rows, device),
    }
    rows = []
    for name, guess in systems.items():
        every, other = (round(score, 3) for score in accuracy(test, guess(test)))
        rows.append({"system": name, "accuracy": every, "of answers but yes and no": other})
    write_result(
        "visual_qa",
        {"questions": rows, "cost": [{"minutes of training": round(minutes, 1)}]},
        packages=("keras", "tensorflow", "ai-edge-litert"),
        folder=args.results,
    )


if __name__ == "__main__":
    main()
