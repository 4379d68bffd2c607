"""`train`: the same weights in one go or in many, the best ones kept, nothing half done."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo import cli
from modelzoo.errors import DataError, ModelzooError, OutputError, RecipeError
from modelzoo.files import reserved
from modelzoo.recipe import read_lock
from modelzoo.training import keeper
from modelzoo.training import train as module
from modelzoo.training.checkpoint import read_state
from modelzoo.training.run_folder import RunFolder
from modelzoo.training.train import _digest, train
from tests import small
from tests.plugin_site import ROOT
from tests.training.test_optimizer import by_hand

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
NO_CHECKS = {"train.validation_fraction": 0}


def run(output, data=small.TEXTS, *, name="gpt-tiny", said=None, given=None, **changes):
    """Train a small model; `said` collects what is printed."""
    recipe = small.recipe(name, **changes)
    return train(recipe, data, output, stream=said or io.StringIO(), **(given or {}))


def weights(directory) -> list[np.ndarray]:
    return modelzoo.load(directory, compile=False).get_weights()


def assert_bitwise_equal(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


# === Killed and not killed ===


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """(folder, command): a run that was killed after its first checkpoints."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "corpus.txt").write_text("\n".join(small.TEXTS), "utf-8")
    changes = {"dropout": 0.1, "train.checkpoint_steps": 10, "train.steps": 205}
    command = ["train", "gpt-tiny", "--data", str(folder / "corpus.txt"), "-o"]
    command += [str(folder / "model"), *small.options(**changes)]
    child = subprocess.Popen(
        [sys.executable, "-m", "modelzoo", *command], cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        while not (folder / "model.training" / "checkpoint.npz").exists():
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    return folder, command


def test_a_killed_training_goes_on_and_ends_with_the_very_same_weights(
    graphs, killed, tmp_path, capsys
):
    folder, command = killed
    run_folder = RunFolder(folder / "model.training")
    done = read_state(run_folder.checkpoint)["done"]
    assert 10 <= done < 205 and done % 10 == 0
    assert not (folder / "model").exists()
    half = run_folder.path / ".checkpoint.npz.tmp"  # as a kill in the middle of writing leaves it
    half.write_bytes(run_folder.checkpoint.read_bytes()[:1000])

    changed = [*command, "--learning-rate", "0.5"]
    assert cli.main(changed) == 2
    error = capsys.readouterr().err
    assert f"an unfinished run with another recipe is there ({done} batches done)" in error
    assert "--restart" in error and "Traceback" not in error
    assert read_state(run_folder.checkpoint)["done"] == done

    assert cli.main(command) == 0
    assert f"going on from step {done} of 205" in capsys.readouterr().err
    assert small.listing(run_folder.path)[0] == "log"
    assert all(path.startswith("log") for path in small.listing(run_folder.path))

    whole = [str(tmp_path / "whole") if word == str(folder / "model") else word for word in command]
    assert cli.main(whole) == 0
    assert "going on" not in capsys.readouterr().err
    assert_bitwise_equal(folder / "model", tmp_path / "whole")


class Killed(BaseException):
    pass


@pytest.fixture
def kill_at(monkeypatch):
    """Stops a training in the place of its n-th checkpoint, as far as one process can."""

    def arrange(number):
        save, calls = keeper.save_checkpoint, []

        def save_or_die(*args):
            calls.append(args)
            if len(calls) == number:
                raise Killed
            save(*args)

        monkeypatch.setattr(keeper, "save_checkpoint", save_or_die)

    yield arrange


def test_other_data_is_refused_and_restart_forgets_the_run(kill_at, monkeypatch, tmp_path):
    changes = {"train.checkpoint_steps": 2, "train.steps": 4, **NO_CHECKS}
    kill_at(2)
    with pytest.raises(Killed):
        run(tmp_path / "m", **changes)
    with pytest.raises(OutputError, match="with another data is there"):
        run(tmp_path / "m", small.TEXTS[::-1], **changes)
    with pytest.raises(OutputError, match="with another recipe and another validation is there"):
        run(tmp_path / "m", given={"validation": ["a rose"]}, **{**changes, "num_layers": 2})
    monkeypatch.undo()
    said = io.StringIO()
    run(tmp_path / "m", small.TEXTS[::-1], given={"restart": True}, said=said, **changes)
    assert "going on" not in said.getvalue()
    run(tmp_path / "fresh", small.TEXTS[::-1], **changes)
    assert_bitwise_equal(tmp_path / "m", tmp_path / "fresh")


def test_a_picture_that_was_replaced_is_other_data(tmp_path):
    picture = tmp_path / "rose.png"
    picture.write_bytes(b"one")
    rows = [{"image": picture, "text": "a rose"}, {"image": tmp_path / "gone", "text": "skipped"}]
    before = _digest(rows)
    assert _digest(rows) == before
    picture.write_bytes(b"another")
    assert _digest(rows) != before


def test_a_run_without_a_checkpoint_stands_in_nobodys_way(kill_at, monkeypatch, tmp_path):
    kill_at(1)
    with pytest.raises(Killed):
        run(tmp_path / "m", **NO_CHECKS, **{"train.steps": 1})
    monkeypatch.undo()
    run(tmp_path / "m", vocab_size=280, **NO_CHECKS, **{"train.steps": 1})
    assert modelzoo.load(tmp_path / "m").tokenizer.vocab_size <= 280


def test_nothing_of_somebody_elses_is_forgotten(tmp_path):
    (tmp_path / "m.training").mkdir()
    (tmp_path / "m.training" / "thesis").write_text("precious")
    run(tmp_path / "m", given={"restart": True}, **NO_CHECKS, **{"train.steps": 1})
    assert (tmp_path / "m.training" / "thesis").read_text() == "precious"


def test_a_kill_between_the_last_checkpoint_and_the_directory_loses_nothing(monkeypatch, tmp_path):
    changes = {**NO_CHECKS, "train.steps": 3, "train.checkpoint_steps": 2}

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, "fill", die)
        run(tmp_path / "m", **changes)
    assert not (tmp_path / "m").exists()
    said = io.StringIO()
    run(tmp_path / "m", said=said, **changes)
    assert said.getvalue().endswith("\ngoing on from step 3 of 3\n")
    run(tmp_path / "whole", **changes)
    assert_bitwise_equal(tmp_path / "m", tmp_path / "whole")


