"""SentencePiece's `.model` files, and the tokenizers that classes of `transformers` make of them.

The file is a protocol buffer; the fields that count here are read from its bytes, each within the
bounds of the field around it. Field numbers are those of `sentencepiece_model.proto` (Kudo and
Richardson 2018).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import WeightsError

if TYPE_CHECKING:
    import tokenizers

__all__ = [
    "MBART",
    "MBART_50",
    "Pieces",
    "albert",
    "camembert",
    "fairseq",
    "marian",
    "pegasus",
    "read_pieces",
    "t5",
]

Settings = Mapping[str, Any]
Scored = list[tuple[str, float]]

_LIMIT = 256 * 2**20  # bytes; the largest vocabularies in use have 5 MB
_ALGORITHMS = {1: "Unigram", 2: "BPE", 3: "word", 4: "char"}
_SPACE = "▁"
_MARK = "\0"
# Languages of mBART (Liu et al. 2020), and those that mBART-50 (Tang et al. 2020) adds, by id.
_FIRST = """
    ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT
    lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN
"""
_MORE = """
    af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF
    pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI
"""
MBART, MBART_50 = tuple(_FIRST.split()), tuple((_FIRST + _MORE).split())


@dataclass(frozen=True)
class Pieces:
    """A SentencePiece model.

    Attributes:
        scored: (piece, score) in the order of the ids.
        unk: the id of what is not known.
        charsmap: how characters are normalised, as `tokenizers.normalizers.Precompiled` takes it;
            empty for nothing.
    """

    scored: Scored
    unk: int
    charsmap: bytes


def read_pieces(path: Path) -> Pieces:
    """The pieces of a Unigram model (Kudo 2018).

    Raises:
        WeightsError: the file is damaged, or of another algorithm.
    """
    if path.stat().st_size > _LIMIT:
        raise WeightsError(f"{path.name} has more than {_LIMIT:,} bytes", where=path)
    try:
        return _parse(memoryview(path.read_bytes()))
    except (ValueError, struct.error) as error:
        raise WeightsError(
            f"{path.name} is not a SentencePiece model: {error}",
            where=path,
            next_step="fetch the file again, whole",
        ) from error


def _parse(data: memoryview) -> Pieces:
    scored: Scored = []
    algorithm, unk, charsmap = 1, 0, b""
    for number, value in _fields(data):
        if number == 1:  # pieces
            piece = dict(_fields(_bytes(value)))
            if 1 not in piece:
                raise ValueError(f"piece {len(scored)} has no text")
            (score,) = struct.unpack("<f", _bytes(piece.get(2, bytes(4))))
            scored.append((bytes(_bytes(piece[1])).decode("utf-8"), score))
        elif number == 2:  # trainer_spec
            spec = dict(_fields(_bytes(value)))
            algorithm, unk = spec.get(3, 1), spec.get(40, 0)
        elif number == 3:  # normalizer_spec
            charsmap = bytes(_bytes(dict(_fields(_bytes(value))).get(2, b"")))
    if algorithm != 1:
        raise ValueError(f"it is of the kind {_ALGORITHMS.get(algorithm, algorithm)}, not Unigram")
    if not isinstance(unk, int) or unk >= len(scored):
        raise ValueError(f"it has {len(scored)} pieces, and the unknown one is number {unk}")
    return Pieces(scored, unk, charsmap)


def _fields(data: Any) -> Iterator[tuple[int, Any]]:
    """The number and value of each field: a whole number, or the bytes of anything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind in (1, 2, 5):
            size, at = (8 if kind == 1 else 4, at) if kind != 2 else _varint(data, at)
            if size > len(data) - at:
                raise ValueError(f"field {number} ends after the file")
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"field {number} is of the unknown kind {kind}")
        yield number, value


