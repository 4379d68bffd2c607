"""build, train, evaluate, run: what a person gets, and what she is told when something is wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

import modelzoo
from modelzoo import cli
from modelzoo.about import UPGRADE
from modelzoo.recipe import LOCK_NAME
from tests import small
from tests.plugin_site import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")


@pytest.fixture(autouse=True)
def eager():
    """A few steps are done before a graph is traced."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A random model of each kind that reads text, by its recipe's name."""
    folder = tmp_path_factory.mktemp("models")
    for name in small.CHANGES:
        modelzoo.save(small.with_tokenizer(name), folder / name)
    return folder


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The working directory, with data in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("\n".join(small.TEXTS), "utf-8")
    rows = "".join(f"{text},{label}\n" for text, label in small.REVIEWS * 4)
    (tmp_path / "reviews.csv").write_text("text,label\n" + rows, "utf-8")
    return tmp_path


def output(capsys, *argv: object) -> str:
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def refused(capsys, *argv: object) -> str:
    """The one message of a command that fails by the user's fault."""
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.out == "" and "Traceback" not in captured.err
    assert captured.err.count("modelzoo: error: ") == 1
    return captured.err[captured.err.index("modelzoo: error: ") :]


# === What they do ===


def test_build_writes_a_directory_named_after_the_recipe(work, capsys):
    assert cli.main(["build", "gpt-tiny", *small.options()]) == 0
    out, err = capsys.readouterr()
    assert out == "gpt-tiny: gpt-tiny, causal-lm, 23,392 parameters\n"
    steps = re.findall(r"^modelzoo: \d+ s: (.*)$", err, re.M)
    assert steps == ["building gpt-tiny", "writing gpt-tiny"]
    assert small.listing(work / "gpt-tiny") == ["README.md", "model.keras", LOCK_NAME]


def test_a_model_is_trained_measured_tuned_and_asked(work, capsys):
    steps = {"train.checkpoint_steps": 20, "train.learning_rate": 3e-2}
    data = ("--data", "corpus.txt")
    out = output(
        capsys, "train", "gpt-tiny", *data, "-o", "m", "--steps", 25, *small.options(**steps)
    )
    assert out.startswith("m: gpt-tiny  loss ")
    assert {"README.md", "model.keras", LOCK_NAME, "tokenizer.json"} == set(
        small.listing(work / "m")
    )
    figures = json.loads(output(capsys, "evaluate", "m", *data, "--json"))
    assert set(figures) == {"loss", "accuracy", "tokens", "perplexity", "bits_per_byte"}
    assert figures["perplexity"] < 30
    table = output(capsys, "evaluate", "m", *data, "--length", 8)
    assert table.splitlines()[0].split()[0] == "loss"
    assert len(output(capsys, "run", "m", "a rose is a", "--max-new-tokens", 8)) > 1
    # From the directory itself, in its place: its weights are where the training begins.
    output(capsys, "train", "m", *data, "-o", "m", "--force", "--steps", 1, "--learning-rate", 1e-9)
    again = json.loads(output(capsys, "evaluate", "m", *data, "--json"))
    assert again["loss"] == pytest.approx(figures["loss"], rel=1e-3)


def test_another_task_and_other_columns_are_options(work, models, capsys):
    """M1, M3: what everybody types."""
    rows = "".join(f"{text},{label}\n" for text, label in small.REVIEWS * 4)
    (work / "opinions.csv").write_text("opinion,mark\n" + rows, "utf-8")
    words = ("--data", "opinions.csv", "--columns", "text=opinion,label=mark", "--steps", 1)
    words += ("--task", "text-classification", "--lr", 1e-3, "--patience", 2)
    out = output(capsys, "train", models / "bert-tiny", *words, "-o", "m")
    assert out.startswith("m: bert-tiny  loss ")
    recipe = modelzoo.load(work / "m").recipe
    assert recipe.task == "text-classification"
    train = recipe.table("train")
    assert (train["learning_rate"], train["patience"], train["length"]) == (1e-3, 2, 32)
    figures = json.loads(output(capsys, "evaluate", "m", "--data", "opinions.csv", "--json"))
    assert figures["examples"] == 16
    (work / "other.csv").write_text("said,label\na film,good\na dog,bad\n", "utf-8")
    words = ("--data", "other.csv", "--columns", "text=said")
    assert json.loads(output(capsys, "evaluate", "m", *words, "--json"))["examples"] == 2
    out = output(
        capsys, "build", "bert-tiny", "--task", "text-embedding", *small.options("bert-tiny")
    )
    assert ", text-embedding, " in out


