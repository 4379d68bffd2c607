"""Tokenizer classes of `transformers`: what each builds of files and puts over a tokenizer.json.

A family is a group of classes that differ in nothing but their name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import WeightsError, nearest
from modelzoo.weights import sentencepiece

if TYPE_CHECKING:
    import tokenizers

__all__ = ["Family", "family_of", "unknown"]

# Classes that take tokenizer.json as it is.
_GENERIC = {"PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"}
_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
_START, _PLAIN = "<|startoftranscript|>", "<|notimestamps|>"
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """What the tokenizers of a family have in common.

    Attributes:
        name: the class that errors name.
        model: the kind of vocabulary: "BPE", "WordPiece" or "Unigram".
        files: what it is built from.
        tokens: role -> token, where the settings name none.
        frame: "bert" ([CLS] a [SEP] b [SEP]), "roberta" (two separators between a and b), "ends"
            (bos and eos where the settings ask for them), "eos", "last" (one eos after both),
            "language" (eos and the source's language after both), "mbart-50" (the language before
            them, eos after them) or "whisper".
        cls, sep: the roles of the tokens in a frame of "bert" or "roberta".
        build: makes the tokenizer of the files and settings, without control tokens; `None` where
            the files are not read here.
        suffix: what ends a word in its vocabulary.
    """

    name: str
    model: str
    files: tuple[str, ...] = ("tokenizer.json",)
    tokens: Mapping[str, str] = field(default_factory=dict)
    frame: str = "ends"
    cls: str = "cls"
    sep: str = "sep"
    build: Callable[[Family, Path, Settings], tokenizers.Tokenizer] | None = None
    suffix: str = ""

    def read(self, folder: Path, settings: Settings) -> tokenizers.Tokenizer:
        """The tokenizer of a directory's vocabulary files, without control tokens.

        Raises:
            WeightsError: a file is missing, cannot be read, or is of a kind not read here.
        """
        missing = [name for name in self.files if not (folder / name).is_file()]
        if missing or self.build is None:
            needed = " and ".join(self.files)
            raise WeightsError(
                f"a {self.name} is built from {needed} here"
                + (f", and there is no {missing[0]}" if missing else ""),
                where=folder,
                next_step="write a tokenizer.json where you trust the files: "
                "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) of transformers",
            )
        try:
            return self.build(self, folder, settings)
        except WeightsError:
            raise
        except Exception as error:  # tokenizers raises the bare base class
            raise WeightsError(
                f"the vocabulary cannot be read: {error}",
                where=", ".join(str(folder / name) for name in self.files),
                next_step="fetch the directory again, whole",
            ) from error

    def put_over(self, backend: tokenizers.Tokenizer, settings: Settings) -> None:
        """Change a tokenizer.json as the class does: what the settings say, else its defaults."""
        from tokenizers import normalizers, pre_tokenizers

        if self.model == "WordPiece" and isinstance(backend.normalizer, normalizers.BertNormalizer):
            state = json.loads(backend.normalizer.__getstate__())
            clean = state.get("clean_text", True)
            backend.normalizer = _bert_normalizer(settings, clean=clean)
        cut = backend.pre_tokenizer
        if self.suffix == "" and isinstance(cut, pre_tokenizers.ByteLevel):
            cut.add_prefix_space = bool(settings.get("add_prefix_space", False))
            backend.pre_tokenizer = cut

    def framed(
        self,
        backend: tokenizers.Tokenizer,
        tokens: Mapping[str, str],
        settings: Settings,
        *,
        whole: bool,
    ) -> None:
        """Give a tokenizer the family's post-processor; none where its tokens are missing.

        Args:
            tokens: role -> token, in the vocabulary.
            whole: it was read from a tokenizer.json, which knows best whether bos and eos stand
                around a text.
        """
        from tokenizers import processors

        cls, sep, bos, eos = (tokens.get(role) for role in (self.cls, self.sep, "bos", "eos"))
        first = [bos] if settings.get("add_bos_token") else []
        last = [eos] if settings.get("add_eos_token") else []
        language = settings.get("src_lang") or "en_XX"
        said = [_START] if settings.get("predict_timestamps") else [_START, _PLAIN]
        frames = {
            "bert": ([cls, "$A", sep], [cls, "$A", sep, "$B:1", f"{sep}:1"]),
            "roberta": ([cls, "$A", sep], [cls, "$A", sep, sep, "$B", sep]),
            "eos": (["$A", eos], ["$A", eos, "$B", eos]),
            "last": (["$A", eos], ["$A", "$B", eos]),
            "language": (["$A", eos, language], ["$A", "$B", eos, language]),
            "mbart-50": ([language, "$A", eos], [language, "$A", "$B", eos]),
            "whisper": ([*said, "$A", eos], [*said, "$A", "$B:1", f"{eos}:1"]),
            "ends": (
                [*first, "$A", *last],
                [*first, "$A", *last, *(f"{one}:1" for one in first), "$B:1"]
                + [f"{one}:1" for one in last],
            ),
        }
        single, pair = frames[self.frame]
        around = [one for one in single if one != "$A"]
        ids = [(one, id) for one in around if one and (id := backend.token_to_id(one)) is not None]
        if (whole and self.frame == "ends") or len(ids) < len(around):
            return
        if self.frame == "roberta":
            space = bool(settings.get("add_prefix_space", False))
            backend.post_processor = processors.RobertaProcessing(ids[-1], ids[0], True, space)
        else:
            backend.post_processor = processors.TemplateProcessing(
                single=single, pair=pair, special_tokens=list(dict(ids).items())
            )


def family_of(settings: Settings, config: Mapping) -> tuple[Family | None, bool]:
    """The family of a checkpoint's tokenizer, and whether a class is named.

    Args:
        settings: its tokenizer_config.json, whose class comes first.
        config: its config.json, which may name a class too; else its model type decides.

    Returns: `None` where nothing is named, or what is named takes tokenizer.json as it is.
    """
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    if isinstance(named, str):
        return _CLASSES.get(named.removesuffix("Fast")), named not in _GENERIC
    return _CLASSES.get(_MODEL_TYPES.get(str(config.get("model_type")), "")), False


def unknown(settings: Settings, config: Mapping, folder: Path) -> WeightsError:
    """The error that no family can be built of a directory's vocabulary files."""
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    kind = config.get("model_type")
    known = sorted(name for name, family in _CLASSES.items() if family.build)
    what = f"the tokenizer class {named}" if named else f"the tokenizer of the model type {kind!r}"
    if not named and kind is None:
        what = "a tokenizer whose class neither tokenizer_config.json nor config.json names"
    return WeightsError(
        f"{what} cannot be built without a tokenizer.json; built are {', '.join(known)}",
        where=folder,
        did_you_mean=nearest(str(named), known) if named else None,
        next_step="write one where you trust the files: "
        "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) of transformers",
    )


