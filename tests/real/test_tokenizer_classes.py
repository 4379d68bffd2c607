"""Tokenizer classes against `transformers`: equal ids of forty texts, alone, in pairs, in a chat.

`python -m benchmarks.house.checkpoints` makes the table of docs/checkpoints.md from this.
"""

from __future__ import annotations

from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")

from modelzoo.runtime import Tokenizer  # noqa: E402
from modelzoo.runtime.text.chat import ChatTemplate, encode_chat, template_tokens  # noqa: E402
from modelzoo.weights.tokenizer_files import read_tokenizer_files  # noqa: E402
from modelzoo.weights.tokenizer_writing import tokenizer_config, tokenizer_json  # noqa: E402
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


# A turn opens with one token of the vocabulary and ends with another, whatever they are.
CHAT = (
    "{% for m in messages %}{{ eos_token or sep_token }}{{ m['role'] }}\n{{ m['content'] | trim }}"
    "{{ eos_token or sep_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}{{ eos_token or sep_token }}assistant\n{% endif %}"
)
COLUMNS = ("single", "pair", "chat", "written single", "written pair")


def compared(name: str, folder: Path, whole: bool) -> tuple[dict[str, int], list[str]]:
    """How many texts have equal ids (in pairs, equal segments too) a column; those that differ.

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
    template = ChatTemplate(CHAT, template_tokens(ours))
    again = written(ours, theirs, folder / "again")
    backend, again = _backend(theirs), _backend(again)
    equal, differ = dict.fromkeys(COLUMNS, 0), []
    for text, other in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True):
        alone, both = backend.encode(text), backend.encode(text, other)
        talk = [{"role": "user", "content": text}, {"role": "assistant", "content": other}]
        said = theirs.apply_chat_template(
            talk, chat_template=CHAT, add_generation_prompt=True, return_dict=False
        )
        alone_again, both_again = again.encode(text), again.encode(text, other)
        same = {
            "single": ours.encode_pair(text)[0] == alone.ids,
            "pair": ours.encode_pair(text, other) == (both.ids, both.type_ids),
            "chat": encode_chat(ours, template, talk) == said,
            "written single": alone_again.ids == alone.ids,
            "written pair": (both_again.ids, both_again.type_ids) == (both.ids, both.type_ids),
        }
        for column, is_same in same.items():
            equal[column] += is_same
        differ += [f"{column}: {text}" for column, is_same in same.items() if not is_same]
    return equal, differ


def written(ours, theirs, folder: Path):
    """What `transformers` opens of the files that modelzoo writes for a tokenizer."""
    frame = "source" if "T5" in type(theirs).__name__ else "pair"
    segments = {"type_vocab_size": 2 if "token_type_ids" in theirs.model_input_names else 1}
    folder.mkdir()
    (folder / "tokenizer.json").write_text(tokenizer_json(ours, frame, segments), "utf-8")
    write(folder, tokenizer_config=tokenizer_config(ours, 512, segments))
    return transformers.AutoTokenizer.from_pretrained(folder)


def _backend(tokenizer):
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    return backend


@pytest.mark.parametrize("whole", [False, True], ids=["files", "tokenizer.json"])
@pytest.mark.parametrize("name", CLASSES)
def test_ids_are_those_of_transformers(name, whole, tmp_path):
    assert compared(name, tmp_path, whole) == (dict.fromkeys(COLUMNS, len(TEXTS)), [])
