"""Section `vocabulary`: what a vocabulary that is cut to a corpus saves, and what it costs."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

from benchmarks.common import modelzoo, rounded
from benchmarks.edge.decoders import DECODERS, Decoder, model_of
from benchmarks.edge.peer import Peer, alternate
from benchmarks.training.kjv import HELD_OUT, books

SIZES = {"smollm2": (None, 16_384), "gemma3": (None, 65_536, 16_384)}  # None: the whole one
WINDOW, PROMPT, NEW = 512, 64, 96
FIRST, MARK = "Mat", "Mark"  # of the New Testament, and the book that is scored
PIECES, LENGTH = 24, 400  # of a text that is scored: how many, and characters of each


def vocabulary(options) -> dict:
    """What a vocabulary cut to a corpus saves, and what it costs.

    int8, window 512. The corpus is the New Testament of the King James Bible without Mark,
    Philippians and James; a size of 16,384 or 65,536 is filled up with the most frequent other
    tokens. Bits per byte are of Mark, which is like the corpus, and of docstrings of Python, which
    are not; 24 passages of 400 characters each. Speeds are of 96 greedy tokens after 64 of Mark, on
    one thread: the best of the rounds, by its CPU time.
    """
    corpus = options.work / "testament.txt"
    corpus.write_text(testament(), "utf-8")
    texts = scored_texts()
    runs = []
    for name in options.models:
        decoder = DECODERS[name]
        model_of(options, decoder)
        bundles = {size: bundle(options, decoder, corpus, size) for size in SIZES[name]}
        jobs = {size: _job(path, texts) for size, path in bundles.items()}
        peers = [Peer(str(size), "decoder", {**job, "windows": None}) for size, job in jobs.items()]
        speeds = alternate(peers, options.rounds)
        for size, path in bundles.items():
            run = {"model": decoder.name, "bytes": (path / "model.tflite").stat().st_size}
            run["speed"] = speeds[str(size)]["decode_tokens_s"]["best"]
            run["resident"] = speeds[str(size)]["rss_MB"]
            runs.append({**run, "tokens": _tokens(path), "bits": _bits(jobs[size], texts)})
    return {"runs": runs}


def testament() -> str:
    found = books()
    names = list(found)[list(found).index(FIRST) :]
    return "".join(found[name] for name in names if name not in HELD_OUT)


def scored_texts() -> dict[str, list[str]]:
    """Title of a text -> its passages."""
    from modelzoo.data.python_docs import read_python_docs

    docs = (" ".join(text.split()) for _, text in read_python_docs())
    long = (text[:LENGTH] for text in docs if len(text) >= 4 * LENGTH)
    mark = " ".join(books()[MARK].split())
    return {
        "Mark": [mark[LENGTH * at : LENGTH * (at + 1)] for at in range(PIECES)],
        "docstrings": list(islice(long, PIECES)),
    }


def bundle(options, decoder: Decoder, corpus: Path, size: int | None) -> Path:
    """The model's bundle with a vocabulary of that size, exported when it is first asked for."""
    work = options.work / decoder.folder
    target = work / f"vocabulary-{size or 'whole'}.bundle"
    if not target.exists():
        settings = [f"max_length={WINDOW}", "windows=[]", f"prefill_lengths=[{PROMPT}]"]
        settings.append("verify_lengths=[]")
        words = [word for one in settings for word in ("--set", f"export.{one}")]
        if size is not None:
            words += ["--vocabulary", corpus, "--vocabulary-size", size]
        modelzoo("export", work / "model", "-o", target, "--quantize", "int8", *words)
    return target


def _job(path: Path, texts: dict[str, list[str]]) -> dict:
    """What the child is given: a prompt, and each passage after the token that begins a text."""
    from modelzoo.runtime.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(path)
    first = tokenizer.role("bos")
    ids = {
        title: [[first, *one] for one in tokenizer.encode_batch(passages)]
        for title, passages in texts.items()
    }
    prompt = [first, *tokenizer.encode(" ".join(texts["Mark"]))][:PROMPT]
    job = {"bundle": str(path), "threads": 1, "cpu": True, "prompt": prompt, "new": NEW}
    return {**job, "windows": ids}


def _tokens(path: Path) -> int:
    from modelzoo.runtime.bundle import read_bundle

    return read_bundle(path).manifest["vocab_size"]


def _bits(job: dict, texts: dict[str, list[str]]) -> dict[str, float]:
    """Bits per byte of each text."""
    found = {}
    for title, windows in job["windows"].items():
        peer = Peer(title, "decoder", {**job, "windows": windows})
        try:
            nats = peer.ask()["nats"] * sum(len(window) - 1 for window in windows)
        finally:
            peer.close()
        found[title] = nats / math.log(2) / sum(len(text.encode()) for text in texts[title])
    return found


def tables(result: dict) -> dict[str, list[dict]]:
    """A row for each model and size."""
    rows, whole = [], {}
    for run in result["runs"]:
        first = whole.setdefault(run["model"], run)
        rows.append(
            {
                "": run["model"],
                "tokens": run["tokens"],
                "MB": rounded(run["bytes"] / 1e6),
                "of the whole": round(run["bytes"] / first["bytes"], 2),
                "resident MB": rounded(run["resident"]),
                "tokens/s": rounded(run["speed"]),
                "times as fast": round(run["speed"] / first["speed"], 2),
                **{f"bits per byte, {key}": round(bits, 3) for key, bits in run["bits"].items()},
            }
        )
    return {"vocabularies cut to a corpus, int8": rows}