# === Steps, schedule, log ===


@pytest.mark.parametrize(("checkpoint_steps", "accumulate"), [(1, 1), (3, 2), (100, 1)])
def test_the_number_of_updates_is_exact_whatever_the_segments(
    monkeypatch, tmp_path, checkpoint_steps, accumulate
):
    seen = []
    monkeypatch.setattr(
        keeper, "save_checkpoint", lambda path, model, state: seen.append(counts(model, state))
    )

    def counts(model, state):
        return int(model.optimizer.iterations), state["done"]

    changes = {"train.checkpoint_steps": checkpoint_steps, "train.accumulate": accumulate}
    run(tmp_path / "m", **changes, **NO_CHECKS, **{"train.steps": 5})
    ends = [*range(checkpoint_steps, 5, checkpoint_steps), 5]
    assert seen == [(end, end * accumulate) for end in ends]


def test_segments_change_nothing(tmp_path):
    for steps in (2, 5):
        changes = {"dropout": 0.1, "train.checkpoint_steps": steps, "train.steps": 5}
        run(tmp_path / str(steps), **changes)
    assert_bitwise_equal(tmp_path / "2", tmp_path / "5")


def test_epochs_are_passes_over_the_data(tmp_path):
    said = io.StringIO()
    run(tmp_path / "m", said=said, **NO_CHECKS, **{"train.epochs": 1.5})
    model = modelzoo.load(tmp_path / "m")
    per_epoch = len(modelzoo.dataset(model, small.TEXTS))
    assert f"step {round(1.5 * per_epoch)}/{round(1.5 * per_epoch)}  loss" in said.getvalue()


