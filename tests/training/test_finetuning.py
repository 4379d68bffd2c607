"""Fine-tuning as people do it: another task, its own data, and what is said before step 1."""

from __future__ import annotations

import io
import re

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.building.memory import free_bytes, machine_bytes
from modelzoo.data.media import read_media_examples
from modelzoo.errors import DataError, ModelDirectoryError, OutputError, RecipeError
from modelzoo.optimizers.accumulation import in_parts, sum_losses
from modelzoo.optimizers.optimizer import compile_model, freeze
from modelzoo.recipe import read_lock
from modelzoo.recipe.train_options import train_options
from modelzoo.training import keeper
from modelzoo.training import plan as plans
from modelzoo.training.checkpoint import load_checkpoint, read_state
from modelzoo.training.run_folder import RunFolder
from tests import small
from tests.training.test_train import NO_CHECKS, Killed, assert_bitwise_equal, run, weights

CLASSIFIER = "bert-tiny-classifier"
REVIEWS = small.REVIEWS * 6  # 24 rows


# === The task's own training ===


def test_another_task_brings_its_own_training():
    """H2: not the batches of 1,024 and the 500 steps of warm-up of MiniLM's own training."""
    options = train_options(modelzoo.read_recipe("minilm-l6", {"task": "text-classification"}))
    assert (options.batch_size, options.length, options.epochs) == (16, 128, 3.0)
    assert (options.learning_rate, options.schedule) == (5e-5, "linear")
    assert (options.warmup, options.warmup_steps) == (0.1, 0)
    assert train_options(modelzoo.read_recipe("minilm-l6")).batch_size == 1024


def test_what_is_said_of_the_training_holds_over_the_tasks_own():
    changes = {"task": "text-classification", "train.warmup_steps": 7, "max_length": 64}
    recipe = modelzoo.read_recipe("minilm-l6", changes)
    assert recipe.table("train")["length"] == 64  # as much as the model reads
    assert "warmup" not in recipe.table("train")  # which `warmup_steps` says in its place
    assert train_options(recipe).warmup_for(100) == 7


def test_what_is_of_no_task_stays_when_the_task_changes():
    changes = {"train.seed": 5, "train.precision": "mixed_bfloat16", "train.beta_2": 0.5}
    recipe = modelzoo.read_recipe("bert-tiny", changes)
    train = modelzoo.read_recipe(recipe, {"task": "text-classification"}).table("train")
    assert (train["seed"], train["precision"]) == (5, "mixed_bfloat16")
    assert "beta_2" not in train and "clip_norm" not in train


@pytest.mark.parametrize("task", ["text-embedding", "seq2seq-lm", "image-classification"])
def test_every_task_states_a_training_that_its_table_takes(task):
    name = "vit-tiny" if task == "image-classification" else "t5-tiny"
    name = "bert-tiny" if task == "text-embedding" else name
    before = {"image-classification": "contrastive"}.get(task, "causal-lm")
    recipe = modelzoo.read_recipe(modelzoo.read_recipe(name, {"task": before}), {"task": task})
    assert train_options(recipe).warmup == 0.1


def test_a_recipe_that_extends_another_sets_one_warm_up_for_the_other(tmp_path):
    (tmp_path / "mine.toml").write_text('extends = "bert-base"\n[train]\nwarmup = 0.2\n', "utf-8")
    table = modelzoo.read_recipe(tmp_path / "mine.toml").table("train")
    assert table["warmup"] == 0.2 and "warmup_steps" not in table
    with pytest.raises(RecipeError, match="say the same thing twice"):
        train_options(
            modelzoo.read_recipe("bert-base", {"train.warmup": 0.1, "train.warmup_steps": 5})
        )


