"""Text classification in full: several labels, numbers, thresholds, labels of one's own."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo
from modelzoo.cli import main
from modelzoo.data.classification import classification_batches, label_names, targets_of
from modelzoo.data.raw import CLASSIFICATION, read_examples
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import BundleError, DataError, ModelzooError, RecipeError
from modelzoo.recipe import read_lock
from modelzoo.runtime.abilities.entailment import HYPOTHESIS, entailed, entailment, pairs_of
from modelzoo.runtime.abilities.labels import labelled, sigmoid
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared import label_scores
from tests.core import number, randomise

MULTI = "multi_label_classification"
SMALL = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 32, "vocab_size": 600}
SMALL |= {"max_length": 40, "parameters": None}
WORDS = {
    "rude": ("stupid", "awful", "蠢货"),
    "kind": ("lovely", "warm", "谢谢"),
    "long": ("endless", "slow", "冗长"),
}


def rows(count: int = 48, seed: int = 0) -> list[dict]:
    """English and Chinese texts whose words say which of three labels apply."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        labels = [label for label in WORDS if random.random() < 0.5]
        words = [str(random.choice(WORDS[label])) for label in labels]
        found.append({"text": " ".join(["the", "film", *words, "今天"]), "label": labels})
    return found


def small(problem: str | None, labels: list | None = None, **more):
    options = {"task_options.problem_type": problem, "task_options.labels": labels}
    tokenizer = train_tokenizer([row["text"] for row in rows()], "wordpiece", 600, ENCODER_TOKENS)
    sizes = {**SMALL, "vocab_size": tokenizer.vocab_size}
    return randomise(
        modelzoo.build(
            "bert-tiny-classifier",
            compile=False,
            tokenizer=tokenizer,
            **{**sizes, **options, **more},
        )
    )


# === Data ===


