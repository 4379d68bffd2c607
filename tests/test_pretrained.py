"""Weights by name: recipes that know their published weights, aliases, and `--pretrained`."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest
from huggingface_hub import constants

import modelzoo
from modelzoo import cli, registry
from modelzoo.building.pretrained import as_published
from modelzoo.errors import ModelzooError, RecipeError, UnknownNameError, WeightsError
from modelzoo.recipe import from_values, override, read_lock
from modelzoo.weights import open_checkpoint, write_checkpoint
from modelzoo.weights.hub.download import is_hub
from modelzoo.weights.origin import source_table
from tests import small
from tests.weights.hub_server import point_at, serve

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
CARD = b"---\nlicense: apache-2.0\nbase_model: acme/base\n---\n"
RECIPE = """\
architecture = "gpt"
task         = "causal-lm"
weights      = "hf://acme/gpt"
aliases      = ["acme-gpt", "acme/gpt"]
[model]
num_layers = 1
hidden_dim = 32
num_heads = 2
max_length = 32
vocab_size = 300
[train]
length = 16
batch_size = 4
warmup_steps = 0
"""


def files_of(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "modelzoo.json"
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model, and its checkpoint's files."""
    model = small.with_tokenizer("gpt-tiny")
    folder = write_checkpoint(model, tmp_path_factory.mktemp("hub") / "gpt")
    return model, {**files_of(folder), "README.md": CARD}


@pytest.fixture
def hub(tmp_path, monkeypatch, published):
    with serve() as hub:
        point_at(hub, tmp_path / "cache", monkeypatch)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        hub.commit = hub.add("acme/gpt", published[1])
        yield hub


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with a recipe that knows its weights, and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "corpus.txt").write_text("\n".join(small.TEXTS), "utf-8")
    return tmp_path


