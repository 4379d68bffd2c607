"""modelzoo search: the passages of your texts that are nearest in meaning to a query."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import time
from pathlib import Path

from modelzoo.cli.common import examples, print_json, printable
from modelzoo.errors import DataError, ModelzooError, OutputError

_UNBOUNDED = 256  # tokens of a passage for a model without a window


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "search",
        description="Find the passages that are nearest in meaning to a query: each paragraph of "
        "the .txt and .md files of a folder, each `text` of a .jsonl, .csv, .tsv or .parquet file, "
        "or each line of a text file.",
        epilog=examples(
            'modelzoo search minilm "how do I cancel?" --in docs',
            'modelzoo search minilm.bundle "late delivery" --in tickets.jsonl --top 3 --json',
            'modelzoo search minilm "how do I cancel?" --in docs --index docs.npz',
        ),
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a model directory or a bundle that embeds text"
    )
    parser.add_argument("query", metavar="QUERY", help="what to look for, in your own words")
    parser.add_argument(
        "--in", dest="path", metavar="PATH", required=True, help="a folder or a file of texts"
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="so many passages (5)")
    parser.add_argument(
        "--index",
        metavar="FILE.npz",
        help="keep the passages' vectors there: the next search embeds only what is new",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (bundles)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.data.passages import read_passages
    from modelzoo.runtime.search import Index, read_vectors, vectors_of, write_vectors

    _check(args)
    model = open_embedder(args.model, args.threads)
    passages = list(read_passages(args.path, fits_in(model)))
    known, keep = {}, None
    if args.index:
        name = model_digest(args.model)
        known = read_vectors(args.index, name)

        def keep(vectors):
            write_vectors(args.index, name, vectors)

    query = model.embed(args.query)
    vectors = vectors_of(passages, model.embed, known, keep=keep, progress=Progress())
    hits = Index(vectors, passages).search(query, args.top)
    if args.json:
        found = [{"score": hit.score, **vars(hit.passage)} for hit in hits]
        print_json({"query": args.query, "passages": len(passages), "results": found})
    else:
        print("\n".join(as_line(hit, _width()) for hit in hits))
    return 0


def _check(args: argparse.Namespace) -> None:
    """What can be told before a model is loaded."""
    if not args.query.strip():
        raise ModelzooError("the query is empty", next_step="say what to look for")
    if args.top < 1:
        raise ModelzooError(f"--top must be 1 or more, not {args.top}")
    path = Path(args.path)
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        what = "is empty" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}", next_step="--in takes a folder or a file of texts")
    if args.index:
        index = Path(args.index)
        if index.suffix != ".npz" or index.is_dir():
            raise OutputError(f"--index takes a file that ends in .npz, not {index}")
        if not index.parent.is_dir():
            raise OutputError(f"there is no folder {index.parent}", next_step="make it first")


# === The model ===


def open_embedder(path: str, threads: int | None = None):
    """The model behind a bundle or a model directory.

    Raises:
        ModelzooError: it cannot be loaded, or does not embed.
    """
    from modelzoo.cli.run import open_model

    model, _ = open_model(path, threads)
    able = "embed" in model.abilities if hasattr(model, "abilities") else hasattr(model, "embed")
    if not able:
        raise ModelzooError(
            f"this model ({_task(model)}) does not embed text",
            where=path,
            next_step="take one of the task text-embedding, such as minilm-l6",
        )
    return model


def _task(model) -> str:
    recipe = getattr(model, "recipe", None)
    return recipe.task if recipe else getattr(model, "task", type(model).__name__)


def fits_in(model):
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


def model_digest(path: str) -> str:
    """What the vectors of a model depend on: the files with its weights and its vocabulary."""
    from modelzoo.runtime.bundle import is_bundle, read_bundle, sha256_file

    if is_bundle(path):
        bundle = read_bundle(path)
        hashes = [*bundle.manifest["files"].items()]
        kept = (bundle.manifest["model"], "tokenizer.json")
        hashes = [f"{name} {value}" for name, value in hashes if name.startswith(kept)]
    else:
        names = [name for name in ("model.keras", "tokenizer.json") if (Path(path) / name).exists()]
        hashes = [f"{name} {sha256_file(Path(path) / name)}" for name in names]
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


# === What a person sees ===


class Progress:
    """One line that is written over, for who waits at a terminal."""

    def __init__(self):
        self.begun = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        left = ""
        if done:
            seconds = (time.monotonic() - self.begun) * (total - done) / done
            left = f", {seconds:,.0f} s left"
        text = f"modelzoo: embedding {done:,} of {total:,} passages{left}"
        print(f"\r\x1b[K{text if done < total else ''}", end="", file=sys.stderr, flush=True)


def as_line(hit, width: int | None = None) -> str:
    """Score, place, and the first line of the passage."""
    first = hit.passage.text.strip().split("\n", 1)[0].strip()
    line = printable(f"{hit.score:.4f}  {hit.passage.where}  {first}")
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
