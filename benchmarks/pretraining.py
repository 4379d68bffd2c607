"""`bert-tiny` learns masked words and next sentences from Debian's package descriptions.

    python benchmarks/pretraining.py --steps 3000

needs apt (it fetches the English list of descriptions into a folder of its own). One description in
40 is held out. Chance is the share of the most frequent token for masked words, and a half for next
sentences.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from translation import fetch, write_jsonl


def descriptions(folder: Path) -> list[str]:
    """The long texts of all descriptions, without their first line, each once."""
    found = {}
    for path in sorted(folder.glob("*Translation-en*")):
        text = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(path)], capture_output=True, check=True
        ).stdout.decode("utf-8")
        for long in re.findall(r"^Description-en: .*\n((?: .*\n)+)", text, re.MULTILINE):
            words = long.replace("\n .\n", "\n").split()
            if len(words) >= 40:
                found[" ".join(words)] = None
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--keep", help="a folder for the list and the model")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp())
    if not list(folder.glob("lists/*Translation-en*")):
        fetch(folder / "lists")
    training, held_out = [], []
    for text in descriptions(folder / "lists"):
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        (training if number % 40 else held_out).append({"text": text})
    print(f"{len(training):,} descriptions to train on, {len(held_out):,} held out", flush=True)
    data = write_jsonl(folder / "held-out.jsonl", held_out)
    # A vocabulary and a length that suit 2 cores; the recipe's own are BERT's.
    sizes = ("vocab_size=8192", "dropout=0", "attention_dropout=0", "train.length=128")
    sizes = (*sizes, "initializer_range=0.08")
    rates = ("train.batch_size=32", "train.learning_rate=1e-3", "train.warmup_steps=100")
    options = [f"--set={value}" for value in (*sizes, *rates, *args.set)]
    zoo = [sys.executable, "-m", "modelzoo"]
    subprocess.run(
        [
            *zoo, "train", "bert-tiny", "--data", write_jsonl(folder / "train.jsonl", training),
            "--validation", data, "-o", str(folder / "bert"), "--steps", str(args.steps),
            "--force", "--restart", *options,
        ],
        check=True,
    )  # fmt: skip
    command = [*zoo, "evaluate", str(folder / "bert"), "--data", data, "--json"]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    from modelzoo.runtime.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder / "bert" / "tokenizer.json")
    counts = Counter(
        t for ids in tokenizer.encode_batch([d["text"] for d in held_out]) for t in ids
    )
    frequent = counts.most_common(1)[0][1] / counts.total()
    print("\n| held out | accuracy | chance |\n|---|---|---|")
    print(
        f"| masked words ({figures['mlm_tokens']:,}) | {figures['mlm_accuracy']:.3f} | {frequent:.3f} |"
    )
    print(f"| next sentence ({figures['nsp_tokens']:,}) | {figures['nsp_accuracy']:.3f} | 0.500 |")


if __name__ == "__main__":
    main()
