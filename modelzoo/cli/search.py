"""modelzoo search: the texts, pictures or sounds that are nearest in meaning to a query."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelzoo.cli.common import add_trust, examples, print_json, printable
from modelzoo.cli.search_index import Progress, open_index
from modelzoo.errors import DataError, ModelzooError, OutputError, require

METHODS = ("vectors", "bm25", "both")  # `retrieval.METHODS`, without numpy
_UNBOUNDED = 256  # tokens of a passage for a model without a window


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "search",
        description="Find the passages that are nearest in meaning to a query: each paragraph of "
        "the .txt and .md files of a folder, each `text` of a .jsonl, .csv, .tsv or .parquet file, "
        "or each line of a text file. With a model that embeds pictures or sounds, find those in a "
        "folder; then the query may be a file too.",
        epilog=examples(
            'modelzoo search minilm "how do I cancel?" --in docs',
            'modelzoo search minilm.bundle "late delivery" --in tickets.jsonl --json',
            'modelzoo search minilm "how do I cancel?" --in docs --index docs.npz',
            'modelzoo search minilm "a refund" --in docs --method both --rerank reranker',
            'modelzoo search clip "a red apple" --in photos --sheet hits.png',
        ),
    )
    parser.add_argument("model", metavar="MODEL", help="a model directory or a bundle that embeds")
    parser.add_argument(
        "query", metavar="QUERY", help="what to look for, in your own words; or a file like it"
    )
    parser.add_argument(
        "--in", dest="path", metavar="PATH", required=True, help="a folder, or a file of texts"
    )
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="passages to show (default: 5)"
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="vectors",
        help="compare meanings (vectors), count the words in common (bm25), or take what either "
        "ranks high (both); the last two need bm25s (default: vectors)",
    )
    parser.add_argument(
        "--rerank",
        metavar="DIR|BUNDLE",
        help="a model of the task reranking that reads the first 50 passages and puts them in "
        "order",
    )
    parser.add_argument(
        "--index",
        metavar="FILE.npz",
        help="keep the passages' vectors there: the next search embeds only what is new",
    )
    parser.add_argument(
        "--sheet", metavar="FILE.png", help="draw the pictures and sounds that were found"
    )
    parser.add_argument(
        "--on-bad-file",
        choices=("raise", "skip"),
        default="raise",
        help="a picture or sound that cannot be read ends the search, or is reported and left out",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads, for bundles")
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.cli.search_media import kinds_in, search_media

    _check(args)
    model, able = open_embedder(args.model, args.threads, args.trust)
    kinds = kinds_in(args.path, able)
    if kinds:
        _check_of_texts(args)
        hits, count = search_media(args, model, kinds)
    else:
        hits, count = search_texts(args, model, able)
    if args.json:
        found = [{"score": hit.score, **vars(hit.passage)} for hit in hits]
        if kinds:
            found = [{"score": hit.score, "where": hit.passage.where} for hit in hits]
        key = "files" if kinds else "passages"
        print_json({"query": args.query, key: count, "results": found})
    else:
        print("\n".join(as_line(hit, _width(), text=not kinds) for hit in hits))
    return 0


def search_texts(args: argparse.Namespace, model, able: tuple[str, ...]) -> tuple[list, int]:
    """What was found in texts, and how many passages there are."""
    from modelzoo.data.passages import read_passages
    from modelzoo.runtime.search.index import vectors_of
    from modelzoo.runtime.search.retrieval import RERANKED, reranked, retrieve

    if "embed" not in able:
        raise ModelzooError(
            f"this model ({task_of(model)}) does not embed text",
            where=args.model,
            next_step="take one of the task text-embedding, such as minilm-l6",
        )
    if args.sheet:
        raise ModelzooError(
            "--sheet shows pictures and sounds, and there are none", where=args.path
        )
    reranker = open_reranker(args.rerank, args.trust) if args.rerank else None
    passages = list(read_passages(args.path, fits_in(model)))

    def vectors() -> tuple:
        known, keep = open_index(args)
        query, progress = model.embed(args.query), Progress("passages")
        return query, vectors_of(passages, model.embed, known, keep=keep, progress=progress)

    top = args.top if reranker is None else max(args.top, RERANKED)
    hits = retrieve(args.query, passages, vectors, method=args.method, top=top)
    if reranker is not None and hits:
        hits = reranked(args.query, hits, reranker.rank, args.top)
    return hits, len(passages)


def _check_of_texts(args: argparse.Namespace) -> None:
    """Reject options that are for texts where media are searched."""
    given = "method" if args.method != "vectors" else "rerank" if args.rerank else None
    if given:
        raise ModelzooError(
            f"--{given} is for texts, and there are pictures or sounds",
            where=args.path,
            next_step=f"leave --{given} out",
        )


def _check(args: argparse.Namespace) -> None:
    """What can be checked before a model is loaded."""
    if args.method != "vectors":
        require("bm25s", "search")
    check_texts(args.path, args.query, args.top)
    if args.sheet:
        sheet = Path(args.sheet)
        if sheet.suffix.lower() != ".png" or sheet.is_dir():
            raise OutputError(f"--sheet takes a file that ends in .png, not {sheet}")
        if not sheet.parent.is_dir():
            raise OutputError(f"there is no folder {sheet.parent}", next_step="make it first")
    if args.index:
        index = Path(args.index)
        if index.suffix != ".npz" or index.is_dir():
            raise OutputError(f"--index takes a file that ends in .npz, not {index}")
        if not index.parent.is_dir():
            raise OutputError(f"there is no folder {index.parent}", next_step="make it first")


def check_texts(place: str, query: str, top: int) -> None:
    """
    Raises:
        ModelzooError: an empty query, or no number of answers.
        DataError: nothing at the place, or an empty file.
    """
    if not query.strip():
        raise ModelzooError("the query is empty", next_step="say what to look for")
    if top < 1:
        raise ModelzooError(f"--top must be 1 or more, not {top}")
    path = Path(place)
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        what = "is empty" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}", next_step="--in takes a folder or a file of texts")


# === The model ===


def open_embedder(
    path: str, threads: int | None = None, trust: bool = False
) -> tuple[Any, tuple[str, ...]]:
    """The model of a bundle or a model directory, and what it can do.

    Raises:
        ModelzooError: it cannot be loaded, or does not embed.
    """
    from modelzoo.cli.open_model import open_model

    model, able = open_model(path, threads, trust=trust)
    if not any(name.startswith("embed") for name in able):
        raise ModelzooError(
            f"this model ({task_of(model)}) does not embed text",
            where=path,
            next_step="take one of the task text-embedding, such as minilm-l6",
        )
    return model, able


def open_reranker(path: str, trust: bool = False) -> Any:
    """The model of a bundle or a model directory that puts texts in order.

    Raises:
        ModelzooError: it cannot be loaded, or does not rank.
    """
    from modelzoo.cli.open_model import open_model

    model, able = open_model(path, None, trust=trust)
    if "rank" not in able:
        raise ModelzooError(
            f"this model ({task_of(model)}) does not put texts in order",
            where=path,
            next_step="take one of the task reranking, such as bert-tiny-reranker",
        )
    return model


def task_of(model) -> str:
    """Of a Keras model or a bundle, for messages."""
    recipe = getattr(model, "recipe", None)
    return recipe.task if recipe else getattr(model, "task", type(model).__name__)


def fits_in(model) -> Callable[[str], bool]:
    """Whether a text is short enough for a model: a function of it."""
    if hasattr(model, "engine"):
        inputs = model.engine.signatures[model.embedding_signature].inputs
        limit = inputs["token_ids"].shape[1]
    else:
        model.need_tokenizer()
        # What it is exported with is what it was made for: positions may go further.
        stated = model.recipe.table("export").get("max_length") if model.recipe else None
        limits = (getattr(model, "max_length", None), model.backbone.max_length, stated)
        limit = min((number for number in limits if number), default=_UNBOUNDED)

    def fits(text: str) -> bool:
        # A token is rarely so long: a whole book need not be tokenized to know.
        if len(text) > 32 * limit:
            return False
        return len(model.tokenizer.encode_pair(text)[0]) <= limit

    return fits


# === What a person sees ===


def as_line(hit, width: int | None = None, text: bool = True) -> str:
    """Score, place, and the first line of the passage, unless that is not text."""
    if not text:
        return printable(f"{hit.score:.4f}  {hit.passage.where}")
    first = hit.passage.text.strip().split("\n", 1)[0].strip()
    line = printable(f"{hit.score:.4f}  {hit.passage.where}  {first}")
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
