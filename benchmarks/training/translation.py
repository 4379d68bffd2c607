"""`t5-tiny` translates Debian's one-line package descriptions from English to Italian.

    python -m benchmarks.training.translation

The model (2.9M parameters) trains on 45,204 pairs. They are split by their text, so that no
held-out English line is in the training set. The model is compared with two baselines: the source
as it is, and the translation of the nearest training line (by words). Its share of right tokens,
given those before them, is compared with the share of the commonest token.

Needs apt (it fetches the Translation lists into a folder of its own) and sacrebleu.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from benchmarks import common
from benchmarks.common import modelzoo, write_result


def fetch(folder: Path) -> None:
    """Debian's lists of package descriptions, English and Italian."""
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    options = ("Acquire::Languages=en,it", f"Dir::State::lists={folder}", "APT::Sandbox::User=root")
    flags = [word for option in options for word in ("-o", option)]
    subprocess.run(["apt-get", "-qq", *flags, "update"], check=True)


def one_liners(folder: Path, language: str) -> dict[str, str]:
    """Description-md5 -> the first line of the description."""
    found = {}
    for path in sorted(folder.glob(f"*Translation-{language}*")):
        text = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(path)], capture_output=True, check=True
        ).stdout.decode("utf-8")
        pattern = rf"Description-md5: (\w+)\nDescription-{language}: (.+)"
        found.update(re.findall(pattern, text))
    return found


def pairs(folder: Path) -> tuple[list[dict], list[dict]]:
    """Training and held-out pairs; one in 40 English lines is held out."""
    english, italian = one_liners(folder, "en"), one_liners(folder, "it")
    unique = {english[key]: italian[key] for key in sorted(english.keys() & italian.keys())}
    training, held_out = [], []
    for source, target in unique.items():
        number = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big")
        (training if number % 40 else held_out).append({"source": source, "target": target})
    return training, held_out


class NearestLine:
    """The translation of the training line that shares the rarest words."""

    def __init__(self, training: list[dict]):
        self.training = training
        self.lines = defaultdict(list)
        for number, pair in enumerate(training):
            for word in self.words(pair["source"]):
                self.lines[word].append(number)

    @staticmethod
    def words(text: str) -> set[str]:
        return set(text.lower().split())

    def __call__(self, source: str) -> str:
        score = Counter()
        for word in self.words(source):
            for number in self.lines[word]:
                score[number] += 1 / len(self.lines[word])
        return self.training[score.most_common(1)[0][0]]["target"] if score else source


def chance(model, rows: list[dict]) -> float:
    """The share of the commonest token of the targets, their ends among them."""
    targets = model.tokenizer.encode_batch([row["target"] for row in rows])
    counts = Counter(token for target in targets for token in target)
    counts["end"] = len(targets)
    return max(counts.values()) / counts.total()


def write_jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--count", type=int, default=300, help="held-out lines to translate")
    parser.add_argument("--keep", help="a folder for the lists and the model")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp())
    if not list(folder.glob("lists/*Translation-it*")):
        fetch(folder / "lists")
    training, held_out = pairs(folder / "lists")
    print(f"{len(training):,} pairs to train on, {len(held_out):,} held out", flush=True)
    modelzoo(
        "train", "t5-tiny", "--force", "--restart",
        "--data", write_jsonl(folder / "train.jsonl", training),
        "--validation", write_jsonl(folder / "held-out.jsonl", held_out),
        "-o", folder / "t5", "--steps", args.steps, *[f"--set={value}" for value in args.set],
    )  # fmt: skip

    import sacrebleu

    from modelzoo import evaluate, load

    model = load(folder / "t5")
    tokens = {
        "of held-out translations": "tokens guessed right",
        "share": round(evaluate(model, held_out)["accuracy"], 3),
        "commonest token": round(chance(model, held_out), 3),
    }

    held_out = held_out[: args.count]
    sources = [pair["source"] for pair in held_out]
    references = [[pair["target"] for pair in held_out]]
    nearest = NearestLine(training)
    systems = {
        "source as it is": sources,
        "nearest training line": [nearest(source) for source in sources],
        "t5-tiny": model.generate(sources, max_new_tokens=48),
    }
    rows = [
        {
            "system": name,
            "BLEU": round(sacrebleu.corpus_bleu(outputs, references).score, 1),
            "chrF2": round(sacrebleu.corpus_chrf(outputs, references).score, 1),
        }
        for name, outputs in systems.items()
    ]
    figures = {"tokens": [tokens], f"{len(sources)} held-out lines": rows}
    packages = ("keras", "tensorflow", "sacrebleu")
    write_result("translation", figures, packages=packages, folder=args.results)
    for source, output in list(zip(sources, systems["t5-tiny"], strict=True))[:5]:
        print(f"{source}\n    {output}")


if __name__ == "__main__":
    main()
