"""modelzoo answer: a question, answered from the texts of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from modelzoo.cli.common import add_trust, examples, print_json, printable
from modelzoo.cli.search import check_texts, fits_in, open_embedder, open_reranker, task_of
from modelzoo.errors import ModelzooError, require

_LONGEST = 2000  # characters of a passage that no other model reads: a long paragraph


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "answer",
        description="Answer a question from texts: find the passages that fit it best, read the "
        "answer in each, and print the likeliest with their places. Passages are found by the "
        "words that they have in common with the question (bm25s), and with --embedder by their "
        "meaning too.",
        epilog=examples(
            'modelzoo answer qa.bundle "who wrote the letter?" --in letters',
            'modelzoo answer qa "how do I cancel?" --in docs --embedder minilm --rerank reranker',
        ),
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a model directory or a bundle that answers questions"
    )
    parser.add_argument("query", metavar="QUESTION", help="the question")
    parser.add_argument(
        "--in", dest="path", metavar="PATH", required=True, help="a folder, or a file of texts"
    )
    parser.add_argument(
        "--embedder", metavar="DIR|BUNDLE", help="find passages by their meaning too"
    )
    parser.add_argument(
        "--rerank", metavar="DIR|BUNDLE", help="a model that puts the passages in order"
    )
    parser.add_argument(
        "--passages", type=int, default=5, metavar="N", help="passages to read (default: 5)"
    )
    parser.add_argument(
        "--top", type=int, default=1, metavar="N", help="answers to print (default: 1)"
    )
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    require("bm25s", "search")
    check_texts(args.path, args.query, args.top)
    if args.passages < 1:
        raise ModelzooError(f"--passages must be 1 or more, not {args.passages}")
    found = answers(args)[: args.top]
    if args.json:
        print_json({"question": args.query, "answers": found})
    elif not found:
        print("(no answer)")
    for one in () if args.json else found:
        print(printable(f"{one['score']:.4f}  {one['answer']}  ({one['where']})"))
        print(printable(f"        {' '.join(one['passage'].split())}"))
    return 0


def answers(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The answer in each passage that has one, the likeliest first.

    A score is a probability within a passage; of equal ones the better passage comes first.
    """
    from modelzoo.data.passages import read_passages
    from modelzoo.runtime.search.index import vectors_of
    from modelzoo.runtime.search.retrieval import RERANKED, reranked, retrieve

    model = _reader(args)
    embedder = open_embedder(args.embedder, trust=args.trust)[0] if args.embedder else None
    reranker = open_reranker(args.rerank, args.trust) if args.rerank else None
    fits = fits_in(embedder) if embedder else lambda text: len(text) <= _LONGEST
    passages = list(read_passages(Path(args.path), fits))

    def vectors() -> tuple:
        assert embedder is not None
        return embedder.embed(args.query), vectors_of(passages, embedder.embed, {})

    hits = retrieve(
        args.query,
        passages,
        vectors,
        method="both" if embedder else "bm25",
        top=max(args.passages, RERANKED) if reranker else args.passages,
    )
    if reranker is not None and hits:
        hits = reranked(args.query, hits, reranker.rank, args.passages)
    if not hits:
        return []
    texts = [hit.passage.text for hit in hits]
    firsts = [best[0] for best in model.answer([args.query] * len(texts), texts)]
    found = [
        {"answer": one.text, "score": one.score, **{"where": hit.passage.where, "passage": text}}
        for one, hit, text in zip(firsts, hits, texts, strict=True)
        if one.text is not None
    ]
    return sorted(found, key=lambda one: -one["score"])


def _reader(args: argparse.Namespace) -> Any:
    from modelzoo.cli.open_model import open_model

    model, able = open_model(args.model, None, trust=args.trust)
    if "answer" not in able:
        raise ModelzooError(
            f"this model ({task_of(model)}) does not answer questions",
            where=args.model,
            next_step="take one of the task question-answering, such as bert-tiny-qa",
        )
    return model
