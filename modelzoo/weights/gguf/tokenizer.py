"""A `tokenizer.json` from the vocabulary of a GGUF file.

GGUF keeps the tokens, their types, and merges or scores; of the way in which a text is cut into
words it keeps only a name. What the names mean, and what holds where a key is missing, is for
llama.cpp to say.

Source: `src/llama-vocab.cpp` of https://github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelzoo.errors import WeightsError
from modelzoo.weights.checkpoint import TokenizerFiles
from modelzoo.weights.gguf.vocabulary import (
    BYTE,
    CONTROL,
    OTHER,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Vocabulary,
)

if TYPE_CHECKING:
    import tokenizers

__all__ = ["PRE_TOKENIZERS", "read_tokenizer"]

_SPACE = "\u2581"  # SentencePiece's
_ROLES = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
    "sep": "seperator_token_id",  # so spelled in the format
    "mask": "mask_token_id",
}
_STOPS = ("eot_token_id", "eom_token_id")
# Converters leave those ids out more often than not; llama.cpp goes by the name then.
_STOP_NAMES = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>")
_CONVERT = "convert the model to GGUF again with a current llama.cpp"


@dataclass(frozen=True)
class PreTokenizer:
    """How a name in `tokenizer.ggml.pre` cuts a text into words.

    Attributes:
        patterns: regular expressions, each applied to what the one before it left.
        gpt2: GPT-2's own expression comes after them.
        normalizer: of `tokenizers`, or `None`.
        whole_words: a word that the vocabulary holds is one token, whatever the merges say.
        bos: one is put before a text, where the file does not say.
    """

    patterns: tuple[str, ...] = ()
    gpt2: bool = False
    normalizer: str | None = None
    whole_words: bool = False
    bos: bool = False


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_DIGITS_ALONE = PreTokenizer((r"\p{N}",), gpt2=True)
_LLAMA3 = PreTokenizer((_WORDS + r"\p{N}{1,3}" + _TAIL,), whole_words=True, bos=True)
_QWEN2 = PreTokenizer((_WORDS + r"\p{N}" + _TAIL,), normalizer="NFC")
PRE_TOKENIZERS = {
    # What llama.cpp makes of "default": not GPT-2's, it cuts numbers and punctuation besides.
    "default": PreTokenizer((r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", r"[0-9]{3}")),
    "gpt-2": PreTokenizer(gpt2=True),
    "smollm": _DIGITS_ALONE,
    "starcoder": _DIGITS_ALONE,
    "refact": _DIGITS_ALONE,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
}


def read_tokenizer(metadata: Mapping[str, Any], where: str) -> TokenizerFiles | None:
    """The tokenizer of a GGUF file; `None` where it has none.

    Args:
        metadata: of the file.
        where: what errors name.

    Raises:
        WeightsError: a tokenizer of another kind, an unknown way to cut words, or parts that are
            missing or do not fit together.
    """
    kind = metadata.get("tokenizer.ggml.model", "no_vocab")
    if kind in ("no_vocab", "none"):
        return None
    vocabulary = Vocabulary(metadata, where)
    if kind == "gpt2":
        backend, bos = _byte_level(vocabulary)
    elif kind == "llama":
        backend, bos = _sentencepiece(vocabulary), True
    else:
        raise WeightsError(
            f"a tokenizer of the kind {kind!r} cannot be read; gpt2 and llama can",
            where=f"{where}: tokenizer.ggml.model",
            next_step=OTHER,
        )
    return _finished(backend, vocabulary, bos)


def _byte_level(vocabulary: Vocabulary) -> tuple[tokenizers.Tokenizer, bool]:
    """BPE over bytes, and whether bos comes first by default."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    name = vocabulary.metadata.get("tokenizer.ggml.pre")
    way = PRE_TOKENIZERS.get(name) if isinstance(name, str) else None
    if way is None:
        what = (
            "the file does not say how its tokenizer cuts words: tokenizer.ggml.pre is missing"
            if name is None
            else f"this way to cut words is not known: {name!r}; "
            f"those that are: {', '.join(PRE_TOKENIZERS)}"
        )
        where = f"{vocabulary.where}: tokenizer.ggml.pre"
        raise WeightsError(what, where=where, next_step=OTHER if name else _CONVERT)

    merges = []
    for merge in vocabulary.strings("merges"):
        left, _, right = merge.partition(" ")
        if not {left, right, left + right} <= vocabulary.ids.keys():
            raise vocabulary.wrong("merges", f"the merge {merge!r} is not of tokens that there are")
        merges.append((left, right))
    backend = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary.ids, merges=merges, ignore_merges=way.whole_words)
    )
    if way.normalizer:
        backend.normalizer = getattr(normalizers, way.normalizer)()
    splits = [pre_tokenizers.Split(tokenizers.Regex(p), "isolated") for p in way.patterns]
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=way.gpt2)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, bytes_of]) if splits else bytes_of
    backend.decoder = decoders.ByteLevel()
    return backend, way.bos