def test_the_log_is_one_that_tensorboard_reads(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    changes = {"train.steps": 6, "train.accumulate": 2, "train.warmup_steps": 2}
    run(tmp_path / "m", **changes, **{"train.checkpoint_steps": 3, "train.learning_rate": 1e-3})
    log = EventAccumulator(str(tmp_path / "m.training" / "log")).Reload()
    tags = set(log.Tags()["tensors"]) | set(log.Tags()["scalars"])
    assert {"train/loss", "train/learning_rate", "validation/perplexity"} <= tags

    def values(tag):
        kind = log.Tensors if tag in log.Tags()["tensors"] else log.Scalars
        return {event.step: scalar(event) for event in kind(tag)}

    def scalar(event):
        return event.value if hasattr(event, "value") else event.tensor_proto.float_val[0]

    rates = values("train/learning_rate")
    wanted = {step: by_hand(step - 1, 1e-3, 6, 2, "cosine") for step in range(1, 7)}
    assert rates == pytest.approx(wanted, rel=1e-5)
    assert list(values("train/loss")) == [1, 2, 3, 4, 5, 6]
    assert list(values("validation/loss")) == [3, 6]


# === Validation ===


def test_early_stopping_writes_the_best_weights(tmp_path):
    """What is learned of the training text is wrong for the other, so it soon gets worse there."""
    said, other = io.StringIO(), ["zzz qqq zzz qqq " * 4]
    changes = {"train.checkpoint_steps": 2, "train.steps": 200, "train.patience": 2}
    changes["train.learning_rate"] = 3e-3
    figures = run(tmp_path / "m", said=said, given={"validation": other}, **changes)
    losses = [float(x) for x in re.findall(r"validation: loss (\S+)", said.getvalue())]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 100, losses
    assert "no better for 2 validations: stopped" in said.getvalue()
    assert figures["loss"] == pytest.approx(losses[best], rel=1e-3)
    again = modelzoo.evaluate(tmp_path / "m", other)
    assert again["loss"] == pytest.approx(figures["loss"], rel=1e-5)
    assert small.listing(tmp_path / "m.training")[0] == "log"


def test_patience_without_validation_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="train.patience needs validation data"):
        run(tmp_path / "m", **NO_CHECKS, **{"train.patience": 1})
    assert small.listing(tmp_path) == []


def test_a_training_that_diverges_stops_and_keeps_nothing_of_it(tmp_path):
    said = io.StringIO()
    with pytest.raises(ModelzooError, match="the training diverged before step 2") as caught:
        run(
            tmp_path / "m",
            said=said,
            **NO_CHECKS,
            **{"train.learning_rate": 1e30, "train.steps": 2},
        )
    assert "train.learning_rate" in caught.value.next_step
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "m.training" / "checkpoint.npz").exists()


def test_a_router_that_begins_with_nan_is_named_before_the_first_step(tmp_path):
    experts = {"experts": {"count": 2}, "ffn_bias": False}
    model = modelzoo.build(small.recipe("gpt-tiny", **experts), compile=False)
    (router,) = [v for v in model.variables if v.path.endswith("block_0/ffn/router/kernel")]
    router.assign(router * np.nan)
    modelzoo.save(model, tmp_path / "start")
    with pytest.raises(ModelzooError, match="block_0/ffn/router/kernel hold NaN") as caught:
        run(tmp_path / "m", **NO_CHECKS, **experts, given={"start": tmp_path / "start"})
    assert "begin with other weights" in caught.value.next_step
    assert not (tmp_path / "m").exists()


# === Labels, starts, precision ===