# === How each is built ===


def _bert_normalizer(settings: Settings, clean: bool = True):
    from tokenizers import normalizers

    return normalizers.BertNormalizer(
        clean_text=clean,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=bool(settings.get("do_lower_case", True)),
    )


def _wordpiece(family: Family, folder: Path, settings: Settings):
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    unk = _token(settings.get("unk_token")) or family.tokens["unk"]
    model = models.WordPiece.from_file(str(folder / family.files[0]), unk_token=unk)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = _bert_normalizer(settings)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def _bytes(folder: Path, **options):
    """BPE over bytes: vocab.json and merges.txt."""
    import tokenizers
    from tokenizers import decoders, models

    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    backend = tokenizers.Tokenizer(models.BPE.from_file(*files, **options))
    backend.decoder = decoders.ByteLevel()
    return backend


def _gpt2(family: Family, folder: Path, settings: Settings):
    from tokenizers import normalizers, pre_tokenizers

    backend = _bytes(folder)
    space = bool(settings.get("add_prefix_space", False))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    if family.name == "GPTNeoXTokenizer":
        backend.normalizer = normalizers.NFC()
    return backend


def _qwen2(family: Family, folder: Path, settings: Settings):
    import tokenizers
    from tokenizers import normalizers, pre_tokenizers

    backend = _bytes(folder)
    space = bool(settings.get("add_prefix_space", False))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_QWEN2_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=False),
        ]
    )
    return backend


def _clip(family: Family, folder: Path, settings: Settings):
    import tokenizers
    from tokenizers import decoders, normalizers, pre_tokenizers

    unk = _token(settings.get("unk_token")) or family.tokens["unk"]
    backend = _bytes(folder, end_of_word_suffix=family.suffix, unk_token=unk)
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_CLIP_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    # The text of a word ends in its suffix, which stands for a space.
    backend.decoder = decoders.Sequence(
        [
            decoders.ByteLevel(),
            decoders.Replace(family.suffix, " "),
            decoders.Strip(" ", 0, 1),
        ]
    )
    return backend


def _token(value: Any) -> str | None:
    """A token, which may be written as an object with its properties."""
    return value.get("content") if isinstance(value, dict) else value


# === Which there are ===

