"""Question answering: the head, its figures, and a model that learns two languages."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo
from modelzoo import cli
from modelzoo.errors import ModelzooError, RecipeError
from modelzoo.tasks.question_answering import QuestionAnswerer, QuestionAnsweringTask
from modelzoo.tasks.shared.span_scores import (
    answer_scores,
    exact_match,
    nearest_sentence,
    overlap_f1,
    span_scores,
)
from modelzoo.training.evaluate import evaluate
from tests.core import assert_near, dense, fresh, gelu, layer_norm, number, randomise, token_ids

ENGLISH = "It rained all day and the dog slept. Ann wrote the letter in May, and nobody read it."
CHINESE = "下了一整天的雨。安妮在五月写了信。"
ROWS = [
    {"question": "Who wrote the letter?", "context": ENGLISH, "answer": "Ann", "start": 37},
    {"question": "What slept?", "context": ENGLISH, "answer": "the dog", "start": 22},
    {"question": "谁写了信？", "context": CHINESE, "answer": "安妮", "start": 8},
] * 4
UNANSWERED = {"question": "Where is it?", "context": ENGLISH, "answer": "", "start": ""}
SMALL = {"vocab_size": 600, "num_layers": 1, "hidden_dim": 32, "num_heads": 2, "max_length": 64}
SMALL |= {"dropout": 0.0, "attention_dropout": 0.0}
SMALL |= {"train.length": 48, "train.batch_size": 4, "train.learning_rate": 3e-3}
SMALL |= {"train.warmup_steps": 0, "task_options.stride": 8}
INPUTS = {"token_ids": token_ids(2, 6), "padding_mask": np.array([[1] * 6, [1] * 4 + [0] * 2])}


def small(**changes):
    return modelzoo.build("bert-tiny-qa", **{**SMALL, **changes})


@pytest.fixture(scope="module")
def trained():
    model = small()
    model.fit(modelzoo.dataset(model, ROWS), epochs=60, verbose=0)
    return model


# === The head ===


def test_the_head_gives_a_start_and_an_end_of_each_token():
    model = randomise(QuestionAnswerer(fresh("bert")))
    wanted = dense(model.spans, number(model.backbone(INPUTS)["sequence"]))
    assert_near(model(INPUTS), wanted.transpose(0, 2, 1), 1e-4)
    assert not model.backbone.pooler.trainable


def test_a_layer_more_is_modernberts():
    model = randomise(QuestionAnswerer(fresh("bert"), transform=True))
    x = gelu(dense(model.transform, number(model.backbone(INPUTS)["sequence"])))
    x = layer_norm(x, number(model.norm.gamma), number(model.norm.beta), 1e-12)
    assert_near(model(INPUTS), dense(model.spans, x).transpose(0, 2, 1), 1e-4)


def test_signatures_split_them():
    model = QuestionAnswerer(fresh("bert"), max_length=4)
    assert model.max_length == 4
    (signature,) = model.export_signatures(max_length=4).values()
    outputs = signature.function({key: value[:1, :4] for key, value in INPUTS.items()})
    assert {key: value.shape for key, value in outputs.items()} == {
        "start_logits": (1, 4),
        "end_logits": (1, 4),
    }


def test_a_backbone_that_fits_is_asked_for():
    with pytest.raises(ModelzooError, match="reads a source and a target"):
        QuestionAnsweringTask().model(fresh("t5"))
    with pytest.raises(ModelzooError, match=r"needs a backbone with config\(\)"):
        QuestionAnsweringTask(transform=True).model(fresh("lstm"))
    assert QuestionAnsweringTask().model(fresh("lstm"))(INPUTS["token_ids"]).shape == (2, 2, 6)


@pytest.mark.parametrize("options", [{"stride": -1}, {"max_answer": 0}, {"max_length": 2}])
def test_options_have_bounds(options):
    with pytest.raises(RecipeError, match=f"task_options.{next(iter(options))} must be"):
        QuestionAnsweringTask(**options)


# === Training and answers ===


def test_it_learns_both_languages(trained):
    for row in ROWS[:3]:
        (answer,) = trained.answer(row["question"], row["context"])
        assert (answer.text, answer.start) == (row["answer"], row["start"])
        assert answer.score > 0.9


def test_figures_have_the_baseline_with_them(trained):
    figures = evaluate(trained, ROWS)
    assert figures["exact_match"] == figures["f1"] == 1.0
    assert figures["loss"] < 0.1
    assert figures["baseline_exact_match"] == 0.0
    assert 0.1 < figures["baseline_f1"] < 0.5
    assert figures["examples"] == len(ROWS)
    windowed = evaluate(trained, ROWS, length=24)
    assert windowed["examples"] == len(ROWS)
    assert windowed["baseline_f1"] == figures["baseline_f1"]


def test_examples_without_an_answer_set_a_threshold():
    model = small()
    assert model.processing()["answering"]["threshold"] is None
    modelzoo.dataset(model, [*ROWS, UNANSWERED])
    assert model.processing()["answering"] == {"stride": 8, "max_answer": 30, "threshold": 0.0}
    assert len(model.answer("Who?", ENGLISH, n_best=10**6)) > 30
    assert None in [one.text for one in model.answer("Who?", ENGLISH, n_best=10**6)]
    figures = evaluate(model, [*ROWS[:3], UNANSWERED])
    assert {"answerable_f1", "unanswerable_f1"} < set(figures)


def test_it_is_saved_and_run(trained, tmp_path, capsys):
    modelzoo.save(trained, tmp_path / "qa")
    again = modelzoo.load(tmp_path / "qa", compile=False)
    question, context = ROWS[0]["question"], ROWS[0]["context"]
    assert again.answer(question, context)[0][:3] == ("Ann", 37, 40)
    (tmp_path / "letter.txt").write_text(context, "utf-8")
    run = ["run", str(tmp_path / "qa"), "--context", str(tmp_path / "letter.txt")]
    assert cli.main([*run, question]) == 0
    assert capsys.readouterr().out.split() == [
        f"{again.answer(question, context)[0].score:.4f}",
        "Ann",
    ]
    assert cli.main([*run, question, "--top", "2", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert len(answers) == 2 and answers[0]["start"] == 37
    assert cli.main(["run", str(tmp_path / "qa"), question]) == 2
    assert "--context FILE" in capsys.readouterr().err
    assert cli.main([*run[:3], str(tmp_path / "lettr.txt"), question]) == 2
    assert "letter.txt?" in capsys.readouterr().err
    table = tmp_path / "asked.csv"
    table.write_text(f'question,context\n{question},"{context}"\n谁写了信？,{CHINESE}\n', "utf-8")
    out = tmp_path / "answers.csv"
    assert cli.main(["run", str(tmp_path / "qa"), str(table), "--out", str(out)]) == 0
    lines = out.read_text("utf-8").splitlines()
    assert lines[0] == "question,context,answer,start,probability"
    assert [line.split(",")[-3:-1] for line in lines[1:]] == [["Ann", "37"], ["安妮", "8"]]


def test_a_run_trains_it_and_keeps_contexts_apart(tmp_path):
    rows = [{**row, "context": f"{row['context']} {n}"} for n, row in enumerate(ROWS)]
    changes = {**SMALL, "train.steps": 2, "train.validation_fraction": 0.2}
    figures = modelzoo.train(modelzoo.read_recipe("bert-tiny-qa", changes), rows, tmp_path / "out")
    assert {"loss", "f1", "exact_match", "baseline_f1"} <= set(figures)


# === Figures ===


@pytest.mark.parametrize(
    ("answer", "right", "same", "f1"),
    [
        ("The Nile.", "the nile", 1, 1),
        ("a  dog's bed", "dogs bed", 1, 1),
        ("theatre", "atre", 0, 0),
        ("the dog and the cat", "the dog", 0, 0.5),
        ("a", "the", 1, 1),  # articles alone are nothing, and nothing is like nothing
        ("安妮。", "安妮", 1, 1),
        ("在北京市", "北京", 0, 2 / 3),
        ("北，京", "北京", 1, 1),
        ("京北", "北京", 0, 0.5),  # the longest run, and not the characters in any order
        ("Ann 在 1953 年", "1953年", 0, 2 * 2 / 6),
        ("dog", "安妮", 0, 0),
    ],
)
def test_answers_are_compared_as_published(answer, right, same, f1):
    assert exact_match(answer, right) == same
    assert overlap_f1(answer, right) == pytest.approx(f1)


def test_the_best_of_several_right_answers_counts():
    assert answer_scores("the dog", ["a cat", "dog"]) == (1.0, 1.0)
    assert answer_scores("the dog", []) == (0.0, 0.0)
    assert answer_scores(None, []) == (1.0, 1.0)
    assert answer_scores(None, ["dog"]) == (0.0, 0.0)


def test_each_kind_of_question_has_its_own_figure():
    rows = [{"answers": [{"text": "Ann", "start": 0}]}, {"answers": []}, {"answers": []}]
    found = span_scores(rows, ["Ann", None, "Bob"])
    assert found["unanswerable_f1"] == 0.5 and found["answerable_f1"] == 1.0
    assert set(span_scores(rows[:1], ["Ann"])) == {"exact_match", "f1"}
    assert set(span_scores(rows[1:], ["Ann", None])) == {"exact_match", "f1"}


def test_the_baseline_is_the_sentence_with_most_words_in_common():
    assert nearest_sentence("Who wrote a letter?", ENGLISH).startswith("Ann wrote")
    assert nearest_sentence("谁写了信？", CHINESE) == "安妮在五月写了信。"
    assert nearest_sentence("Nothing?", ENGLISH).startswith("It rained")  # the first of equals
