"""Bits per byte on books of the King James Bible that no model has read.

    python benchmarks/kjv.py

needs the Debian package bible-kjv-text (the program `bible`) and xz-utils. It trains `gpt-tiny` and
`lstm-tiny` for equal steps on all books but the held-out ones, and counts what `xz -9e` needs for
the held-out text after the training text. Lower is better.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def modelzoo(*arguments: str) -> str:
    command = [sys.executable, "-m", "modelzoo", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def curve(run: Path) -> tuple[list[int], list[float]]:
    """Steps and held-out bits per byte from a run's TensorBoard log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run / "log"))
    log.Reload()
    points = log.Tensors("validation/bits_per_byte")
    return [p.step for p in points], [float(p.tensor_proto.float_val[0]) for p in points]


def draw(path: str, folder: Path, models: list[str], xz: float) -> None:
    """Held-out bits per byte over the steps of training, one line a model."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    for name in models:
        axes.plot(*curve(folder / f"{name}.training"), marker="o", markersize=3, label=name)
    axes.axhline(xz, color="gray", linestyle="--", label="xz -9e")
    axes.set(xlabel="steps of 4,096 tokens", ylabel="bits per byte, held-out books")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--models", default="gpt-tiny,lstm-tiny")
    parser.add_argument("--keep", help="a folder for the text and the models")
    parser.add_argument("--chart", help="an SVG or PNG to draw (needs matplotlib)")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp())
    training, held_out = write(folder)
    rows = [("xz -9e", "", xz_bits_per_byte(read(training), read(held_out)), "")]
    for name in args.models.split(","):
        began = time.monotonic()
        options = [f"--set={value}" for value in args.set]
        modelzoo(
            "train", name, "--data", str(training), "--validation", str(held_out),
            "-o", str(folder / name), "--steps", str(args.steps), "--force", "--restart", *options,
        )  # fmt: skip
        minutes = (time.monotonic() - began) / 60
        figures = json.loads(
            modelzoo("evaluate", str(folder / name), "--data", str(held_out), "--json")
        )
        rows.append((name, args.steps, figures["bits_per_byte"], f"{minutes:.1f}"))
    if args.chart:
        draw(args.chart, folder, args.models.split(","), rows[0][2])
    print(f"held out: {', '.join(HELD_OUT.values())} ({len(read(held_out)):,} bytes)")
    print("| model | steps | bits per byte | minutes |\n|---|---|---|---|")
    for name, steps, bits, minutes in rows:
        print(f"| {name} | {steps} | {bits:.3f} | {minutes} |")


if __name__ == "__main__":
    main()