def _sentencepiece(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """BPE over characters, bytes where a character has no token: Llama 2, Gemma."""
    import tokenizers
    from tokenizers import decoders, models, normalizers

    first_space = vocabulary.flag("add_space_prefix", True)
    unknown = vocabulary.token("unknown_token_id")
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary.ids,
            merges=_merges_by_score(vocabulary),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    first = [normalizers.Prepend(_SPACE)] if first_space else []
    backend.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", _SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if first_space else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return backend


def _merges_by_score(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """SentencePiece's merges: any two tokens that make a third, the one of the best score first."""
    scores = vocabulary.numbers("scores")
    # These are never made of parts, nor parts of others.
    whole = vocabulary.of_type(UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE)
    pieces = {token: id for token, id in vocabulary.ids.items() if token not in whole}
    merges = []
    for token, id in pieces.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in pieces and right in pieces:
                merges.append((-scores[id], id, -cut, left, right))
    return [(left, right) for *_, left, right in sorted(merges)]


def _finished(backend: tokenizers.Tokenizer, vocabulary: Vocabulary, bos: bool) -> TokenizerFiles:
    """The same with its special tokens, its bos, its roles and its chat template."""
    from tokenizers import AddedToken, processors

    roles = {role: vocabulary.token(key) for role, key in _ROLES.items()}
    roles = {role: token for role, token in roles.items() if token is not None}
    if vocabulary.types is None:
        special = {roles.get("bos"), roles.get("eos")}
        visible = set()
    else:
        special = vocabulary.of_type(CONTROL, UNKNOWN)
        visible = vocabulary.of_type(USER_DEFINED)
    added = [token for token in vocabulary.tokens if token in special or token in visible]
    backend.add_tokens([AddedToken(t, normalized=False, special=t in special) for t in added])

    first = ["bos"] if vocabulary.flag("add_bos_token", bos and "bos" in roles) else []
    last = ["eos"] if vocabulary.flag("add_eos_token", False) else []
    for role in first + last:
        if role not in roles:
            raise vocabulary.wrong(_ROLES[role], f"a text gets a {role} token, and there is none")
    if first or last:
        before, after = [roles[role] for role in first], [roles[role] for role in last]
        single = [*before, "$A", *after]
        pair = [*single, *(f"{one}:1" for one in before), "$B:1", *(f"{one}:1" for one in after)]
        ids = [(token, vocabulary.ids[token]) for token in {roles[role] for role in first + last}]
        backend.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=ids
        )

    stops = [vocabulary.token(key) for key in _STOPS]
    control = vocabulary.of_type(CONTROL)
    stops += [name for name in _STOP_NAMES if name in control]
    template = vocabulary.metadata.get("tokenizer.chat_template")
    return TokenizerFiles(
        json=backend.to_str(),
        roles=roles,
        stop_tokens=tuple(dict.fromkeys(s for s in stops if s and s != roles.get("eos"))),
        chat_template=template if isinstance(template, str) and template else None,
    )
