"""Tokenizers built of SentencePiece models against the classes of `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")
sentencepiece = pytest.importorskip("sentencepiece")

from modelzoo.runtime import Tokenizer  # noqa: E402
from modelzoo.weights.tokenizer_files import read_tokenizer_files  # noqa: E402
from tests.weights.vocabularies import TEXTS, write  # noqa: E402

pytestmark = pytest.mark.real

_TEXTS = [text for text in TEXTS if "\0" not in text]
_GERMAN = ["Der Hund und die Katze saßen auf der Matte", "Größe Straße über älter"]
_T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


def trained(path: Path, texts: list[str], **options) -> list[str]:
    """Train a model; its pieces without the control tokens."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 20),
        model_prefix=str(path.with_suffix("")),
        vocab_size=260,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **options,
    )
    path.with_suffix(".model").rename(path)
    model = sentencepiece.SentencePieceProcessor(str(path))
    return [model.id_to_piece(id) for id in range(3, model.get_piece_size())]


def both(folder: Path, kind: str) -> tuple:
    write(folder, tokenizer_config={"tokenizer_class": kind})
    found = read_tokenizer_files(folder, {})
    assert found is not None
    ours = Tokenizer.from_str(found.json, found.roles, found.stop_tokens)
    return getattr(transformers, kind).from_pretrained(folder), ours


def assert_equal_ids(theirs, ours: Tokenizer, texts: list[str]) -> None:
    """But for the order of pieces where two cuts have the same score."""
    ties = 0
    for text in texts:
        wanted, found = theirs(text)["input_ids"], ours.encode_pair(text)[0]
        assert sorted(found) == sorted(wanted), text
        ties += found != wanted
    assert ties <= 2


@pytest.mark.parametrize("kind", ["T5Tokenizer", "CamembertTokenizer"])
def test_ids_of_a_class_over_one_model(kind, tmp_path):
    options = _T5 if kind == "T5Tokenizer" else {}
    name = "spiece.model" if options else "sentencepiece.bpe.model"
    trained(tmp_path / name, _TEXTS, **options)
    assert_equal_ids(*both(tmp_path, kind), _TEXTS)


def test_ids_and_text_of_a_marian(tmp_path):
    source = trained(tmp_path / "source.spm", _TEXTS)
    target = trained(tmp_path / "target.spm", _GERMAN)
    tokens = dict.fromkeys(["</s>", "<unk>", *source, *target, ">>de<<", "<pad>"])
    write(tmp_path, vocab={token: id for id, token in enumerate(tokens)})
    theirs, ours = both(tmp_path, "MarianTokenizer")
    assert_equal_ids(theirs, ours, [*_TEXTS, ">>de<< the cat", "Straße ß zebra"])
    ids = theirs(text_target=_GERMAN[1])["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True) == _GERMAN[1]
