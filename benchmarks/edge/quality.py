"""Section `quality`: what fewer bits cost, on text and on a search, with trained weights."""

from __future__ import annotations

import ast
import math
import sysconfig
from pathlib import Path

from benchmarks.common import modelzoo, percent
from benchmarks.edge.decoders import DECODERS, MATCHED, WINDOW, model_of
from benchmarks.edge.encoders import LENGTH
from benchmarks.edge.peer import Peer
from benchmarks.training.kjv import books

BOOK, WINDOWS, TOKENS = "Mark", 4, 512
PAIRS = 500


def quality(options) -> dict:
    """The quality that int8 and int4 cost.

    Perplexity of SmolLM2 on 2,048 tokens of Mark in the King James Bible; after a plus stands the
    cache. And how often MiniLM finds one of 500 docstrings of Python by its first line.
    """
    return {"perplexity": perplexity(options), "recall": recall(options)}


def perplexity(options) -> dict[str, float]:
    from modelzoo.runtime.text.tokenizer import Tokenizer

    decoder = DECODERS["smollm2"]
    work, model = options.work / decoder.folder, model_of(options, decoder)
    # Text is chosen by bytes, and is long enough: tokens are what the model makes of it.
    ids = Tokenizer.load(model / "tokenizer.json").encode(books()[BOOK][: 8 * WINDOWS * TOKENS])
    windows = [ids[TOKENS * i : TOKENS * (i + 1)] for i in range(WINDOWS)]
    job = {"windows": windows, "threads": max(options.threads), "window": WINDOW}
    modes = dict.fromkeys(("float32", *options.modes))
    peers = {
        mode: ("decoder", {"bundle": str(options.bundle(work, mode, WINDOW))}) for mode in modes
    }
    files = {"Q8_0": work / "Q8_0.gguf", "Q4_1": Path(options.gguf)}
    peers |= {
        f"llama.cpp {name}": ("llama", {"model": str(files[name])}, options.llama_python)
        for name in MATCHED.values()
        if files[name].exists() and options.llama_python
    }
    return {
        name: math.exp(_once(name, script, {**job, **own}, *python)["nats"])
        for name, (script, own, *python) in peers.items()
    }


def recall(options) -> dict[str, dict[str, float]]:
    work = options.work / "minilm"
    if not (work / "model").exists():
        modelzoo("build", options.minilm, "-o", work / "model")
    pairs = docstring_pairs()
    modes = dict.fromkeys(("float32", *(mode for mode in options.modes if mode == "int8")))
    return {
        mode: _once(
            mode,
            "encoder",
            {"bundle": str(options.bundle(work, mode, LENGTH)), "pairs_file": _saved(work, pairs)},
        )
        for mode in modes
    }


def docstring_pairs(count: int = PAIRS) -> list[tuple[str, str]]:
    """(first line, the rest) of docstrings of the standard library, evenly over its modules."""
    found: dict[str, str] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
            if len(first.split()) >= 5 and len(rest.split()) >= 15:
                found.setdefault(" ".join(first.split()), " ".join(rest.split()))
    pairs = list({rest: (first, rest) for first, rest in found.items()}.values())
    return [pairs[i * len(pairs) // count] for i in range(min(count, len(pairs)))]


def _saved(work: Path, pairs: list) -> str:
    import json

    path = work / "pairs.json"  # too long for a command line
    path.write_text(json.dumps(pairs), "utf-8")
    return str(path)


def _once(name: str, script: str, job: dict, *python: str) -> dict:
    peer = Peer(name, script, job, *python)
    try:
        return peer.ask()
    finally:
        peer.close()


def tables(result: dict) -> dict[str, list[dict]]:
    """Rows of what `quality` found."""
    base = result["perplexity"]["float32"]
    return {
        "perplexity of SmolLM2": [
            {"": mode, "perplexity": round(value, 3), "to float32 %": percent(value / base - 1, 2)}
            for mode, value in result["perplexity"].items()
        ],
        "recall of MiniLM": [
            {"": mode, **{f"{key} %": percent(value) for key, value in found.items()}}
            for mode, found in result["recall"].items()
        ],
    }
