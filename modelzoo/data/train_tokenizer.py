"""Trains a tokenizer on the user's own text.

All four kinds work on bytes, written in GPT-2's alphabet of 256 visible characters. So no text is
unknown, and every text comes back exactly, spaces and emoji included. The same texts in the same
order give the same file, byte for byte.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from modelzoo.data.unigram import train_unigram
from modelzoo.errors import TokenizerError, nearest
from modelzoo.registry import components
from modelzoo.runtime.text.cutting import WORDPIECE_WORDS
from modelzoo.runtime.text.token_stream import byte_characters
from modelzoo.runtime.text.tokenizer import Tokenizer

__all__ = ["KINDS", "train_tokenizer"]

_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair
# Words of the training text end here: learning takes the square of a word's length. No language has
# longer ones.
_LONGEST_WORD = 100  # characters
_LONG_WORD = re.compile(
    rf"(?:[^\W\d_]{{{_LONGEST_WORD}}}|\d{{{_LONGEST_WORD}}}|(?:[^\w\s]|_){{{_LONGEST_WORD}}})(?=\S)"
)

KINDS = ("bpe", "byte", "wordpiece", "unigram")


def train_tokenizer(
    texts: Iterable[str],
    kind: str = "bpe",
    vocab_size: int | None = None,
    specials: Sequence[str] = ("<|endoftext|>",),
) -> Tokenizer:
    """Trains a tokenizer.

    Args:
        texts: the texts, read once.
        kind: "bpe", "wordpiece" or "unigram"; or "byte": 256 bytes and nothing to learn.
        vocab_size: at most this many tokens, control tokens included; 32,000 if not given. Little
            text gives fewer. "byte" always has 256 and the control tokens.
        specials: control tokens, a task's `special_tokens` for example. They get the first ids.

    Returns:
        A `modelzoo.runtime.Tokenizer`.

    Raises:
        TokenizerError: no text, an unknown kind, or a `vocab_size` too small to spell all bytes.

    Example:
        >>> tokenizer = train_tokenizer(["a rose is a rose"], kind="bpe", vocab_size=300)
        >>> tokenizer.decode(tokenizer.encode("a rose 🌹"))
        'a rose 🌹'
    """
    if kind not in KINDS:
        raise TokenizerError(
            f"no such kind of tokenizer: {kind}; choose one of {', '.join(KINDS)}",
            did_you_mean=nearest(kind, KINDS),
        )
    specials = list(specials)
    if len(set(specials)) < len(specials) or "" in specials:
        raise TokenizerError(f"control tokens must differ and not be empty: {specials}")
    smallest = len(specials) + (512 if kind == "wordpiece" else 256)
    if vocab_size is None:
        vocab_size = smallest if kind == "byte" else 32_000
    if vocab_size < smallest:
        raise TokenizerError(
            f"vocab_size={vocab_size} is too small: {kind} needs {smallest} "
            f"({smallest - len(specials)} to spell any byte, {len(specials)} control tokens)",
            next_step=f"take vocab_size={smallest} or more, or kind='byte'",
        )
    train = {"bpe": _bpe, "byte": _byte, "wordpiece": _wordpiece, "unigram": _unigram}[kind]
    trained = train(_checked(texts), vocab_size, specials)
    trained.add_special_tokens(specials)
    tokenizer = Tokenizer(trained)
    for special in specials:
        if tokenizer.token_to_id(special) in trained.encode(special).ids:
            raise TokenizerError(
                f"the control token {special!r} is a word: text that holds it would become it",
                next_step=f"put it in brackets: '<|{special}|>'",
            )
    return tokenizer


def __getattr__(name: str) -> Any:
    """What 0.1 had here, the control tokens of each task. Goes in 0.3."""
    if name not in ("SPECIALS", "specials_for"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"{__name__}.{name} is the attribute special_tokens of a task since modelzoo 0.2, and goes "
        "in 0.3",
        DeprecationWarning,
        stacklevel=2,
    )
    if name == "specials_for":
        return lambda task: components.task(task).special_tokens
    return {task: components.task(task).special_tokens for task in components.CORE["tasks"]}


def _bpe(texts: Iterator[str], vocab_size: int, specials: list[str]) -> tokenizers.Tokenizer:
    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=specials,
        initial_alphabet=byte_characters(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(_with_short_words, texts), trainer)
    return tokenizer


def _with_short_words(text: str) -> str:
    """A text whose words a line break cuts where they are too long to learn from."""
    if max(map(len, text.split()), default=0) <= _LONGEST_WORD:
        return text
    return _LONG_WORD.sub(r"\g<0>\n", text)


def _byte(texts: Iterator[str], vocab_size: int, specials: list[str]) -> tokenizers.Tokenizer:
    vocabulary = {token: id for id, token in enumerate([*specials, *byte_characters()])}
    return _byte_level(models.BPE(vocab=vocabulary, merges=[]), use_regex=False)


def _wordpiece(texts: Iterator[str], vocab_size: int, specials: list[str]) -> tokenizers.Tokenizer:
    alphabet = byte_characters()
    alphabet += ["##" + character for character in alphabet]
    words = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDPIECE_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner = tokenizers.Tokenizer(models.WordPiece())
    learner.pre_tokenizer = words
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        # As "special" tokens the letters get fixed ids. The trainer would number the "##" ones as
        # it meets them in a hash map: another file at each run.
        special_tokens=[*specials, *alphabet],
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    vocabulary = learner.get_vocab()
    # Never needed, as every byte is in the vocabulary; the model asks for a name all the same.
    unknown = next((token for token in specials if "unk" in token.lower()), specials[0])
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=100)
    )
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(Regex("^##"), ""), decoders.ByteLevel()]
    )
    return tokenizer


def _unigram(texts: Iterator[str], vocab_size: int, specials: list[str]) -> tokenizers.Tokenizer:
    # Not the trainer of `tokenizers`: it sums floats in the order of a hash map, so that each run
    # writes another file.
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    pieces = train_unigram(texts, words, vocab_size - len(specials), byte_characters())
    return _byte_level(models.Unigram([(token, 0.0) for token in specials] + pieces))


def _byte_level(model: models.Model, use_regex: bool = True) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts, of which at least one must hold something."""
    if isinstance(texts, str):
        raise TokenizerError(
            "texts must be several texts, not one str", next_step="pass [text], a list"
        )

    def strings() -> Iterator[str]:
        for text in texts:
            if not isinstance(text, str):
                raise TokenizerError(f"a text must be str, not {type(text).__name__}")
            half = _HALF.search(text)
            if half:
                raise TokenizerError(
                    f"a text holds half a character ({half.group()!a}) at {half.start()}",
                    next_step='read it with errors="replace"',
                )
            if text:
                yield text

    checked = strings()
    first = next(checked, None)
    if first is None:
        raise TokenizerError("there is no text to train a tokenizer on")
    return itertools.chain([first], checked)