def test_a_file_that_extends_a_recipe_of_another_task_is_trained_as_the_task_says(tmp_path):
    lines = 'extends = "minilm-l6"\ntask = "text-classification"\n'
    (tmp_path / "mine.toml").write_text(lines, "utf-8")
    mine = modelzoo.read_recipe(tmp_path / "mine.toml")
    by_task = modelzoo.read_recipe("minilm-l6", {"task": "text-classification"})
    assert mine.values == by_task.values and not mine.table("task_options")
    assert train_options(mine).warmup_for(100) == 10  # the recipe's own are 500 steps
    own = "[model]\nmax_length = 64\n[train]\nwarmup_steps = 7\nlearning_rate = 1e-3\n"
    (tmp_path / "own.toml").write_text(lines + own, "utf-8")
    table = modelzoo.read_recipe(tmp_path / "own.toml").table("train")
    assert (table["learning_rate"], table["warmup_steps"], table["length"]) == (1e-3, 7, 64)
    assert "warmup" not in table and table["epochs"] == 3.0
    (tmp_path / "same.toml").write_text('extends = "minilm-l6"\n', "utf-8")
    same = modelzoo.read_recipe(tmp_path / "same.toml")
    assert same.table("train") == modelzoo.read_recipe("minilm-l6").table("train")
    (tmp_path / "third.toml").write_text('extends = "bert-tiny-tagger"\n' + lines[22:], "utf-8")
    third = modelzoo.read_recipe(tmp_path / "third.toml")
    assert not third.table("task_options") and third.task == "text-classification"


@pytest.mark.parametrize("name", ["minilm-l6-classifier", "distilbert-classifier"])
def test_a_classifier_by_name_is_trained_as_the_task_says(name):
    recipe = modelzoo.read_recipe(name)
    (table, said) = recipe.table("train"), modelzoo.read_recipe("minilm-l6", {"task": recipe.task})
    assert {key: table[key] for key in said.table("train")} == said.table("train")


# === What a run does not take ===


def test_a_warm_up_longer_than_the_training_is_refused_by_name(tmp_path):
    changes = {**NO_CHECKS, "train.steps": 3, "train.warmup_steps": 500}
    with pytest.raises(RecipeError, match="train.warmup_steps is 500, and the training has 3 st"):
        run(tmp_path / "m", **changes)
    assert small.listing(tmp_path) == []


def test_warm_up_is_a_share_of_any_training(tmp_path):
    said = io.StringIO()
    changes = {**NO_CHECKS, "train.steps": 20, "train.warmup_steps": None, "train.warmup": 0.1}
    run(tmp_path / "m", said=said, **changes)
    assert "learning rate 0.002, cosine after 2 of warm-up" in said.getvalue()
    model = small.build(**{"train.warmup_steps": None, "train.warmup": 0.5})
    assert model.optimizer.warmup_steps == 0  # `fit()` does not know how long it will be


def test_a_batch_larger_than_the_data_is_cut_and_said(tmp_path):
    said = io.StringIO()
    changes = {**NO_CHECKS, "train.batch_size": 1024, "train.steps": 1}
    run(tmp_path / "m", REVIEWS, name=CLASSIFIER, said=said, **changes)
    assert "24 rows to train on, 0 to validate on; steps: 1 of 24 x 8 tokens" in said.getvalue()
    assert "the batch of 1,024 is cut to 24: rows of the data: 24" in said.getvalue()


def test_a_batch_that_the_memory_does_not_hold_names_the_one_that_fits(monkeypatch, tmp_path):
    """H3: refused, and not killed."""
    monkeypatch.setattr(plans, "_resident", lambda: 0)
    monkeypatch.setattr(plans, "machine_bytes", lambda: 2.6e6)
    changes = {**NO_CHECKS, "train.batch_size": 24, "train.steps": 1}
    with pytest.raises(
        RecipeError, match=r"a batch of 24 x 8 tokens needs about 0\.0 GB"
    ) as caught:
        run(tmp_path / "m", REVIEWS, name=CLASSIFIER, **changes)
    found = re.fullmatch(
        r"--batch-size (\d+) --set train\.accumulate=(\d+), which trains the same",
        caught.value.next_step,
    )
    rows, parts = int(found[1]), int(found[2])
    assert rows < 24 <= rows * parts < 24 + parts
    assert small.listing(tmp_path) == []
    changes |= {"train.batch_size": rows, "train.accumulate": parts}
    run(tmp_path / "m", REVIEWS, name=CLASSIFIER, **changes)
    monkeypatch.setattr(plans, "free_bytes", lambda: 1e6)
    said = io.StringIO()
    run(tmp_path / "l", REVIEWS, name=CLASSIFIER, said=said, **changes)
    assert "GB of memory, and only 0.0 more are free now" in said.getvalue()
    monkeypatch.setattr(plans, "machine_bytes", lambda: 1e5)
    with pytest.raises(RecipeError) as caught:
        run(tmp_path / "n", REVIEWS, name=CLASSIFIER, **changes)
    assert caught.value.next_step == "--set train.length=4, or a smaller model"