_PAIRS = ("vocab.json", "merges.txt")
_END = "<|endoftext|>"
_BERT_TOKENS = {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
_BART_TOKENS = {
    **{"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>"},
    **{"pad": "<pad>", "unk": "<unk>", "mask": "<mask>"},
}
_FAIRSEQ, _SPIECE = ("sentencepiece.bpe.model",), ("spiece.model",)
_T5_TOKENS = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
_ALBERT_TOKENS = {**_BERT_TOKENS, "bos": "[CLS]", "eos": "[SEP]", "unk": "<unk>", "pad": "<pad>"}


def _byte_family(name: str, build=_gpt2, frame: str = "ends", **tokens: str) -> Family:
    return Family(name, "BPE", _PAIRS, tokens, frame, build=build)


def _pieces(name: str, build, frame="roberta", tokens=_BART_TOKENS, files=_FAIRSEQ) -> Family:
    """A family over a SentencePiece model, the first of `files`."""
    return Family(name, "Unigram", files, tokens, frame, build=build)


_BERT = Family("BertTokenizer", "WordPiece", ("vocab.txt",), _BERT_TOKENS, "bert", build=_wordpiece)
_MPNET = Family(
    "MPNetTokenizer",
    "WordPiece",
    ("vocab.txt",),
    {**_BART_TOKENS, "unk": "[UNK]"},
    "roberta",
    build=_wordpiece,
)
_ROBERTA = _byte_family("RobertaTokenizer", frame="roberta", **_BART_TOKENS)
_CLIP = Family(
    "CLIPTokenizer",
    "BPE",
    _PAIRS,
    {"bos": "<|startoftext|>", "eos": _END, "unk": _END, "pad": _END},
    "roberta",
    cls="bos",
    sep="eos",
    build=_clip,
    suffix="</w>",
)
_CLASSES: dict[str, Family] = {
    **dict.fromkeys(("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"), _BERT),
    **dict.fromkeys(("MobileBertTokenizer", "RetriBertTokenizer", "LxmertTokenizer"), _BERT),
    "MPNetTokenizer": _MPNET,
    "GPT2Tokenizer": _byte_family("GPT2Tokenizer", bos=_END, eos=_END, unk=_END),
    "GPTNeoXTokenizer": _byte_family(
        "GPTNeoXTokenizer", bos=_END, eos=_END, unk=_END, pad="<|padding|>"
    ),
    "Qwen2Tokenizer": _byte_family("Qwen2Tokenizer", _qwen2, eos=_END, pad=_END, unk=_END),
    "WhisperTokenizer": _byte_family(
        "WhisperTokenizer", frame="whisper", bos=_END, eos=_END, unk=_END
    ),
    **dict.fromkeys(("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"), _ROBERTA),
    **dict.fromkeys(("LEDTokenizer", "MvpTokenizer"), _ROBERTA),
    "CLIPTokenizer": _CLIP,
    "T5Tokenizer": _pieces("T5Tokenizer", sentencepiece.t5, "eos", _T5_TOKENS, _SPIECE),
    "XLMRobertaTokenizer": _pieces("XLMRobertaTokenizer", sentencepiece.fairseq()),
    "CamembertTokenizer": _pieces("CamembertTokenizer", sentencepiece.camembert),
    "MBartTokenizer": _pieces(
        "MBartTokenizer", sentencepiece.fairseq(sentencepiece.MBART), "language"
    ),
    "MBart50Tokenizer": _pieces(
        "MBart50Tokenizer", sentencepiece.fairseq(sentencepiece.MBART_50), "mbart-50"
    ),
    "AlbertTokenizer": _pieces(
        "AlbertTokenizer", sentencepiece.albert, "bert", _ALBERT_TOKENS, _SPIECE
    ),
    "PegasusTokenizer": _pieces(
        "PegasusTokenizer",
        sentencepiece.pegasus,
        "last",
        {**_T5_TOKENS, "mask": "<mask_2>"},
        _SPIECE,
    ),
    "MarianTokenizer": _pieces(
        "MarianTokenizer", sentencepiece.marian, "last", _T5_TOKENS, ("source.spm", "vocab.json")
    ),
}
_MODEL_TYPES = {
    **dict.fromkeys(("bert", "distilbert", "electra", "align", "blip"), "BertTokenizer"),
    "mpnet": "MPNetTokenizer",
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "opt", "phi", "codegen"), "GPT2Tokenizer"),
    "gpt_neox": "GPTNeoXTokenizer",
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), "Qwen2Tokenizer"),
    "whisper": "WhisperTokenizer",
    **dict.fromkeys(("roberta", "bart", "clap", "longformer"), "RobertaTokenizer"),
    "clip": "CLIPTokenizer",
    **dict.fromkeys(("t5", "mt5", "umt5"), "T5Tokenizer"),
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "mbart": "MBartTokenizer",
    "albert": "AlbertTokenizer",
    "pegasus": "PegasusTokenizer",
    "marian": "MarianTokenizer",
}
