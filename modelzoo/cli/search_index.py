"""The vectors that `modelzoo search --index` keeps, and its progress line."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path


def open_index(args: argparse.Namespace) -> tuple[dict, object]:
    """What an earlier search kept, and what keeps more; nothing without `--index`."""
    from modelzoo.runtime.search.index import read_vectors, write_vectors

    if not args.index:
        return {}, None
    name = model_digest(args.model)
    return read_vectors(args.index, name), lambda kept: write_vectors(args.index, name, kept)


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


class Progress:
    """One line that is written over, for who waits at a terminal."""

    def __init__(self, what: str):
        self.what, self.begun = what, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        left = ""
        if done:
            seconds = (time.monotonic() - self.begun) * (total - done) / done
            left = f", {seconds:,.0f} s left"
        text = f"modelzoo: embedding {done:,} of {total:,} {self.what}{left}"
        print(f"\r\x1b[K{text if done < total else ''}", end="", file=sys.stderr, flush=True)