def test_a_recipe_is_not_mistaken_for_a_directory_of_the_same_name(work, models, capsys):
    shutil.copytree(models / "gpt-tiny", work / "gpt-tiny")
    words = ("--data", "corpus.txt", "--steps", 1, "--epochs", 1)
    output(capsys, "train", "gpt-tiny", *words, "-o", "m", *small.options(num_layers=2))
    assert modelzoo.load(work / "m").recipe.table("model")["num_layers"] == 2


ANSWERS = {
    "gpt-tiny": ["a rose is", "--max-new-tokens", 4],
    "lstm-tiny": ["a rose is", "--max-new-tokens", 4],
    "t5-tiny": ["a rose", "--max-new-tokens", 4],
    "bert-tiny": ["a [MASK] is a rose", "--top", 2],
    "bert-tiny-classifier": ["a fine film"],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_run_prints_an_answer_of_each_task(models, capsys, name):
    answer = json.loads(output(capsys, "run", models / name, *ANSWERS[name], "--json"))
    assert answer["input"] == ANSWERS[name][0]
    text = output(capsys, "run", models / name, *ANSWERS[name])
    if name == "bert-tiny-classifier":
        assert {line.split()[1] for line in text.splitlines()} == {"bad", "good"}
    elif name == "bert-tiny":
        assert len(answer["tokens"]) == len(text.splitlines()) == 2
    else:
        assert text == answer["output"] + "\n"


# === What is refused ===

BUILD, READ = ("build", "gpt-tiny"), ("train", "gpt-tiny", "-o", "new")
TRAIN = (*READ, "--data", "corpus.txt")
BAD = [
    (("build", "gtp-tiny"), "'gtp-tiny' is not a recipe", "did you mean: gpt-tiny?"),
    ((*BUILD, "--set", "num_layer=1"), "takes no 'num_layer'", "did you mean: num_layers?"),
    ((*BUILD, "--set", "num_layers=two"), 'must be an int, not "two"', "gpt-tiny.toml, model"),
    ((*BUILD, "--set", "trian.steps=1"), "no table 'trian'", "did you mean: train?"),
    ((*BUILD, "--set", "num_layers"), "'num_layers' is not KEY=VALUE", "--set num_layers=6"),
    ((*BUILD, "--tokenizer", "no.json"), "no such tokenizer file", "modelzoo tokenizer train"),
    ((*BUILD, "--weights", "corpus.txt"), "corpus.txt is a file", "modelzoo build"),
    (("build", "broken.toml"), "not valid TOML", "line 2, column"),
    (("build", "newer"), "written by a newer modelzoo", UPGRADE),
    ((*BUILD, "-o", "gpt"), "gpt exists", "--force"),
    (
        (*BUILD, "-o", "thesis", "--force"),
        "thesis holds chapter, which modelzoo did not write",
        "move it",
    ),
    ((*BUILD, "-o", "corpus.txt/m"), "cannot write", "free space"),
    ((*TRAIN, "--set", "train.stesp=1"), "takes no 'stesp'", "did you mean: steps?"),
    ((*TRAIN, "--set", "num_heads=x"), 'must be an int, not "x"', "gpt-tiny.toml, model"),
    ((*TRAIN, "--learning-rate", "-1"), "train.learning_rate must be above 0", ""),
    ((*TRAIN, "--seed", "-1"), "train.seed must be at least 0", ""),
    ((*TRAIN, "--epochs", "inf"), "train.epochs must be above 0, not inf", ""),
    ((*TRAIN, "--set", "train.length=999"), "999 tokens are longer than", "max_length"),
    ((*READ, "--data", "corpsu.txt"), "no such file", "did you mean: corpus.txt?"),
    ((*READ, "--data", "empty.txt"), "the file is empty", "empty.txt"),
    ((*READ, "--data", "blank.txt"), "no example in the data", "blank.txt"),
    ((*READ, "--data", "latin.txt"), "not UTF-8: byte 0xe9 at byte offset 9", "latin.txt:2"),
    ((*READ, "--data", "reviews.csv", "--validation", "no.csv"), "no such file", "no.csv"),
    ((*TRAIN, "--tokenizer", "corpus.txt"), "not a tokenizer.json", "corpus.txt"),
    ((*TRAIN, "--tokenizer", "gpt/tokenizer.json", "--set", "vocab_size=260"), "tokens and", "260"),
    ((*TRAIN, "--start", "thesis"), "thesis is not a model directory", "modelzoo build"),
    ((*TRAIN, "--start", "corpus.txt"), "corpus.txt is a file", "modelzoo build"),
    (
        (*TRAIN, "--start", "gpt", "--set", "hidden_dim=16"),
        "hidden_dim is 16 here and 32 there",
        "gpt",
    ),
    ((*TRAIN, "--set", "vocab_size=100"), "vocab_size=100 is too small", "vocab_size=257"),
    ((*TRAIN, "--set", "train.patience=1", "--set", "train.validation_fraction=0"), "patience", ""),
    (
        ("train", "bert-tiny-classifier", "--data", "corpus.txt", "-o", "new"),
        "there is no column 'label'",
        "corpus.txt",
    ),
    (("evaluate", "thesis", "--data", "corpus.txt"), "is not a model directory", "modelzoo build"),
    (("evaluate", "gpt", "--data", "empty.txt"), "the file is empty", "empty.txt"),
    (("evaluate", "mute", "--data", "corpus.txt"), "the model has no tokenizer", "tokenizer"),
    (("evaluate", "gpt", "--data", "corpus.txt", "--length", "33"), "33 tokens are longer", ""),
    (("run", "cut", "hello"), "model.keras is damaged", "write the directory again"),
    (("run", "mute", "hello"), "the model has no tokenizer", "modelzoo.load(DIR)"),
    (
        ("run", "newer", "hello"),
        "written by a newer modelzoo",
        "pip install --upgrade modelzoo-keras",
    ),
    (("run", "gpt", "a rose is " * 30), "32", ""),
    (("run", "classifier", "a fine film " * 30), "tokens", "truncate"),
]


@pytest.fixture(scope="module")
def bad(models, tmp_path_factory):
    """A folder with everything that can be wrong in it."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "corpus.txt").write_text("\n".join(small.TEXTS), "utf-8")
    (folder / "reviews.csv").write_text("text,label\na,b\n", "utf-8")
    (folder / "empty.txt").touch()
    (folder / "blank.txt").write_text(" \n\n", "utf-8")
    (folder / "latin.txt").write_bytes("a fox\nun été".encode("latin-1"))
    (folder / "broken.toml").write_text('architecture = "gpt"\ntask = \n', "utf-8")
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter").write_text("precious", "utf-8")
    shutil.copytree(models / "bert-tiny-classifier", folder / "classifier")
    for name in ("gpt", "cut", "mute", "newer"):
        shutil.copytree(models / "gpt-tiny", folder / name)
    (folder / "mute" / "tokenizer.json").unlink()
    (folder / "cut" / "model.keras").write_bytes(b"PK\x03\x04 cut off")
    lock = folder / "newer" / LOCK_NAME
    lock.write_text(lock.read_text("utf-8").replace("format_version = 2", "format_version = 9"))
    return folder


@pytest.mark.parametrize(("argv", "said", "more"), BAD, ids=lambda value: str(value)[:50])
def test_what_is_wrong_is_told_in_one_message_and_nothing_is_left(
    bad, monkeypatch, capsys, argv, said, more
):
    monkeypatch.chdir(bad)
    before = {name: (bad / name).stat().st_mtime_ns for name in small.listing(bad)}
    # The recipe is cut down where the test does not name a value itself.
    settings = small.options() if argv[0] in ("build", "train") and argv[1] == "gpt-tiny" else []
    if argv[0] == "train" and argv[1] != "gpt-tiny":
        settings = small.options(argv[1])
    message = refused(capsys, *argv[:2], *settings, *argv[2:])
    assert said in message and more in message
    assert {name: (bad / name).stat().st_mtime_ns for name in small.listing(bad)} == before


# === The output ===


def test_force_replaces_a_model_whole(work, models, capsys):
    shutil.copytree(models / "bert-tiny", work / "m")
    output(capsys, "build", "gpt-tiny", "-o", "m", "--force", *small.options())
    assert small.listing(work / "m") == ["README.md", "model.keras", LOCK_NAME]
    assert [path.name for path in work.iterdir() if path.name.startswith(".")] == []


@pytest.fixture(params=["limit", "disk"])
def full(request, work):
    """A folder on a disk with room for 200 KB; a context in which it is so."""
    if request.param == "limit":
        yield work, lambda: small.files_of_at_most(60_000)
        return
    from contextlib import nullcontext

    disk = work / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield disk, nullcontext
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_nothing_half_written_stays(full, models, capsys):
    folder, is_full = full
    before = small.listing(folder)
    words = ("build", "gpt-tiny", "-o", folder / "m", *small.options())
    with is_full():
        message = refused(capsys, *words)
    assert f"cannot write {folder / 'm'}: " in message and "free space" in message
    assert small.listing(folder) == before


def test_training_on_a_full_disk_leaves_no_half_checkpoint(full, capsys):
    folder, is_full = full
    words = ["train", "gpt-tiny", "--data", "corpus.txt", "-o", folder / "m", "--steps", 1]
    with is_full():
        message = refused(capsys, *words, *small.options())
    assert "cannot write the checkpoint" in message and "goes on" in message
    left = {name for name in small.listing(folder / "m.training") if not name.startswith("log")}
    assert left == {"run.json", "tokenizer.json"}
    assert not (folder / "m").exists()


# === Without TensorFlow ===

WITHOUT = """
import importlib.machinery, sys

class Without:
    "The ordinary finder, in an environment that lacks some packages."
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)

