"""`bert-tiny` learns masked words and next sentences from chapters of the King James Bible.

    python -m benchmarks.training.pretraining

Needs the Debian package bible-kjv-text. One chapter in 20 is held out; in half of the pairs the
second passage comes from another chapter. Chance is the share of the most frequent token for masked
words, and a half for next sentences.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks import common
from benchmarks.common import modelzoo, write_result
from benchmarks.training.kjv import chapters
from benchmarks.training.translation import write_jsonl

# A vocabulary, a length and a start that suit a small corpus and 2 cores; the recipe's are BERT's.
SETTINGS = (
    "vocab_size=4096",
    "initializer_range=0.08",
    "dropout=0",
    "attention_dropout=0",
    "train.length=128",
    "train.batch_size=32",
    "train.learning_rate=2e-3",
    "train.warmup_steps=100",
)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--keep", help="a folder for the text and the model")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    texts = [{"text": text} for text in chapters()]
    held_out = texts[10::20]
    training = [text for text in texts if text not in held_out]
    print(f"{len(training):,} chapters to train on, {len(held_out):,} held out", flush=True)
    data = write_jsonl(folder / "held-out.jsonl", held_out)
    modelzoo(
        "train", "bert-tiny", "--data", write_jsonl(folder / "train.jsonl", training),
        "--validation", data, "-o", str(folder / "bert"), "--steps", str(args.steps),
        "--force", "--restart", *[f"--set={value}" for value in (*SETTINGS, *args.set)],
    )  # fmt: skip
    figures = json.loads(modelzoo("evaluate", str(folder / "bert"), "--data", data, "--json"))

    from modelzoo.runtime.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder / "bert" / "tokenizer.json")
    rows = tokenizer.encode_batch([text["text"] for text in held_out])
    counts = Counter(token for row in rows for token in row)
    frequent = counts.most_common(1)[0][1] / counts.total()
    rows = [
        {
            "held out": name,
            "guesses": int(figures[f"{key}_tokens"]),
            "accuracy": round(figures[f"{key}_accuracy"], 3),
            "chance": round(chance, 3),
        }
        for name, key, chance in (("masked words", "mlm", frequent), ("next sentence", "nsp", 0.5))
    ]
    packages = ("keras", "tensorflow")
    write_result("pretraining", {"guesses": rows}, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