def _bytes(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError(f"the number {value} stands where a text or table should")
    return value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A whole number of 7 bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a number is cut off")
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has more than 10 bytes")


# === What each class makes of them, as `Family.build` ===


def t5(family: Any, folder: Path, settings: Settings) -> tokenizers.Tokenizer:
    """The pieces, then `extra_ids` sentinels, the last one first."""
    extra = [f"<extra_id_{i}>" for i in reversed(range(settings.get("extra_ids", 100)))]
    pieces = read_pieces(folder / family.files[0])
    return _backend(pieces, [*pieces.scored, *_zero(extra)], pieces.unk, special=extra)


def fairseq(languages: tuple[str, ...] = ()) -> Callable:
    """XLM-RoBERTa and mBART: fairseq's four control tokens come before the pieces."""

    def build(family: Any, folder: Path, settings: Settings) -> tokenizers.Tokenizer:
        pieces = read_pieces(folder / family.files[0])
        first = _zero(("<s>", "<pad>", "</s>", "<unk>"))
        last = _zero((*languages, "<mask>"))
        scored = [*first, *pieces.scored[3:], *last]
        return _backend(pieces, scored, unk=3, special=languages)

    return build


def camembert(family: Any, folder: Path, settings: Settings) -> tokenizers.Tokenizer:
    """As fairseq's, whose own tokens were left unused."""
    pieces = read_pieces(folder / family.files[0])
    unused = ("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")
    first = _zero((unused[0], "<pad>", unused[1], "<unk>"))
    scored = [*first, (unused[2], -100.0), *pieces.scored[1:], ("<mask>", 0.0)]
    return _backend(pieces, scored, unk=3, special=unused)


def pegasus(family: Any, folder: Path, settings: Settings) -> tokenizers.Tokenizer:
    """Two masks and unknown tokens up to `offset`, between the first two pieces and the others."""
    pieces, offset = read_pieces(folder / family.files[0]), settings.get("offset", 103)
    between = ["<mask_1>", "<mask_2>", *(f"<unk_{i}>" for i in range(2, offset))]
    scored = [*_zero(("<pad>", "</s>")), *_zero(between[:2])]
    scored += [(token, -100.0) for token in between[2:]] + pieces.scored[2:]
    return _backend(pieces, scored, pieces.unk + offset, special=between)


def albert(family: Any, folder: Path, settings: Settings) -> tokenizers.Tokenizer:
    """The pieces as they are; numbers keep no comma, and text loses its accents and capitals."""
    from tokenizers import normalizers

    pieces = read_pieces(folder / family.files[0])
    scored = [
        (piece, score - 100 if piece[-1:] == "," and piece[-2:-1].isdigit() else score)
        for piece, score in pieces.scored
    ]
    before: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not settings.get("keep_accents", False):
        before += [normalizers.NFKD(), normalizers.StripAccents()]
    if settings.get("do_lower_case", True):
        before.append(normalizers.Lowercase())
    return _backend(pieces, scored, pieces.unk, before)


def marian(family: Any, folder: Path, settings: Settings) -> tokenizers.Tokenizer:
    """The ids of `vocab.json`, with the scores of the source's pieces.

    A token that is only in the target's vocabulary has a mark in front of it that no text has: it
    is written and never read. Only where it is one character, unknown to the source, it is read in
    place of the unknown token. A piece without an id is left out: text is cut into other pieces.
    """
    import tokenizers
    from tokenizers import decoders

    pieces, path = read_pieces(folder / family.files[0]), folder / "vocab.json"
    ids = json.loads(path.read_text("utf-8"))
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError("the ids of vocab.json have a gap")
    scores, control = dict(pieces.scored), ("</s>", "<unk>", "<pad>")
    tokens = sorted(ids, key=ids.get)
    languages = [token for token in tokens if token.startswith(">>") and token.endswith("<<")]
    known = {*scores, *control, *languages, *(token for token in tokens if len(token) == 1)}
    unknown = min(scores.values()) - 10  # as SentencePiece counts what it does not know
    scored = [(t if t in known else _MARK + t, scores.get(t, unknown)) for t in tokens]
    backend = _backend(pieces, scored, ids["<unk>"])
    # A text says its language, so these are not control tokens.
    backend.add_tokens([tokenizers.AddedToken(one, normalized=False) for one in languages])
    backend.decoder = decoders.Sequence([decoders.Replace(_MARK, ""), backend.decoder])
    return backend


def _zero(tokens) -> Scored:
    return [(token, 0.0) for token in tokens]


def _backend(pieces: Pieces, scored: Scored, unk: int, before=(), special=()):
    """A tokenizer over pieces: normalised as the file says, a mark for each space.

    Args:
        before: normalizers before the file's.
        special: further control tokens, which are in `scored`.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    backend = tokenizers.Tokenizer(models.Unigram(scored, unk, byte_fallback=False))
    steps = [*before, *([normalizers.Precompiled(pieces.charsmap)] if pieces.charsmap else [])]
    if steps:
        backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(_SPACE, "always")]
    )
    backend.decoder = decoders.Metaspace(_SPACE, "always")
    backend.add_special_tokens(list(special))
    return backend
