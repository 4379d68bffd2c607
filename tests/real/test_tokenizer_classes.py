"""Tokenizer classes against `transformers`: equal ids of forty texts, single and in pairs.

`python -m tests.real.test_tokenizer_classes` prints the table.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")

from modelzoo.runtime import Tokenizer  # noqa: E402
from modelzoo.weights.tokenizer_files import read_tokenizer_files  # noqa: E402
from tests.weights.vocabularies import (  # noqa: E402
    END,
    TEXTS,
    byte_pairs,
    unigram,
    word_pieces,
    write,
)

pytestmark = pytest.mark.real

_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BART = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_WHISPER = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")


def _bert(folder: Path) -> None:
    word_pieces(folder, _BERT)


def _mpnet(folder: Path) -> None:
    word_pieces(folder, ("<s>", "<pad>", "</s>", "[UNK]", "<mask>"))


def _gpt2(folder: Path) -> None:
    byte_pairs(folder, END)


def _gpt_neox(folder: Path) -> None:
    byte_pairs(folder, END, "<|padding|>", first=True)


def _qwen2(folder: Path) -> None:
    vocab = byte_pairs(folder)
    write(folder, added_tokens={t: len(vocab) + i for i, t in enumerate((END, "<|im_end|>"))})


def _whisper(folder: Path) -> None:
    vocab = byte_pairs(folder, END)
    write(folder, added_tokens={t: len(vocab) + i for i, t in enumerate(_WHISPER)})


def _roberta(folder: Path) -> None:
    byte_pairs(folder, *_BART, first=True)


def _clip(folder: Path) -> None:
    byte_pairs(folder, "<|startoftext|>", END, suffix="</w>")


def _t5(folder: Path) -> None:
    unigram(folder, ("<pad>", "</s>", "<unk>"))


# (class, its files, what tokenizer_config.json says besides)
CLASSES = {
    "bert": ("BertTokenizer", _bert, {}),
    "bert-cased": ("BertTokenizer", _bert, {"do_lower_case": False}),
    "bert-chinese": ("BertTokenizer", _bert, {"tokenize_chinese_chars": False}),
    "bert-accents": ("BertTokenizer", _bert, {"strip_accents": False}),
    "distilbert": ("DistilBertTokenizer", _bert, {}),
    "mpnet": ("MPNetTokenizer", _mpnet, {}),
    "gpt2": ("GPT2Tokenizer", _gpt2, {}),
    "gpt2-space": ("GPT2Tokenizer", _gpt2, {"add_prefix_space": True}),
    "gpt2-bos": ("GPT2Tokenizer", _gpt2, {"add_bos_token": True, "pad_token": END}),
    "gpt_neox": ("GPTNeoXTokenizer", _gpt_neox, {}),
    "qwen2": ("Qwen2Tokenizer", _qwen2, {"eos_token": "<|im_end|>", "bos_token": None}),
    "whisper": ("WhisperTokenizer", _whisper, {"additional_special_tokens": list(_WHISPER)}),
    "roberta": ("RobertaTokenizer", _roberta, {}),
    "roberta-space": ("RobertaTokenizer", _roberta, {"add_prefix_space": True}),
    "bart": ("BartTokenizer", _roberta, {}),
    "clip": ("CLIPTokenizer", _clip, {}),
    "t5": ("T5Tokenizer", _t5, {"extra_ids": 0, "additional_special_tokens": ["<extra_id_0>"]}),
}


def compared(name: str, folder: Path, whole: bool) -> tuple[int, int, list[str]]:
    """Texts with equal ids alone, with equal ids and segments in pairs; those that differ.

    Args:
        whole: read the tokenizer.json that `transformers` writes, else the vocabulary's files.
    """
    kind, files, settings = CLASSES[name]
    files(folder)
    write(folder, tokenizer_config={"tokenizer_class": kind, **settings})
    theirs = getattr(transformers, kind).from_pretrained(folder)
    if whole:
        theirs.save_pretrained(folder)
        theirs = getattr(transformers, kind).from_pretrained(folder)
    found = read_tokenizer_files(folder, {})
    assert found is not None
    ours = Tokenizer.from_str(found.json, found.roles, found.stop_tokens)
    backend = theirs.backend_tokenizer
    backend.no_truncation()
    single, pair, differ = 0, 0, []
    for text, other in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True):
        alone, both = backend.encode(text), backend.encode(text, other)
        single += (equal := ours.encode_pair(text)[0] == alone.ids)
        pair += (same := ours.encode_pair(text, other) == (both.ids, both.type_ids))
        differ += [] if equal and same else [text]
    return single, pair, differ


@pytest.mark.parametrize("whole", [False, True], ids=["files", "tokenizer.json"])
@pytest.mark.parametrize("name", CLASSES)
def test_ids_are_those_of_transformers(name, whole, tmp_path):
    assert compared(name, tmp_path, whole) == (len(TEXTS), len(TEXTS), [])


def main() -> None:
    """Print the table."""
    print(f"| tokenizer | class | read from | single | pair |\n{'|---' * 5}|")
    for name, (kind, _, _) in CLASSES.items():
        for whole in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                single, pair, _ = compared(name, Path(folder), whole)
            source = "tokenizer.json" if whole else "its files"
            print(f"| {name} | {kind} | {source} | {single}/{len(TEXTS)} | {pair}/{len(TEXTS)} |")


if __name__ == "__main__":
    main()
