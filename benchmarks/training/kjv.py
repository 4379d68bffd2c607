"""Bits per byte on books of the King James Bible that no model has read.

    python -m benchmarks.training.kjv
    python -m benchmarks.training.kjv --only statistical/kneser-ney-5,statistical/hmm --steps 300

Held out are Ruth, Jonah, Mark, Philippians and James (122,449 bytes). On all other books it trains
a 5-gram model, a hidden Markov model, an LSTM and a GPT (2.6M parameters each of the last two),
with one tokenizer and on the same text: the n-grams count it once, the others have equal steps of
4,096 tokens. `xz -9e` compresses the held-out text after the training text. Lower is better.

Needs the Debian packages bible-kjv-text and xz-utils, and plugins/modelzoo-statistical installed
for the models of `statistical/`.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import modelzoo, write_result

COUNTING = ("statistical/kneser-ney-5", "statistical/witten-bell-3")  # one pass, whatever the steps
MODELS = ("statistical/kneser-ney-5", "statistical/hmm", "lstm-tiny", "gpt-tiny")
HELD_OUT = {"Ruth": "Ruth", "Jonah": "Jonah", "Mark": "Mark", "Phi": "Philippians", "Jas": "James"}


def verses() -> list[tuple[str, str, str]]:
    """(book, chapter, text) of each verse."""
    text = subprocess.run(
        ["bible", "-f", "gen1:1-rev22:21"], check=True, capture_output=True, text=True
    ).stdout
    return re.findall(r"^(\d?[A-Za-z]+)(\d+):\d+ (.*)$", text, re.MULTILINE)


def books() -> dict[str, str]:
    """Book -> its verses, one a line, without their numbers."""
    found: dict[str, str] = {}
    for book, _, text in verses():
        found[book] = found.get(book, "") + text + "\n"
    return found


def chapters() -> list[str]:
    """The text of each chapter, in order."""
    found: dict[tuple[str, str], list[str]] = {}
    for book, chapter, text in verses():
        found.setdefault((book, chapter), []).append(text)
    return [" ".join(texts) for texts in found.values()]


def write(folder: Path) -> tuple[Path, Path]:
    """One file a book: the training folder and the held-out folder."""
    training, held_out = folder / "train", folder / "held-out"
    for number, (book, text) in enumerate(books().items()):
        home = held_out if book in HELD_OUT else training
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{number:02d}-{book}.txt").write_text(text, "utf-8")
    return training, held_out


def read(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def xz_bits_per_byte(training: bytes, held_out: bytes) -> float:
    """What the held-out text adds to the compressed training text."""

    def size(data: bytes) -> int:
        # A dictionary larger than both texts, so that nothing is forgotten.
        command = ["xz", "-c", "--format=raw", "--lzma2=preset=9e,dict=64MiB"]
        return len(subprocess.run(command, input=data, capture_output=True, check=True).stdout)

    return 8 * (size(training + held_out) - size(training)) / len(held_out)


def curve(run: Path) -> tuple[list[int], list[float]]:
    """Steps and held-out bits per byte from a run's TensorBoard log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run / "log"))
    log.Reload()
    points = log.Tensors("validation/bits_per_byte")
    return [p.step for p in points], [float(p.tensor_proto.float_val[0]) for p in points]


def place(folder: Path, name: str) -> Path:
    """The model directory of a recipe."""
    return folder / name.replace("/", "-")


def train(folder: Path, name: str, data: tuple[Path, Path], *options: str) -> None:
    """Train a recipe on the first folder of texts, and write its model directory.

    The tokenizer is that of a model that was trained before, or it is trained on the text.
    """
    given = sorted(folder.glob("*/tokenizer.json"), key=lambda path: path.stat().st_mtime)
    given = [f"--tokenizer={given[0]}"] if given else []
    modelzoo(
        "train", name, "--data", str(data[0]), "--validation", str(data[1]),
        "-o", str(place(folder, name)), "--force", "--restart", *given, *options,
    )  # fmt: skip


def draw(path: str, folder: Path, models: list[str], rows: list[dict]) -> None:
    """Held-out bits per byte over the steps of training, one line a model; what has no steps is
    level."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    for name in models:
        if name not in COUNTING:
            run = Path(f"{place(folder, name)}.training")
            axes.plot(*curve(run), marker="o", markersize=3, label=name)
    for number, row in enumerate(rows):
        name = row["model"]
        if name not in models or name in COUNTING:
            axes.axhline(
                row["bits per byte"],
                color="gray",
                linestyle=("--", ":", "-.")[number % 3],
                label=name,
            )
    axes.set(xlabel="steps of 4,096 tokens", ylabel="bits per byte, held-out books")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=600, help="of 4,096 tokens")
    parser.add_argument(
        "--only", "--models", default=",".join(MODELS), help="recipes, with commas between them"
    )
    parser.add_argument("--keep", help="a folder for the text and the models")
    parser.add_argument("--chart", help="an SVG or PNG to draw (needs matplotlib)")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp())
    data = training, held_out = write(folder)
    models = args.only.split(",")
    bits = xz_bits_per_byte(read(training), read(held_out))
    rows = [{"model": "xz -9e", "steps": None, "bits per byte": round(bits, 3)}]
    for name in models:
        began = time.monotonic()
        steps = "one pass" if name in COUNTING else args.steps
        options = [] if name in COUNTING else [f"--steps={steps}"]
        train(folder, name, data, *options, *(f"--set={value}" for value in args.set))
        minutes = (time.monotonic() - began) / 60
        figures = json.loads(
            modelzoo("evaluate", str(place(folder, name)), "--data", str(held_out), "--json")
        )
        bits = round(figures["bits_per_byte"], 3)
        row = {"model": name, "steps": steps, "bits per byte": bits, "minutes": round(minutes, 1)}
        rows.append(row)
    if args.chart:
        draw(args.chart, folder, models, rows)
    packages = ("keras", "tensorflow", "modelzoo-statistical")
    write_result("kjv", {"held-out books": rows}, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