def refused(capsys, *argv: object) -> str:
    assert cli.main([str(word) for word in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def done(capsys, *argv: object) -> tuple[str, str]:
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out, captured.err


# === The recipes of the zoo ===


def test_addresses_have_no_revision_and_aliases_name_one_recipe_each():
    entries = registry.names()
    published = [entry for entry in entries if entry.weights]
    assert len(published) > 30
    taken = {entry.name.lower() for entry in entries}
    for entry in published:
        assert re.fullmatch(r"hf://[\w.-]+/[\w.-]+", entry.weights), entry
        assert is_hub(entry.weights)
        assert entry.weights.removeprefix("hf://") in entry.aliases, entry
        for alias in map(str.lower, entry.aliases):
            assert alias not in taken, f"{alias} is a name already"
            taken.add(alias)


def test_of_the_published_models_each_is_read_through_a_table():
    from modelzoo.weights.lookup import tables_of

    for entry in registry.names():
        if entry.weights:
            assert tables_of(entry.architecture) or entry.architecture in ("contrastive",), entry


# === What a recipe says ===


@pytest.mark.parametrize("weights", ["runs/gpt", "https://huggingface.co/gpt2", 3, ""])
def test_weights_are_an_address_on_the_hub(weights):
    with pytest.raises(RecipeError, match="weights must be an address on the hub") as caught:
        from_values({"architecture": "gpt", "weights": weights}, name="x")
    assert "hf://owner/name" in caught.value.next_step


@pytest.mark.parametrize("aliases", ["gpt2", [1], [""], {"a": 1}])
def test_aliases_are_a_list_of_names(aliases):
    with pytest.raises(RecipeError, match="aliases must be a list of names"):
        from_values({"architecture": "gpt", "aliases": aliases}, name="x")


def test_weights_are_no_part_of_the_model(work):
    recipe = registry.recipe("tiny.toml")
    (work / "plain.toml").write_text(re.sub(r"(?m)^(weights|aliases).*\n", "", RECIPE))
    plain = registry.recipe("plain.toml")
    assert recipe.weights == "hf://acme/gpt" and plain.weights is None
    assert recipe.digest == plain.digest and recipe.values == plain.values
    assert override(recipe, {"num_layers": 2}).weights == "hf://acme/gpt"


def test_who_extends_a_recipe_does_not_inherit_its_weights(recipes):
    small_text = (recipes / "gpt-small.toml").read_text()
    said = 'weights = "hf://acme/gpt"\naliases = ["gpt2"]\n[model]'
    (recipes / "gpt-small.toml").write_text(small_text.replace("[model]", said))
    tiny = (recipes / "gpt-tiny.toml").read_text()
    (recipes / "gpt-tiny.toml").write_text("parameters = 1\n" + tiny)
    entries = {entry.name: entry for entry in registry.names()}
    assert entries["gpt-small"].weights == "hf://acme/gpt"
    assert entries["gpt-small"].aliases == ("gpt2",)
    assert entries["gpt-tiny"].weights is None and entries["gpt-tiny"].aliases == ()
    assert registry.recipe("gpt-tiny").weights is None


# === Aliases ===


@pytest.mark.parametrize("name", ["gpt2", "openai-community/gpt2", "OpenAI-community/GPT2"])
def test_an_alias_is_the_recipe_with_a_note(name):
    with pytest.warns(UserWarning, match="is another name of the recipe gpt-small"):
        assert registry.recipe(name).name == "gpt-small"
    assert not registry.is_name(name)


def test_an_alias_of_two_recipes_is_refused_with_both(recipes):
    for stem in ("a", "b"):
        text = 'architecture = "gpt"\naliases = ["gpt2"]\n'
        (recipes / f"{stem}.toml").write_text(text)
    with pytest.raises(UnknownNameError, match="means two recipes: a and b") as caught:
        registry.recipe("GPT2")
    assert caught.value.next_step == "name one of them: a or b"


def test_names_and_paths_win_over_aliases(work, recipes):
    (recipes / "a.toml").write_text('architecture = "gpt"\naliases = ["gpt-tiny", "here"]\n')
    assert registry.recipe("gpt-tiny").name == "gpt-tiny"
    from modelzoo.recipe import write_lock

    (work / "here").mkdir()
    write_lock(work / "here", registry.recipe("gpt-small"))
    assert registry.recipe("here").name == "gpt-small"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("acme/some-model", "hf://acme/some-model"),
        (
            "google-bert/bert-base-multilingual-cased",
            "hf://google-bert/bert-base-multilingual-cased",
        ),
        ("gpt2-mediun", "gpt2-medium"),
        ("bert-base-uncasde", "bert-base-uncased"),
        ("runs/my-model", None),  # the folder runs is there: a path
        ("./acme/model", None),
    ],
)
def test_an_unknown_name_leads_to_the_hub_or_to_an_alias(work, name, meant):
    (work / "runs").mkdir()
    with pytest.raises(UnknownNameError) as caught:
        registry.recipe(name)
    assert caught.value.did_you_mean == meant
    assert caught.value.next_step


def test_commands_print_the_note_of_an_alias(capsys):
    for command in ("show", "find"):
        out, err = done(capsys, command, "bert-base-uncased")
        assert "bert-base" in out
        assert err == "note: bert-base-uncased is another name of the recipe bert-base\n"


def test_show_has_the_weights_in_every_form(work, capsys):
    assert 'weights      = "hf://acme/gpt"' in done(capsys, "show", "tiny.toml")[0]
    assert 'weights = "hf://acme/gpt"' in done(capsys, "show", "tiny.toml", "--resolved")[0]
    facts = json.loads(done(capsys, "show", "tiny.toml", "--json")[0])
    assert (facts["weights"], facts["aliases"]) == ("hf://acme/gpt", ["acme-gpt", "acme/gpt"])
    done(capsys, "cp", "bert-large", "mine.toml")  # which extends another, and is merged
    assert registry.recipe("mine.toml").weights == "hf://google-bert/bert-large-uncased"


# === --pretrained ===