def test_several_labels_are_a_list_or_one_column(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\nx,"rude|long"\ny,\nz,3\n')
    (tmp_path / "a.jsonl").write_text(
        '{"text": "x", "label": ["rude", "long"]}\n{"text": "y", "label": []}\n'
        '{"text": "z", "label": [3]}\n'
    )
    for name in ("a.csv", "a.jsonl"):
        found = list(read_examples(tmp_path / name, fields=CLASSIFICATION, problem_type=MULTI))
        assert [row["label"] for row in found] == [["rude", "long"], [], ["3"]]
        assert label_names(found, MULTI) == ("3", "long", "rude")


def test_numbers_are_one_or_a_list(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,0.5|2\ny,-1e-3|4\n")
    found = list(
        read_examples(tmp_path / "a.csv", fields=CLASSIFICATION, problem_type="regression")
    )
    assert [row["label"] for row in found] == [[0.5, 2.0], [-0.001, 4.0]]
    assert label_names(found, "regression") == ("value_1", "value_2")
    assert label_names([("a", 1.5)], "regression") == ("value",)


@pytest.mark.parametrize(
    ("problem", "label", "match"),
    [
        (None, ["a", "b"], "multi_label_classification"),
        (None, 0.5, "problem_type=regression"),
        ("regression", "high", "must be a number"),
        ("regression", [], "must be a number"),
        ("regression", float("nan"), "must be a number"),
        ("regression", True, "must be a number"),
        (MULTI, ["a", ""], "must be a name or a whole number"),
        (MULTI, "a||b", "must be a name or a whole number"),
    ],
)
def test_a_label_of_another_problem_is_rejected_with_its_place(problem, label, match):
    with pytest.raises(DataError, match=match) as caught:
        list(read_examples([("x", label)], fields=CLASSIFICATION, problem_type=problem))
    assert caught.value.where == "example 1"


def test_labels_unseen_in_training_and_other_counts_of_numbers_are_rejected():
    with pytest.raises(DataError, match="'rud' is none of kind, rude") as caught:
        targets_of([["kind"], ["kind", "rud"]], ["kind", "rude"], problem_type=MULTI)
    assert (caught.value.where, caught.value.did_you_mean) == ("example 2", "rude")
    with pytest.raises(DataError, match="expected 2 numbers as a label, got 1") as caught:
        targets_of([[1.0, 2.0], [1.0]], None, problem_type="regression")
    assert caught.value.where == "example 2"
    with pytest.raises(DataError, match="no example has a label"):
        label_names([{"text": "x", "label": []}], MULTI)


def test_batches_hold_a_number_for_each_label():
    tokenizer = train_tokenizer(["the film"] * 3, "wordpiece", 600, ENCODER_TOKENS)
    how = {"length": 8, "batch_size": 2, "shuffle": False}
    data = [("the film", "b|a"), ("film", "a")]
    batches = classification_batches(data, tokenizer, problem_type=MULTI, **how)
    assert batches.labels == ("a", "b")
    assert batches.batch(0)[1].tolist() == [[1.0, 1.0], [1.0, 0.0]]
    batches = classification_batches(
        [("the film", 2), ("film", 0.5)], tokenizer, problem_type="regression", **how
    )
    assert batches.labels is None and batches.batch(0)[1].tolist() == [[2.0], [0.5]]


def test_weights_of_classes_are_for_one_class_each():
    model = small(MULTI)
    model.compile(loss="mse", optimizer="sgd")
    batches = modelzoo.dataset(small(MULTI, ["kind", "long", "rude"]), rows(), length=16)
    with pytest.raises(DataError, match="several may apply"), batches.class_weights({"rude": 2.0}):
        batches[0]
    options = {"train.class_weights": "balanced", "train.length": 16}
    with pytest.raises(RecipeError, match="one label for each example"):
        modelzoo.dataset(small(MULTI, ["kind", "long", "rude"], **options), rows(), length=16)


# === Figures ===


def test_figures_of_several_labels_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    logits = random.normal(size=(50, 4)).round(1)  # with ties
    truth = (random.random((50, 4)) < [0.5, 0.2, 0.0, 0.9]).astype("float32")
    thresholds = [0.4, 0.5, 0.6, 0.7]
    scores = label_scores.multi_label_scores(logits, truth, thresholds)
    shares, guess = sigmoid(logits), sigmoid(logits) >= thresholds
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    f1 = metrics.f1_score(truth, guess, average="macro", zero_division=np.nan)
    assert scores["f1"] == pytest.approx(f1)
    assert scores["f1_micro"] == pytest.approx(metrics.f1_score(truth, guess, average="micro"))
    there = [0, 1, 3]
    ranked = metrics.average_precision_score(truth[:, there], shares[:, there], average="macro")
    assert scores["average_precision"] == pytest.approx(ranked)
    loss = np.mean([metrics.log_loss(truth[:, n], shares[:, n], labels=[0, 1]) for n in range(4)])
    assert scores["loss"] == pytest.approx(loss)
    each = label_scores.scores_of_each(guess, truth > 0)
    expected = metrics.precision_recall_fscore_support(truth, guess, zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "examples"), expected, strict=True):
        np.testing.assert_allclose(each[name], values, err_msg=name)


def test_figures_of_numbers_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    truth = random.normal(size=(40, 2)).round(1)  # with ties
    found = (truth + random.normal(size=(40, 2))).round(1)
    scores = label_scores.regression_scores(found, truth)
    for name, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = np.mean([function(found[:, n], truth[:, n])[0] for n in range(2)])
        assert scores[name] == pytest.approx(expected)
    assert scores["mae"] == pytest.approx(abs(found - truth).mean())
    assert np.isnan(label_scores.regression_scores(truth * 0, truth)["pearson"])


def test_calibration_is_the_gap_between_what_is_said_and_what_comes_true():
    shares = np.array([0.95] * 10 + [0.55] * 10)
    right = np.array([True] * 10 + [True] * 3 + [False] * 7)
    assert label_scores.calibration_error(shares, right) == pytest.approx((0.05 + 0.25) / 2)
    scores = label_scores.text_scores(np.array([[9.0, 0.0], [0.0, 9.0]]), np.array([0, 0]))
    assert scores["ece"] == pytest.approx(0.5, abs=1e-3)


def test_the_chosen_threshold_has_the_highest_f1_of_all():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    logits = random.normal(size=(30, 2)).round(1)
    truth = (random.random((30, 2)) < 0.4).astype("float32")
    for n, chosen in enumerate(label_scores.best_thresholds(logits, truth)):
        shares = sigmoid(logits[:, n])

        def f1(threshold, real=truth[:, n], shares=shares):
            return metrics.f1_score(real, shares >= threshold, zero_division=0)

        assert f1(chosen) == pytest.approx(max(map(f1, np.linspace(0, 1, 400))))
    assert label_scores.best_thresholds(logits, truth * 0) == [0.5, 0.5]


# === Training ===


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data, and a model of several labels that was trained on it."""
    folder = tmp_path_factory.mktemp("several")
    lines = (json.dumps(row, ensure_ascii=False) for row in rows(96))
    (folder / "data.jsonl").write_text("\n".join(lines))
    changes = {"task_options.problem_type": MULTI, "train.epochs": 30.0, "train.length": 16}
    changes |= {"train.learning_rate": 1e-2, "train.validation_fraction": 0.25}
    changes |= {"task_options.pooling": "mean", "hidden_dim": 32, "dropout": 0.0}
    recipe = modelzoo.read_recipe("bert-tiny-classifier", {**SMALL, **changes})
    figures = modelzoo.train(recipe, folder / "data.jsonl", folder / "model")
    return folder, figures


def test_several_labels_are_learned_and_thresholds_are_kept(trained):
    folder, figures = trained
    assert figures["f1"] > 0.9
    options = read_lock(folder / "model")[0].table("task_options")
    assert options["labels"] == ["kind", "long", "rude"]
    assert len(options["thresholds"]) == 3 and all(0 < one < 1 for one in options["thresholds"])
    model = modelzoo.load(folder / "model")
    answers = model.classify(["the film lovely 今天", "the film 蠢货 slow 今天"])
    assert [{label for label, _ in answer} for answer in answers] == [{"kind"}, {"rude", "long"}]
    assert len(model.classify("the film", top=2)) == 2
    assert len(model.classify("the film", threshold=0)) == 3
    assert model.classify("the film", threshold=1) == []


def test_evaluate_shows_each_label_and_writes_all_that_apply(trained, capsys):
    folder, _ = trained
    data, out = str(folder / "data.jsonl"), folder / "answers.jsonl"
    model = str(folder / "model")
    assert main(["evaluate", model, "--data", data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "confusion" not in found and found["f1"] > 0.9
    assert [row["label"] for row in found["labels"]] == ["kind", "long", "rude"]
    assert main(["evaluate", model, "--data", data, "--predictions", str(out)]) == 0
    assert "rude" in capsys.readouterr().out
    written = [json.loads(line) for line in out.read_text().splitlines()]
    hits = sum(
        set(row["label"]) == set(filter(None, row["prediction"].split("|"))) for row in written
    )
    assert hits > 80 and 0 < written[0]["probability_rude"] < 1


def test_run_answers_with_the_labels_that_apply(trained, capsys, tmp_path):
    folder, _ = trained
    model = str(folder / "model")
    assert main(["run", model, "the film 谢谢 今天"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["kind"]
    assert main(["run", model, "the film", "--threshold", "1"]) == 0
    assert capsys.readouterr().out == "(no label applies)\n"
    assert main(["run", model, "the film", "--threshold", "1.5"]) == 2
    assert "from 0 to 1, not 1.5" in capsys.readouterr().err
    table, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    table.write_text("text\nthe film 今天 stupid slow\nthe film\n")
    assert main(["run", model, str(table), "--out", str(out)]) == 0
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert {first["label"], first["label_2"]} == {"rude", "long"}
    assert "label_2" not in second


def test_numbers_are_learned(tmp_path):
    data = [(row["text"], len(row["label"]) / 2) for row in rows(96)]
    changes = {"task_options.problem_type": "regression", "train.epochs": 20.0}
    changes |= {"train.learning_rate": 1e-2, "train.length": 16}
    recipe = modelzoo.read_recipe("bert-tiny-classifier", {**SMALL, **changes})
    figures = modelzoo.train(recipe, data, tmp_path / "model")
    assert set(figures) == {"loss", "mae", "pearson", "spearman", "examples"}
    assert figures["pearson"] > 0.9
    ((name, value),) = modelzoo.load(tmp_path / "model").classify("the film stupid lovely slow")
    assert name == "value" and value == pytest.approx(1.5, abs=0.5)


# === Thresholds ===


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"problem_type": MULTI, "labels": ["a", "b"], "thresholds": [0.5]}, "1 .* for 2 labels"),
        ({"problem_type": MULTI, "labels": ["a"], "thresholds": [1.5]}, "0 to 1, not 1.5"),
        ({"labels": ["a", "b"], "thresholds": [0.5, 0.5]}, "several labels at once"),
    ],
)
def test_thresholds_of_a_recipe_are_checked(options, match):
    options = {f"task_options.{key}": value for key, value in options.items()}
    with pytest.raises(RecipeError, match=match):
        modelzoo.build("bert-tiny-classifier", compile=False, **SMALL, **options)


def test_thresholds_of_a_manifest_are_checked():
    logits = np.array([0.0, 1.0], "float32")
    assert [name for name, _ in labelled(logits, ["a", "b"], None, MULTI, [0.4, 0.8])] == ["a"]
    for wrong in ([0.5], [0.5, 2], ["a", "b"]):
        with pytest.raises(BundleError, match="2 numbers from 0 to 1"):
            labelled(logits, ["a", "b"], None, MULTI, wrong)


def test_a_threshold_is_no_option_of_a_regression():
    with pytest.raises(ModelzooError, match="answers with numbers"):
        small("regression", ["value"]).classify("x", threshold=0.5)


# === Labels of one's own ===


def test_labels_of_ones_own_are_what_follows_from_the_text():
    model = small(None, ["contradiction", "neutral", "entailment"])
    choices = ["sport", "the weather", "天气"]
    text = "the film 今天"
    pairs = [(text, HYPOTHESIS.format(label)) for label in choices]
    logits = []
    for pair in pairs:
        ids, segments = model.tokenizer.encode_pair(*pair)
        inputs = {"token_ids": np.array([ids]), "segment_ids": np.array([segments])}
        logits.append(number(model(inputs))[0])
    logits = np.array(logits, float)
    expected = np.exp(logits[:, 2]) / np.exp(logits[:, 2]).sum()
    answer = dict(model.classify(text, labels=choices))
    assert answer == pytest.approx(dict(zip(choices, expected, strict=True)), abs=1e-5)
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 2]))
    answer = dict(model.classify(text, labels=choices, several=True))
    assert answer == pytest.approx(dict(zip(choices, expected, strict=True)), abs=1e-5)
    both = model.classify([text, text], labels=choices, top=1, hypothesis="It says {}.")
    assert both[0] == both[1] and len(both[0]) == 1


@pytest.mark.parametrize(
    ("labels", "hypothesis", "match"),
    [
        ([], HYPOTHESIS, "one or more"),
        ("sport", HYPOTHESIS, "one or more"),
        (["a", " "], HYPOTHESIS, "not empty"),
        (["a", "a"], HYPOTHESIS, "twice"),
        (["a"], "It is so.", "one {}"),
    ],
)
def test_labels_and_hypotheses_that_say_nothing_are_rejected(labels, hypothesis, match):
    with pytest.raises(ModelzooError, match=match):
        pairs_of(["x"], labels, hypothesis)


def test_only_a_model_of_inference_takes_labels_of_ones_own():
    assert entailment(["entailment", "not_entailment"], "qnli") == (0, 1)
    with pytest.raises(ModelzooError, match="natural-language inference, and x answers with a, b"):
        entailment(["a", "b"], "x")
    model = small(None, ["a", "b"])
    with pytest.raises(ModelzooError, match="natural-language inference"):
        model.classify("x", labels=["c"])
    with pytest.raises(ModelzooError, match="labels of your own"):
        model.classify("x", several=True)
    logits = np.array([[0.0, 3.0], [1.0, 0.0]])
    assert entailed(logits, ["a", "ab"], 1, 0, several=False)[0][0] == "a"


def test_an_encoder_decoder_reads_the_text_on_both_sides():
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 32, "max_length": 40}
    tokenizer = train_tokenizer([row["text"] for row in rows()], "wordpiece", 600, ENCODER_TOKENS)
    options = {"task": "text-classification", "task_options": {"labels": ["a", "b"]}}
    model = randomise(
        modelzoo.build(
            "bart-base",
            compile=False,
            tokenizer=tokenizer,
            vocab_size=tokenizer.vocab_size,
            **sizes,
            **options,
        )
    )
    ids, _ = tokenizer.encode_pair("the film 今天")
    shifted = np.array([[ids[-1], *ids[:-1]]])
    hidden = model.backbone({"token_ids": np.array([ids]), "decoder_token_ids": shifted})
    logits = number(model.classifier(hidden[:, -1]))[0].astype(float)
    shares = np.exp(logits) / np.exp(logits).sum()
    expected = dict(zip("ab", shares, strict=True))
    assert dict(model.classify("the film 今天")) == pytest.approx(expected, abs=1e-5)
    batches = modelzoo.dataset(model, [("the film", "a"), ("今天", "b")], length=8, batch_size=2)
    assert number(model(batches[0][0])).shape == (2, 2)
