"""Small vocabularies as checkpoints have them, and texts that tokenizers disagree on."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from modelzoo.runtime.text.token_stream import byte_characters

END = "<|endoftext|>"
TEXTS = [
    *("the cat", "The Cat SAT", "it's 1234 o'clock", "  two  spaces ", "tab\tand\nline\r\n"),
    *("naïve café", "nai\u0308ve cafe\u0301", "任务很难", "任 务 cat", "日本語のテキスト", "ไทย"),
    *("한국어 문장", "русский текст", "Ünïcödé", "ﬁ ligature", "½ ² ①", "e-mail@host.org"),
    *("$100.50!!!", "a_b__c", "x=y+z;", "...", "?!?!", "(hello)", "[PAD ]", "don't we'll I'D"),
    *("🌹🌹", "👩‍🚀 rocket", "zero\u200bwidth", "soft\u00adhyphen", "\u00a0nbsp\u00a0", "a\u0000b"),
    *("supercalifragilistic" * 6, "A", " ", "\n\n", "1,000,000", "C++ & C#", "“quoted”", "—dash—"),
    "the cat sat on the mat, and the dog did not.",
]
_WORDS = ("the", "cat", "sat", "on", "mat", "and", "dog", "did", "not", "café", "1234", "hello")


def byte_pairs(folder: Path, *specials: str, suffix: str = "", first: bool = False) -> dict:
    """Write `vocab.json` and `merges.txt`; the vocabulary.

    Args:
        suffix: what ends a word (CLIP).
        first: the control tokens have the first ids (RoBERTa), else the last.
    """
    alphabet = [*byte_characters(), *(c + suffix for c in byte_characters() if suffix)]
    tokens = [*specials, *alphabet] if first else alphabet
    merges = []
    spaced = [] if suffix else [f" {word}" for word in _WORDS]
    for word in [*spaced, *_WORDS]:
        letters = pre_tokenizers.ByteLevel(False, use_regex=False).pre_tokenize_str(word)[0][0]
        parts = [*letters[:-1], letters[-1] + suffix]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            tokens.append(parts[0])
    tokens += () if first else specials
    vocab = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in dict.fromkeys(merges))]
    (folder / "vocab.json").write_text(json.dumps(vocab), "utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return vocab


def word_pieces(folder: Path, specials: tuple[str, ...]) -> dict:
    """Write `vocab.txt`; the vocabulary."""
    letters = dict.fromkeys(c for text in TEXTS for c in text + text.lower() if c.strip())
    plain = dict.fromkeys(c for c in normalizers.NFD().normalize_str("".join(letters)))
    both = [*letters, *plain, *"任务"]
    tokens = [*specials, *_WORDS, "Cat", "任务", *both, *("##" + c for c in both)]
    vocab = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", "utf-8")
    return vocab


def unigram(folder: Path, specials: tuple[str, ...]) -> None:
    """Write a `tokenizer.json` as T5's, without a post-processor."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=list(specials), unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.save(str(folder / "tokenizer.json"))


def write(folder: Path, **files: object) -> None:
    """`tokenizer_config={...}` is written as tokenizer_config.json."""
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), "utf-8")