def test_pretrained_fetches_what_the_recipe_names(hub, work, published):
    model = modelzoo.build("tiny.toml", pretrained=True, compile=False)
    for ours, theirs in zip(model.weights, published[0].weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert model.tokenizer.encode("a rose") == published[0].tokenizer.encode("a rose")
    assert source_table(model) == {
        "weights": "pretrained",
        "place": "hf://acme/gpt",
        "revision": hub.commit,
        "licence": "apache-2.0",
        "base_model": "acme/base",
    }


def test_build_pretrained_writes_where_the_weights_come_from(hub, work, capsys):
    out, err = done(capsys, "build", "tiny.toml", "--pretrained", "-o", "m")
    assert out == "m: tiny, causal-lm, 23,392 parameters\n"
    assert err.endswith("note: weights of hf://acme/gpt\n")
    assert read_lock("m")[1]["source"]["revision"] == hub.commit
    card = (work / "m" / "README.md").read_text("utf-8")
    assert "pretrained, from `hf://acme/gpt`" in card and "`apache-2.0`" in card
    assert modelzoo.load("m").tokenizer is not None


def test_build_at_random_says_so_and_how_to_get_weights(work, capsys):
    _, err = done(capsys, "build", "tiny.toml", "-o", "m")
    assert err.endswith("\nnote: random weights; --pretrained fetches hf://acme/gpt\n")
    _, err = done(capsys, "build", "gpt-tiny", *small.options())
    assert err.endswith("\nnote: random weights; --weights SOURCE takes others\n")


def test_offline_says_what_the_cache_has(hub, work, capsys, monkeypatch):
    hub.add("acme/other", {"config.json": b"{}", "model.safetensors": b"w"})
    from modelzoo.weights.hub.download import download

    download("hf://acme/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused(capsys, "build", "tiny.toml", "--pretrained", "-o", "m")
    assert "acme/gpt is not in the cache" in message
    assert "the cache has hf://acme/other" in message and "unset HF_HUB_OFFLINE" in message
    assert not (work / "m").exists()


def test_pretrained_comes_from_the_cache_when_offline(hub, work, monkeypatch):
    modelzoo.build("tiny.toml", pretrained=True, compile=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model = modelzoo.build("tiny.toml", pretrained=True, compile=False)
    assert source_table(model)["revision"] == hub.commit


NOT_KNOWN = "gpt-tiny states no published weights"
TWICE = "both the published weights of tiny and those of x"
TRAIN = "train {} --pretrained --data corpus.txt -o m"


@pytest.mark.parametrize(
    ("line", "said", "more"),
    [
        ("build gpt-tiny --pretrained", NOT_KNOWN, "modelzoo list"),
        (TRAIN.format("gpt-tiny"), NOT_KNOWN, "modelzoo list"),
        ("build tiny.toml --pretrained --weights x", TWICE, "leave --pretrained out, or x"),
        (TRAIN.format("tiny.toml --start x"), TWICE, "leave --pretrained out, or x"),
    ],
)
def test_what_cannot_be_pretrained_is_refused(work, capsys, line, said, more):
    message = refused(capsys, *line.split())
    assert said in message and more in message


VIT = {
    "image_size": 8,
    "patch_size": 4,
    "num_layers": 1,
    "hidden_dim": 8,
    "num_heads": 2,
    "ffn_dim": 8,
}


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"num_labels": 3}, ["cat", "dog", "fox"]),
        ({"num_labels": 2}, None),  # of another head
        ({"labels": ["x", "y", "z"]}, ["x", "y", "z"]),
    ],
)
def test_the_labels_of_published_weights_come_along(tmp_path, options, labels):
    theirs = {"task_options.num_labels": None, "task_options.labels": ["cat", "dog", "fox"]}
    model = modelzoo.build("vit-ti16", compile=False, **VIT, **theirs)
    checkpoint = open_checkpoint(write_checkpoint(model, tmp_path / "vit"))
    ours = {f"task_options.{key}": value for key, value in options.items()}
    recipe = as_published(modelzoo.read_recipe("vit-ti16", {**VIT, **ours}), checkpoint)
    assert recipe.table("task_options").get("labels") == labels
    other = {**VIT, "task": "text-classification"}  # another task: its options are not mixed in
    assert "labels" not in as_published(modelzoo.read_recipe("vit-ti16", other), checkpoint).table(
        "task_options"
    )