at = sys.meta_path.index(importlib.machinery.PathFinder)
sys.meta_path[at] = Without
from modelzoo import cli
import modelzoo
for argv in {commands!r}:
    print(cli.main(argv), file=sys.stderr)
try:
    modelzoo.build("gpt-tiny")
except modelzoo.ModelzooError as error:
    print(f"modelzoo: error: {{error}}\\n2", file=sys.stderr)
"""


@pytest.mark.parametrize("missing", [("tensorflow", "keras", "jax"), ("tensorflow", "jax")])
def test_without_tensorflow_the_message_names_the_extra(work, models, missing):
    commands = [
        ["build", "gpt-tiny"],
        ["train", "gpt-tiny", "--data", "corpus.txt", "-o", "m"],
        ["evaluate", str(models / "gpt-tiny"), "--data", "corpus.txt"],
        ["run", str(models / "gpt-tiny"), "a rose"],
    ]
    code = WITHOUT.format(missing=missing, commands=commands)
    before = small.listing(work)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "HOME": str(work)},
    )
    message = "modelzoo: error: tensorflow is not installed\n  next: pip install "
    said = re.sub(r"modelzoo: \d+ s: .*\n", "", done.stderr)
    assert said == (message + '"modelzoo-keras[tensorflow]"\n2\n') * 5
    assert small.listing(work) == before