def test_labels_are_those_of_the_data(tmp_path):
    reviews = [*small.REVIEWS, ("a film", "so-so")] * 4
    figures = run(tmp_path / "m", reviews, name="bert-tiny-classifier", **{"train.steps": 2})
    own = {"loss", "accuracy", "f1", "ece", "examples"}
    assert set(figures) == own | {"baseline_accuracy", "baseline_f1"}
    model = modelzoo.load(tmp_path / "m")
    assert read_lock(tmp_path / "m")[0].table("task_options")["labels"] == ["bad", "good", "so-so"]
    assert {label for label, _ in model.classify("a fine film")} == {"bad", "good", "so-so"}
    with pytest.raises(DataError, match="label 'awful' is none of bad, good, so-so"):
        modelzoo.evaluate(model, [("a film", "awful")])


def test_a_pretrained_encoder_gives_a_classifier_its_weights_and_tokenizer(tmp_path):
    pretrained = small.with_tokenizer("bert-tiny")
    modelzoo.save(pretrained, tmp_path / "bert")
    reviews, given = small.REVIEWS * 4, {"start": tmp_path / "bert"}
    tiny = {"train.learning_rate": 1e-12, "train.steps": 1, "train.weight_decay": 0.0}
    run(tmp_path / "m", reviews, name="bert-tiny-classifier", given=given, **tiny)
    model = modelzoo.load(tmp_path / "m")
    for a, b in zip(model.backbone.weights, pretrained.backbone.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert model.tokenizer.to_str() == pretrained.tokenizer.to_str()


def test_a_classifier_with_other_labels_starts_from_the_backbone_alone(tmp_path):
    two = small.build("bert-tiny-classifier")
    modelzoo.save(two, tmp_path / "two")
    three = small.build("bert-tiny-classifier", **{"task_options.labels": ["a", "b", "c"]})
    head = three.classifier.kernel.numpy()
    modelzoo.building.transfer.take_weights(three, two, "two")
    np.testing.assert_array_equal(three.classifier.kernel, head)
    for a, b in zip(three.backbone.weights, two.backbone.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_precision_is_the_runs_and_not_the_callers(tmp_path):
    before = keras.config.dtype_policy().name
    run(tmp_path / "m", **NO_CHECKS, **{"train.precision": "mixed_bfloat16", "train.steps": 1})
    assert keras.config.dtype_policy().name == before == "float32"
    assert modelzoo.load(tmp_path / "m").dtype_policy.name == "mixed_bfloat16"


# === A full disk ===


def test_a_full_disk_stops_the_training_and_room_lets_it_go_on(tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(small.TEXTS), "utf-8")
    command = ["train", "gpt-tiny", "--data", str(corpus), "-o", str(tmp_path / "m")]
    command += small.options(**{"train.steps": 2, "train.checkpoint_steps": 1}, **NO_CHECKS)
    with small.files_of_at_most(60_000):
        assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert "cannot write the checkpoint" in error and "Traceback" not in error
    assert "start the same command again" in error
    assert not (tmp_path / "m").exists()
    left = {name for name in small.listing(tmp_path / "m.training") if not name.startswith("log")}
    assert left == {"run.json", "tokenizer.json"}
    assert cli.main(command) == 0
    assert os.listdir(tmp_path / "m.training") == ["log"]


def test_validation_data_whose_labels_are_of_another_kind_is_refused(tmp_path):
    data, held_out = [("good", "pos"), ("bad", "neg")], [("good", 1), ("bad", 0)]
    with pytest.raises(DataError, match="1 in the validation data, 'pos' in the training data"):
        run(tmp_path / "m", data, name="bert-tiny-classifier", given={"validation": held_out})
    assert small.listing(tmp_path) == []


# === The end: nothing twice, nothing lost ===


def test_a_kill_between_the_model_and_the_clearing_is_no_failure(monkeypatch, tmp_path, capsys):
    (tmp_path / "corpus.txt").write_text("\n".join(small.TEXTS), "utf-8")
    changes = {**NO_CHECKS, "train.steps": 1}
    command = ["train", "gpt-tiny", "--data", str(tmp_path / "corpus.txt")]
    command += ["-o", str(tmp_path / "m"), *small.options(**changes)]

    clear = RunFolder.clear

    def clear_or_die(self):
        if (tmp_path / "m").exists():
            raise Killed
        clear(self)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunFolder, "clear", clear_or_die)
        cli.main(command)
    capsys.readouterr()
    first = (tmp_path / "m" / "model.keras").read_bytes()
    left = small.listing(tmp_path / "m.training")
    assert {"checkpoint.npz", "written.json"} <= set(left)

    other = [*command, "--learning-rate", "0.5"]
    assert cli.main(other) == 2  # another training, to which the model is one like any other
    assert "m exists" in capsys.readouterr().err
    assert cli.main([*command, "--restart"]) == 2
    assert small.listing(tmp_path / "m.training") == left

    assert cli.main(command) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'm'}: gpt-tiny")
    assert (tmp_path / "m" / "model.keras").read_bytes() == first
    assert all(path.startswith("log") for path in small.listing(tmp_path / "m.training"))
    assert cli.main(command) == 2  # from now on it is one that exists
    assert "m exists" in capsys.readouterr().err


