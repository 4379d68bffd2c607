"""What a checkpoint says about itself, and what becomes of it: licence, base model, revision."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

import modelzoo
from modelzoo import registry
from modelzoo.architectures.gpt import build as gpt
from modelzoo.errors import ModelDirectoryError
from modelzoo.recipe import from_values, read_lock, write_lock
from modelzoo.weights import open_checkpoint, write_checkpoint
from modelzoo.weights.origin import card_rows, sentence, source_table
from modelzoo.weights.provenance import card_of_folder, card_of_gguf, front_matter, source_of
from tests import small
from tests.weights import small_gguf

CARD = """---
# what the hub reads
license: apache-2.0  # as the authors say
base_model:
- acme/base
tags: [a, "b c"]
model-index:
  - name: deep
    results: []
pipeline_tag: 'text-generation'
---
# A model
license: not this one
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("origin") / "acme-gpt"
    return write_checkpoint(small.with_tokenizer("gpt-tiny"), folder)


# === What is read ===


def test_the_metadata_of_a_card_are_read_without_a_yaml_reader():
    found = front_matter(CARD)
    assert found["license"] == "apache-2.0" and found["base_model"] == ["acme/base"]
    assert found["tags"] == ["a", "b c"] and found["pipeline_tag"] == "text-generation"
    assert front_matter("# A model\nlicense: mit") == {}
    assert front_matter("---\nlicense: mit") == {}  # it never ends


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (CARD, {"licence": "apache-2.0", "base_model": "acme/base"}),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", {"licence": "gemma"}),
        ("---\nlicense: other\n---\n", {"licence": "other"}),
        ("---\ntags:\n- a\n---\n", {}),
        ("# a model", {}),
        ("---\nlicense: \x1b[31mred\n---\n", {}),
        (f"---\nlicense: {'m' * 5000}\n---\n", {"licence": "m" * 200}),
    ],
)
def test_a_folder_says_its_licence_or_leaves_it_open(tmp_path, text, found):
    (tmp_path / "README.md").write_text(text, "utf-8")
    assert card_of_folder(tmp_path) == found


def test_a_folder_without_a_card_or_with_bytes_in_it_says_nothing(tmp_path):
    assert card_of_folder(tmp_path) == {}
    (tmp_path / "README.md").write_bytes(b"\xff\xfe---\nlicense: mit\n---")
    assert card_of_folder(tmp_path) == {}


def test_a_gguf_file_says_its_name_organization_licence_and_base():
    metadata = {
        "general.name": "Tiny 1B",
        "general.organization": "Acme",
        "general.license": "apache-2.0",
        "general.base_model.0.repo_url": "https://huggingface.co/acme/base",
    }
    assert card_of_gguf(metadata) == {
        "name": "Tiny 1B",
        "organization": "Acme",
        "licence": "apache-2.0",
        "base_model": "acme/base",
    }
    assert card_of_gguf({"general.license": 3, "general.name": ["a", 1]}) == {}
    named = {"general.base_model.0.organization": "Acme", "general.base_model.0.name": "Base"}
    assert card_of_gguf(named) == {"base_model": "Acme Base"}


def test_a_gguf_files_licence_comes_with_it_when_it_is_opened(tmp_path):
    keys = {"general.license": "apache-2.0", "general.name": "Tiny", "general.organization": "Acme"}
    checkpoint = open_checkpoint(small_gguf.write(tmp_path / "tiny.gguf", keys=keys))
    source = source_of(checkpoint)
    assert (source["licence"], source["name"], source["organization"]) == tuple(keys.values())
    assert source["place"] == "tiny.gguf" and len(source["sha256"]) == 64


def test_a_local_checkpoint_is_known_by_its_name_and_hash_and_not_by_its_path(checkpoint):
    source = source_of(open_checkpoint(checkpoint))
    digest = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert source == {"weights": "pretrained", "place": "acme-gpt", "sha256": digest}
    file = source_of(open_checkpoint(checkpoint / "model.safetensors"))
    assert file["place"] == "model.safetensors" and file["sha256"] == digest


def test_shards_have_one_hash(tmp_path):
    from modelzoo.weights.provenance import _digest

    for name in ("b.safetensors", "a.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    first = _digest(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"other")
    assert len(first) == 64 and _digest(tmp_path) != first


# === Where it goes ===


def test_licence_and_place_reach_the_lock_the_cards_and_the_next_checkpoint(checkpoint, tmp_path):
    card = "---\nlicense: apache-2.0\nbase_model: acme/base\n---\n"
    (checkpoint / "README.md").write_text(card)
    model = modelzoo.build(checkpoint)
    directory = modelzoo.save(model, tmp_path / "m")
    source = read_lock(directory)[1]["source"]
    assert source["licence"] == "apache-2.0" and source["base_model"] == "acme/base"
    text = (directory / "README.md").read_text("utf-8")
    assert "| licence | `apache-2.0` |" in text and "pretrained, from `acme-gpt`" in text
    again = write_checkpoint(modelzoo.load(directory), tmp_path / "hf")
    block = front_matter((again / "README.md").read_text("utf-8"))
    assert block == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "acme/base",
        "tags": ["modelzoo", "gpt"],
    }
    assert "README.md" in json.loads((again / "modelzoo.json").read_text())["files"]


