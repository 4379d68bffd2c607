"""Recipes cut down so far that a step takes milliseconds, and data that even such models learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import modelzoo

_ROWS = {"train.length": 16, "train.batch_size": 4, "train.warmup_steps": 0}
_WIDTH = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "max_length": 32}
GPT = {**_WIDTH, "vocab_size": 300, **_ROWS}
LSTM = {"vocab_size": 300, "embedding_dim": 32, "hidden_dims": [32], **_ROWS}
T5 = {**_WIDTH, "vocab_size": 300, "head_dim": 16, "ffn_dim": 64, **_ROWS}
BERT = {**_WIDTH, "vocab_size": 600, "dropout": 0.0, "attention_dropout": 0.0, **_ROWS}
BERT["train.learning_rate"] = 2e-3
CHANGES = {
    "gpt-tiny": GPT,
    "lstm-tiny": LSTM,
    "t5-tiny": T5,
    "bert-tiny": BERT,
    "bert-tiny-classifier": BERT,
}

TEXTS = [
    "a rose is a rose. the fox likes the rose.",
    "the dog likes the fox. a dog is no fox.",
] * 12
PAIRS = [("a rose", "eine Rose"), ("the fox", "der Fuchs"), ("a dog", "ein Hund")] * 8
REVIEWS = [("a fine film", "good"), ("a dull film", "bad"), ("so fine", "good"), ("so dull", "bad")]
DATA = {
    "gpt-tiny": TEXTS,
    "lstm-tiny": TEXTS,
    "t5-tiny": PAIRS,
    "bert-tiny": TEXTS,
    "bert-tiny-classifier": REVIEWS * 6,
}


def build(name: str = "gpt-tiny", **changes):
    """A small model; its tokenizer comes with its first data set."""
    return modelzoo.build(name, **{**CHANGES[name], **changes})


def recipe(name: str = "gpt-tiny", **changes):
    return modelzoo.read_recipe(name, {**CHANGES[name], **changes})


def with_tokenizer(name: str = "gpt-tiny", **changes):
    """A small model, random, that reads text."""
    model = build(name, **changes)
    modelzoo.dataset(model, DATA[name])
    return model


def options(name: str = "gpt-tiny", **changes) -> list[str]:
    """The same for the command line: `--set num_layers=1` and so on."""
    words = []
    for key, value in {**CHANGES[name], **changes}.items():
        words += ["--set", f"{key}={value}"]
    return words


def listing(folder: Path) -> list[str]:
    """Everything below a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more bytes than this fails, as on a full disk; the interpreter ignores the signal."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