def test_a_run_that_noted_its_end_before_the_model_stood_goes_on(tmp_path):
    run_folder = RunFolder(tmp_path)
    assert run_folder.ended(tmp_path / "model.keras") is None
    (tmp_path / "model.keras").write_text("new")
    run_folder.end(tmp_path / "model.keras", {"a": 1}, {"loss": 2.0})
    assert run_folder.ended(tmp_path / "model.keras")["figures"] == {"loss": 2.0}
    (tmp_path / "model.keras").write_text("old")
    assert run_folder.ended(tmp_path / "model.keras") is None
    whole = json.loads(run_folder.written.read_text())
    (tmp_path / "model.keras").write_text("new")
    for damaged in ("[", "[" * 100_000, *({**whole, key: [1]} for key in whole)):
        text = damaged if isinstance(damaged, str) else json.dumps(damaged)
        run_folder.written.write_text(text)
        assert run_folder.ended(tmp_path / "model.keras") is None


def test_a_second_training_of_the_same_output_says_who_holds_it(tmp_path):
    with reserved(tmp_path / "m"):
        code = (
            "import sys\nfrom modelzoo.training.run_folder import run_of\n"
            "with run_of(sys.argv[1], force=False, restart=False): pass"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "m")]
        other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert f"m is being written by process {os.getpid()}" in other.stderr
    assert small.listing(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "changes", "said"),
    [
        (
            small.TEXTS,
            {"train.warmup_steps": 10**20},
            "holds what a recipe cannot: 100000000000000000000",
        ),
        (small.TEXTS, {"train.checkpoint_steps": 10**30}, "train.checkpoint_steps"),
        ([("a", "\ud800"), ("b", "good")] * 4, {}, "not valid Unicode"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_first_step(
    monkeypatch, tmp_path, data, changes, said
):
    def fail(self, *args, **kwargs):
        raise AssertionError("it trains")

    monkeypatch.setattr(keras.Model, "fit", fail)
    name = "gpt-tiny" if data is small.TEXTS else "bert-tiny-classifier"
    with pytest.raises(RecipeError) as caught:
        run(tmp_path / "m", data, name=name, **changes)
    assert said in str(caught.value)
    assert small.listing(tmp_path) == []


def test_a_folder_that_only_is_called_like_a_run_is_not_cleared(tmp_path):
    folder = tmp_path / "m.training"
    (folder / "log").mkdir(parents=True)
    (folder / "tokenizer.json").write_text("precious")
    (folder / "log" / "diary.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"tokenizer\.json is not of a training"):
        run(tmp_path / "m", **NO_CHECKS, **{"train.steps": 1})
    (folder / "tokenizer.json").unlink()
    run(tmp_path / "m", **NO_CHECKS, **{"train.steps": 1})
    assert (folder / "log" / "diary.txt").read_text() == "precious"