def estimate(name, rows, length, **changes) -> float:
    """GB of a training beyond what the process has."""
    model = modelzoo.build(name, **changes)
    ids = np.zeros((rows, length), np.int32)
    batch = ({"token_ids": ids}, ids if model.recipe.task == "causal-lm" else ids[:, 0], None)
    fixed, each = plans._bytes(model, batch)
    return (fixed - plans._resident() + each * rows) / 1e9


def test_free_memory_is_less_than_there_is():
    assert 0 < free_bytes() <= machine_bytes()


def test_the_estimate_of_memory_is_near_what_was_measured():
    """Peaks of `fit` on a CPU of 2 cores, above those of the built model, in GB."""
    measured = {
        (CLASSIFIER, 256, 128): 2.720,
        (CLASSIFIER, 32, 512): 1.882,
        ("gpt-tiny", 64, 256): 4.806,
        ("gpt-tiny", 128, 64): 2.093,
    }
    for key, peak in measured.items():
        assert estimate(*key) == pytest.approx(peak, rel=0.12), key


# === Accumulation ===


def lengths_differ():
    """Pairs whose targets have 1 to 13 words: batches count different numbers of them."""
    return [("a rose", "a " * (1 + 4 * (i % 4) ** 2 // 3)) for i in range(10)]


@pytest.mark.parametrize("name", ["t5-tiny", CLASSIFIER, "bert-tiny"])
def test_accumulated_batches_are_exactly_the_large_one(name, tmp_path):
    data = {"t5-tiny": lengths_differ(), CLASSIFIER: REVIEWS[:22], "bert-tiny": small.TEXTS}[name]
    changes = {"dropout": 0.0, "train.steps": 3, "train.epsilon": 1e-4, **NO_CHECKS}
    if name == CLASSIFIER:
        changes["task_options.dropout"] = 0.0
        data = [
            {"text": text, "label": label, "weight": 1.0 + i % 3}
            for i, (text, label) in enumerate(data)
        ]
    changes |= {"train.learning_rate": 1e-2, "train.seed": 2}
    run(tmp_path / "one", data, name=name, **{**changes, "train.batch_size": 8})
    run(
        tmp_path / "two",
        data,
        name=name,
        **{**changes, "train.batch_size": 2, "train.accumulate": 4},
    )
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_shares_of_weights_add_up_to_the_number_of_parts():
    loss = {
        "a": keras.losses.MeanSquaredError("mean_with_sample_weight"),
        "b": keras.losses.Huber(),
    }
    sum_losses(loss)
    rows = np.array([1, 1, 1, 1, 1, 0, 0, 0], "float32")
    x, y, weight = {"ids": np.arange(8)}, {"a": rows, "b": rows}, {"a": rows, "b": rows}
    parts = in_parts((x, y, weight), 2, loss)
    assert [part["ids"].tolist() for part, _, _ in parts] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [one["a"].sum() for _, _, one in parts] == pytest.approx([1.6, 0.4])
    assert [one["b"].tolist() for _, _, one in parts] == [[1, 1, 1, 1], [1, 0, 0, 0]]
    nothing = in_parts((x["ids"], rows, rows * 0), 2, loss["a"])
    assert [one.tolist() for _, _, one in nothing] == [[0] * 4, [0] * 4]


def test_an_accumulated_run_that_was_killed_ends_with_the_same_weights(monkeypatch, tmp_path):
    from modelzoo.training import keeper

    changes = {"train.steps": 4, "train.checkpoint_steps": 2, "train.accumulate": 3, **NO_CHECKS}
    save = keeper.save_checkpoint

    def save_and_die(path, model, state):
        save(path, model, state)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(keeper, "save_checkpoint", save_and_die)
        run(tmp_path / "m", lengths_differ() * 2, name="t5-tiny", **changes)
    run(tmp_path / "m", lengths_differ() * 2, name="t5-tiny", **changes)
    run(tmp_path / "whole", lengths_differ() * 2, name="t5-tiny", **changes)
    assert_bitwise_equal(tmp_path / "m", tmp_path / "whole")


# === Columns ===


@pytest.fixture
def table(tmp_path):
    rows = "".join(f'"{text}",{label},x\n' for text, label in REVIEWS)
    (tmp_path / "stars.csv").write_text("opinion,mark,text\n" + rows, "utf-8")
    return tmp_path / "stars.csv"


def test_columns_are_kept_and_evaluate_uses_them(table, tmp_path):
    columns = {"text": "opinion", "label": "mark"}
    given, changes = {"columns": columns}, {"train.steps": 1}
    run(tmp_path / "m", table, name=CLASSIFIER, given=given, **changes)
    assert read_lock(tmp_path / "m")[0].table("train")["columns"] == columns
    assert modelzoo.evaluate(tmp_path / "m", table)["examples"] == len(REVIEWS)
    # Other data may have the fields' own names, or others that are given.
    assert modelzoo.evaluate(tmp_path / "m", REVIEWS)["examples"] == len(REVIEWS)
    other = [{"x": text, "label": label} for text, label in REVIEWS]
    found = modelzoo.evaluate(tmp_path / "m", other, columns={"text": "x"})
    assert found["examples"] == len(REVIEWS)
    model = modelzoo.load(tmp_path / "m")
    assert len(modelzoo.dataset(model, table, shuffle=False, batch_size=24)) == 1
    assert len(modelzoo.dataset(model, other, columns={"text": "x"}, batch_size=24)) == 1


def test_a_column_that_is_named_wrong_is_an_error_and_one_of_before_is_not(table, tmp_path):
    given = {"columns": {"text": "opinon", "label": "mark"}}
    with pytest.raises(DataError, match="--columns text=opinion"):
        run(tmp_path / "m", table, name=CLASSIFIER, given=given)
    before = {"train.columns": {"text": "opinon"}, "train.steps": 1}  # of a training before
    run(tmp_path / "m", REVIEWS, name=CLASSIFIER, given={"validation": REVIEWS}, **before)


# === Weights ===


def weighed(**changes):
    data = [{"text": text, "label": label} for text, label in [*REVIEWS, ("so-so", "good")]]
    model = small.build(CLASSIFIER, **changes)
    rows = modelzoo.dataset(model, data, batch_size=25)
    _, y, weight = rows[0]
    return {label: float(weight[y == number][0]) for number, label in enumerate(("bad", "good"))}


def test_class_weights_balance_or_are_given():
    """M4."""
    assert weighed() == {"bad": 1.0, "good": 1.0}
    found = weighed(**{"train.class_weights": "balanced"})
    assert found == pytest.approx({"bad": 25 / (2 * 12), "good": 25 / (2 * 13)})
    assert weighed(**{"train.class_weights": {"bad": 3}}) == {"bad": 3.0, "good": 1.0}
    with pytest.raises(DataError, match="'awful', which is not one of bad, good"):
        weighed(**{"train.class_weights": {"awful": 3.0}})
    with pytest.raises(RecipeError, match=r"train.class_weights.bad must be 0 or more, not -1"):
        weighed(**{"train.class_weights": {"bad": -1}})
    with pytest.raises(RecipeError, match="train.class_weights is for a classifier"):
        modelzoo.dataset(small.build(**{"train.class_weights": "balanced"}), small.TEXTS)


def test_a_column_of_weights_counts_in_training_and_not_in_evaluation(tmp_path):
    data = [
        {"text": text, "label": label, "weight": str(i % 3)}
        for i, (text, label) in enumerate(REVIEWS)
    ]
    said = io.StringIO()
    figures = run(tmp_path / "m", data, name=CLASSIFIER, said=said, **{"train.steps": 1})
    assert "rows have weights" in said.getvalue()
    model = modelzoo.load(tmp_path / "m")
    _, _, weight = modelzoo.dataset(model, data, batch_size=24)[0]
    assert sorted(weight) == sorted([0.0, 1.0, 2.0] * 8)
    assert figures["examples"] == 1 and modelzoo.evaluate(model, data)["examples"] == 24


def test_a_medium_may_have_a_weight_too():
    rows = [{"image": np.zeros((2, 2, 3), "uint8"), "class": "a", "weight": "2"}]
    (found,) = read_media_examples(rows, ("image", "label"), weighed=True)
    assert (found["label"], found["weight"]) == ("a", 2.0)
    assert "weight" not in read_media_examples(rows, ("image", "label"))[0]
    columns = {"label": "clas"}
    with pytest.raises(DataError, match="--columns label=class"):
        read_media_examples(rows, ("image", "label"), columns)


# === Frozen ===


def test_what_is_frozen_does_not_move_and_the_rest_does(tmp_path):
    modelzoo.save(small.with_tokenizer("bert-tiny"), tmp_path / "bert")
    said, start = io.StringIO(), {"start": tmp_path / "bert"}
    changes = {**NO_CHECKS, "train.frozen": ["backbone"], "train.steps": 2}
    run(tmp_path / "m", REVIEWS, name=CLASSIFIER, said=said, given=start, **changes)
    model, bert = modelzoo.load(tmp_path / "m"), modelzoo.load(tmp_path / "bert")
    for a, b in zip(model.backbone.get_weights(), bert.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "; 66 of " in said.getvalue() and model.classifier.bias.numpy().any()


def test_the_first_blocks_are_frozen_by_their_number():
    model = small.build(CLASSIFIER, num_layers=3, **{"train.frozen": 2})
    blocks = model.backbone.stack.blocks
    assert [block.trainable for block in blocks] == [False, False, True]
    assert not model.backbone.embedding.trainable and model.backbone.pooler.trainable


@pytest.mark.parametrize(
    ("frozen", "said"),
    [
        (["bakbone"], "no part 'bakbone'"),
        (["backbone.embeding"], "Encoder has no part 'embeding'"),
        (2, "the backbone has 1 blocks"),
        (["backbone", "classifier"], "leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused(frozen, said):
    model = small.build(CLASSIFIER, compile=False)
    with pytest.raises(RecipeError, match=said):
        freeze(model, frozen)


# === Names, callbacks, the best weights ===


def test_train_takes_a_name_and_a_directory(tmp_path):
    """M6."""
    path = tmp_path / "mine.toml"
    lines = [f"{key} = {value!r}" for key, value in small.GPT.items() if "." not in key]
    path.write_text(
        'extends = "gpt-tiny"\n[model]\n'
        + "\n".join(lines)
        + "\n[train]\nlength = 16\nsteps = 1\nvalidation_fraction = 0\nwarmup = 0.0\n",
        "utf-8",
    )
    modelzoo.train(path, small.TEXTS, tmp_path / "m", stream=io.StringIO())
    said = io.StringIO()
    modelzoo.train(tmp_path / "m", small.TEXTS, tmp_path / "n", stream=said)
    assert "mine as causal-lm" in said.getvalue()
    first, second = (modelzoo.load(tmp_path / name).tokenizer for name in "mn")
    assert first.to_str() == second.to_str()  # the directory's own, with its weights
    with pytest.raises(modelzoo.ModelzooError, match="'gtp-tiny' is not a recipe"):
        modelzoo.train("gtp-tiny", small.TEXTS, tmp_path / "o")


class Noting(keras.callbacks.Callback):
    def __init__(self, stop_after=None):
        super().__init__()
        self.calls, self.batches, self.stop_after = [], 0, stop_after

    def on_train_begin(self, logs=None):
        self.calls.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, sorted(logs)))

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches == self.stop_after:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.calls.append("end")


def test_rows_of_the_tasks_length_are_cut_to_what_a_model_reads():
    changes = {"max_length": 24, "train.length": 128}
    model = small.build("bert-tiny", task="text-classification", **changes)
    assert train_options(model.recipe).length == 128
    inputs, *_ = modelzoo.dataset(model, REVIEWS, batch_size=2)[0]
    assert inputs["token_ids"].shape == (2, 24)
    with pytest.raises(RecipeError, match="rows of 32 tokens are longer"):
        modelzoo.dataset(model, REVIEWS, batch_size=2, length=32)


def test_callbacks_see_one_training(tmp_path):
    noting, changes = Noting(), {"train.steps": 5, "train.checkpoint_steps": 2}
    run(tmp_path / "m", REVIEWS, name=CLASSIFIER, given={"callbacks": [noting]}, **changes)
    names = ["accuracy", "loss"]
    baseline = ("baseline_accuracy", "baseline_f1")
    names += [f"val_{name}" for name in ("accuracy", *baseline, "ece", "examples", "f1", "loss")]
    assert noting.calls == ["begin", *((epoch, names) for epoch in range(3)), "end"]
    assert noting.batches == 5
    run(tmp_path / "plain", REVIEWS, name=CLASSIFIER, **changes)
    assert_bitwise_equal(tmp_path / "m", tmp_path / "plain")


def test_a_callback_that_stops_the_training_stops_it_for_good(monkeypatch, tmp_path):
    from modelzoo.training import train as module

    changes = {"train.steps": 9, "train.checkpoint_steps": 4, **NO_CHECKS}
    given, said = {"callbacks": [Noting(stop_after=3)]}, io.StringIO()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, "fill", lambda *_: (_ for _ in ()).throw(Killed))
        run(tmp_path / "m", given=given, said=said, **changes)
    assert "a callback has stopped the training" in said.getvalue()
    state = read_state(RunFolder(tmp_path / "m.training").checkpoint)
    assert (state["done"], state["stopped"]) == (3, 1)
    run(tmp_path / "m", **changes)  # writes what was learned, and trains no further
    run(tmp_path / "three", given={"callbacks": [Noting(stop_after=3)]}, **changes)
    assert_bitwise_equal(tmp_path / "m", tmp_path / "three")


def test_early_stopping_of_keras_watches_the_validation(tmp_path):
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=1)
    changes = {"train.steps": 50, "train.checkpoint_steps": 1}
    said = io.StringIO()
    run(tmp_path / "m", given={"callbacks": [stop]}, said=said, **changes)
    assert said.getvalue().count("validation:") == 2


# === Callbacks that set the learning rate (H9) ===

RATES = {
    "LearningRateScheduler": lambda: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / (epoch + 1)
    ),
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau(
        "loss", min_delta=1e9, patience=1, factor=0.5
    ),
}


class Rates(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


@pytest.mark.parametrize("name", RATES)
def test_a_rate_callback_over_a_schedule_is_refused_by_name_before_step_1(tmp_path, name):
    with pytest.raises(RecipeError, match=f"callback {name} sets .*which is .cosine") as caught:
        run(tmp_path / "m", given={"callbacks": [RATES[name]()]}, **{"train.schedule": "cosine"})
    assert 'train.schedule = "constant"' in caught.value.next_step
    assert small.listing(tmp_path) == []


@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_a_rate_callback_sets_the_rate_and_a_resumed_run_ends_the_same(
    monkeypatch, tmp_path, warmup_steps
):
    changes = {
        **NO_CHECKS,
        **{"train.steps": 6, "train.checkpoint_steps": 2, "train.learning_rate": 6e-3},
        **{"train.schedule": "constant", "train.warmup_steps": warmup_steps},
    }
    rates = Rates()
    given = {"callbacks": [RATES["LearningRateScheduler"](), rates]}
    run(tmp_path / "whole", given=given, **changes)
    assert rates.seen == pytest.approx([6e-3, 3e-3, 1e-3])
    run(tmp_path / "plain", **changes)
    assert any(
        (a != b).any()
        for a, b in zip(weights(tmp_path / "whole"), weights(tmp_path / "plain"), strict=True)
    )
    save, calls = keeper.save_checkpoint, []

    def save_or_die(*args):
        calls.append(args)
        if len(calls) == 2:
            raise Killed
        save(*args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(keeper, "save_checkpoint", save_or_die)
        run(tmp_path / "m", given=given, **changes)
    again = Rates()
    given = {"callbacks": [RATES["LearningRateScheduler"](), again]}
    run(tmp_path / "m", given=given, **changes)
    assert again.seen == pytest.approx([3e-3, 1e-3])  # epochs are counted on
    assert_bitwise_equal(tmp_path / "m", tmp_path / "whole")


def test_a_reduced_rate_is_part_of_the_checkpoint(monkeypatch, tmp_path):
    from modelzoo.training import train as module

    changes = {
        **NO_CHECKS,
        **{"train.steps": 3, "train.checkpoint_steps": 1, "train.learning_rate": 8e-3},
        **{"train.schedule": "constant", "train.warmup_steps": 0},
    }
    rates = Rates()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, "fill", lambda *_: (_ for _ in ()).throw(Killed))
        run(tmp_path / "m", given={"callbacks": [RATES["ReduceLROnPlateau"](), rates]}, **changes)
    assert rates.seen == pytest.approx([8e-3, 4e-3, 2e-3])
    model = small.build(compile=False, **changes)
    compile_model(model, 3)
    load_checkpoint(RunFolder(tmp_path / "m.training").checkpoint, model)
    assert float(model.optimizer.learning_rate) == pytest.approx(2e-3)


def test_the_best_weights_are_written_without_patience_too(tmp_path):
    said, other = io.StringIO(), ["zzz qqq zzz qqq " * 4]
    changes = {"train.checkpoint_steps": 2, "train.steps": 30, "train.learning_rate": 3e-3}
    figures = run(tmp_path / "m", said=said, given={"validation": other}, **changes)
    losses = [float(x) for x in re.findall(r"validation: loss (\S+)", said.getvalue())]
    best = int(np.argmin(losses))
    assert len(losses) == 15 > best + 1, losses
    assert f"step {2 * (best + 1)} was the best: its weights are written" in said.getvalue()
    again = modelzoo.evaluate(tmp_path / "m", other)
    assert again["loss"] == pytest.approx(figures["loss"], rel=1e-5)
    assert figures["loss"] == pytest.approx(losses[best], rel=1e-3)


# === What is said when something does not fit ===


def test_another_rate_is_named_when_a_run_is_unfinished(tmp_path):
    """L7."""
    folder = RunFolder(tmp_path / "m.training")
    recipe = small.recipe()
    model = small.build()
    from modelzoo.training.checkpoint import save_checkpoint

    folder.begin({"recipe": recipe.values, "data": "a"}, None)
    save_checkpoint(folder.checkpoint, model, {"done": 4})
    other = small.recipe(**{"train.learning_rate": 0.5, "train.patience": 2})
    with pytest.raises(OutputError) as caught:
        folder.holds({"recipe": other.values, "data": "a"})
    said = caught.value.what
    assert "with another recipe is there (4 batches done)" in said
    assert "train.learning_rate was 0.002 and is 0.5; train.patience was not set and is 2" in said
    assert folder.holds({"recipe": recipe.values, "data": "a"})


def test_a_start_of_another_size_names_the_sizes(tmp_path):
    """M3."""
    modelzoo.save(small.with_tokenizer("bert-tiny", num_layers=2), tmp_path / "bert")
    with pytest.raises(ModelDirectoryError) as caught:
        run(tmp_path / "m", REVIEWS, name=CLASSIFIER, given={"start": tmp_path / "bert"})
    assert "num_layers is 1 here and 2 there" in caught.value.what
    assert (
        f"modelzoo train {tmp_path / 'bert'} --task text-classification" in caught.value.next_step
    )


def test_rows_are_as_long_as_the_longest_text(tmp_path):
    said = io.StringIO()
    data = [*REVIEWS, ("a fine film, so fine that it is a film " * 2, "good")]
    changes = {**NO_CHECKS, "train.steps": 1, "train.length": 32}
    run(tmp_path / "m", data, name=CLASSIFIER, said=said, **changes)
    length = int(re.search(r"4 x (\d+) tokens", said.getvalue())[1])
    assert 8 < length <= 32 and length % 8 == 0


def test_compiling_again_freezes_the_same():
    model = small.build(CLASSIFIER, **{"train.frozen": ["backbone"]})
    compile_model(model, 3)
    assert len(model.trainable_variables) == 2