def test_a_model_of_another_shape_is_refused(hub, work):
    with pytest.raises(WeightsError):
        modelzoo.build("tiny.toml", pretrained=True, num_layers=2)


def test_a_checkpoint_that_is_named_itself_is_pretrained_anyway(hub):
    model = modelzoo.build("hf://acme/gpt", pretrained=True, compile=False)
    assert source_table(model)["place"] == "hf://acme/gpt"


# === Training from published weights ===


def test_training_starts_from_published_weights_and_says_what_it_did(hub, work, capsys):
    words = ("--data", "corpus.txt", "-o", "m", "--steps", 2, "--learning-rate", 1e-9, "--seed", 3)
    done(capsys, "train", "tiny.toml", "--pretrained", *words)
    source = read_lock("m")[1]["source"]
    assert source["weights"] == "trained" and source["place"] == "hf://acme/gpt"
    assert source["licence"] == "apache-2.0"
    training = source["training"]
    assert (training["steps"], training["seed"], training["data"]) == (2, 3, "corpus.txt")
    assert training["figures"]["loss"] > 0 and len(training["data_sha256"]) == 64
    card = (work / "m" / "README.md").read_text("utf-8")
    assert "| weights | trained, from `hf://acme/gpt` |" in card
    assert "| trained for | 2 steps, seed 3 |" in card and "examples of `corpus.txt`" in card
    assert "| figures | " in card and "loss" in card
    tuned, fresh = modelzoo.load("m"), modelzoo.build("tiny.toml", pretrained=True, compile=False)
    np.testing.assert_allclose(tuned.weights[0].numpy(), fresh.weights[0].numpy(), atol=1e-5)
    assert tuned.tokenizer.to_str() == fresh.tokenizer.to_str()
    written = write_checkpoint(tuned, work / "hf")
    text = (written / "README.md").read_text("utf-8")
    assert "license: apache-2.0\n" in text and "base_model: acme/gpt\n" in text


def test_a_training_that_starts_from_a_model_directory_keeps_its_origin(hub, work, capsys):
    done(capsys, "build", "tiny.toml", "--pretrained", "-o", "m")
    done(capsys, "train", "m", "--data", "corpus.txt", "-o", "n", "--steps", 1)
    source = read_lock("n")[1]["source"]
    assert source["place"] == "hf://acme/gpt" and source["revision"] == hub.commit
    assert source["weights"] == "trained" and source["training"]["steps"] == 1
    further = modelzoo.load("n")
    further.fit(modelzoo.dataset(further, small.TEXTS), epochs=1, verbose=0)
    source = source_table(further)  # the figures were of the weights before
    assert source["place"] == "hf://acme/gpt" and "training" not in source


def test_training_from_nothing_says_so_and_has_no_place(work, capsys):
    words = ("--data", "corpus.txt", "-o", "m", "--steps", 1)
    _, err = done(capsys, "train", "tiny.toml", *words)
    assert "note: training starts from random weights; --pretrained starts from hf://acme" in err
    source = read_lock("m")[1]["source"]
    assert "place" not in source and source["training"]["steps"] == 1
    assert source_table(modelzoo.load("m"))["weights"] == "trained"


# === A changed task ===


def test_a_changed_task_leaves_the_summary_of_the_other_behind(work, capsys):
    changes = {"task": "text-classification", "task_options.labels": ["bad", "good"]}
    assert registry.recipe("minilm-l6", changes).summary == ""
    kept = registry.recipe("minilm-l6", {**changes, "summary": "mine"})
    assert kept.summary == "mine" and registry.recipe("minilm-l6").summary
    model = small.build("bert-tiny", **changes)
    text = (modelzoo.save(model, work / "stars") / "README.md").read_text("utf-8")
    assert text.startswith("# stars\n\nA model that gives a text one of its labels.\n")
    assert "| labels | bad, good |" in text


def test_modelzoo_errors_have_a_next_step():
    with pytest.raises(ModelzooError) as caught:
        modelzoo.build("bert-tiny", pretrained=True)
    assert "--weights SOURCE" in caught.value.next_step