def test_a_checkpoint_without_a_licence_leaves_it_open_and_the_card_says_so(tmp_path):
    written = write_checkpoint(small.with_tokenizer("gpt-tiny"), tmp_path / "plain")
    block = front_matter((written / "README.md").read_text("utf-8"))
    assert "license" not in block and "base_model" not in block
    directory = modelzoo.save(modelzoo.build(written), tmp_path / "m")
    assert "licence" not in read_lock(directory)[1]["source"]
    assert "| licence | not stated" in (directory / "README.md").read_text("utf-8")


def test_an_unusual_licence_is_other_with_its_name(tmp_path):
    model = small.build("gpt-tiny")
    from modelzoo.weights.origin import stamp

    stamp(model, {"weights": "pretrained", "place": "x", "licence": 'My "own" licence'})
    text = (write_checkpoint(model, tmp_path / "m") / "README.md").read_text("utf-8")
    assert 'license: other\nlicense_name: "My \\"own\\" licence"\n' in text


def test_what_a_checkpoint_says_cannot_break_out_of_a_card():
    rows = card_rows({"weights": "pretrained", "place": "a|b`c\n# d", "licence": "`x`"})
    assert rows["weights"] == "pretrained, from `a\\|b'c # d`" and rows["licence"] == "`'x'`"


# === Random, trained, or not known ===


def test_weights_are_random_until_they_change(tmp_path):
    model = small.with_tokenizer("gpt-tiny")
    assert source_table(model) == {"weights": "random"}
    directory = modelzoo.save(model, tmp_path / "m")
    assert "| weights | random |" in (directory / "README.md").read_text("utf-8")
    loaded = modelzoo.load(directory)
    assert source_table(loaded) == {"weights": "random"}
    loaded.weights[-1].assign(loaded.weights[-1] + 1.0)
    assert source_table(loaded) == {"weights": "trained"}
    assert sentence({"weights": "trained"}) == "trained"


def test_dropping_out_changes_no_weights():
    model = small.build("bert-tiny", dropout=0.5)
    x = {"token_ids": np.ones((1, 8), "int32")}
    model(x, training=True)
    assert source_table(model) == {"weights": "random"}


def test_a_new_head_over_taken_weights_is_partly_random(tmp_path):
    directory = modelzoo.save(small.with_tokenizer("bert-tiny"), tmp_path / "bert")
    lock = directory / "recipe.lock.toml"
    lock.write_text(lock.read_text("utf-8").replace('weights = "random"', 'weights = "trained"'))
    model = small.build("bert-tiny-classifier", **{"task_options.labels": ["a", "b"]})
    assert source_table(model) == {"weights": "random"}
    model = modelzoo.build(model.recipe, weights=directory)
    assert source_table(model) == {"weights": "partly random"}
    assert "head of random weights" in sentence(source_table(model))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[source]\nlicence = 3\n", "source.licence must be a text, not 3"),
        ("[source]\ntraining = 3\n", "source.training must be a table, not 3"),
        ("[source.training]\nsteps = 1\nseed = 1\n", "source.training.examples must be a whole"),
        (
            "[source.training]\nsteps = 1\nseed = 1\nexamples = 1\n"
            '[source.training.figures]\nloss = "low"\n',
            "source.training.figures.loss must be a number",
        ),
        ("[[source]]\na = 1\n", "source must be a table"),
    ],
)
def test_a_source_that_no_card_could_show_is_refused(tmp_path, text, said):
    path = write_lock(tmp_path, small.recipe("gpt-tiny"))
    path.write_text(f"{path.read_text('utf-8')}\n{text}", "utf-8")
    with pytest.raises(ModelDirectoryError) as caught:
        read_lock(tmp_path)
    assert said in caught.value.what


def test_a_licence_that_was_added_by_hand_reaches_the_card(tmp_path):
    directory = modelzoo.save(small.build("gpt-tiny"), tmp_path / "m")
    lock = directory / "recipe.lock.toml"
    lock.write_text(lock.read_text("utf-8").replace("[source]", '[source]\nlicence = "mit"'))
    text = write_checkpoint(modelzoo.load(directory), tmp_path / "hf") / "README.md"
    assert text.read_text("utf-8").startswith("---\nlicense: mit\n")


def tiny_gpt(*, vocab_size: int = 64):
    return gpt(vocab_size=vocab_size, num_layers=1, hidden_dim=8, num_heads=2, max_length=8)


def test_of_a_plugin_that_may_read_weights_itself_nothing_is_claimed(recipes):
    registry.register("mine/gpt", architecture=tiny_gpt)
    values = {"architecture": "mine/gpt", "task": "causal-lm"}
    model = modelzoo.build(from_values(values, name="mine/x"), compile=False)
    assert source_table(model) == {}


def test_of_a_directory_of_before_nothing_is_said(tmp_path):
    directory = modelzoo.save(small.build("gpt-tiny"), tmp_path / "m")
    lock = directory / "recipe.lock.toml"
    text = lock.read_text("utf-8").replace('[source]\nweights = "random"\n', "")
    lock.write_text(text.replace("format_version = 2", "format_version = 1"))
    model = modelzoo.load(directory)
    assert source_table(model) == {} and sentence({}) == "" and card_rows({}) == {}
    assert "| weights |" not in (modelzoo.save(model, tmp_path / "n") / "README.md").read_text()
