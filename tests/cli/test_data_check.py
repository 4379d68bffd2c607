"""Errors in data and task names come before anything heavy is imported."""

from __future__ import annotations

import pytest

from modelzoo.cli.data_check import check_data
from modelzoo.errors import DataError


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text("text,label\na fine film,good\n", "utf-8")
    (tmp_path / "other.csv").write_text("review,stars\na fine film,5\n", "utf-8")
    (tmp_path / "odd.csv").write_text("x,y\na,b\n", "utf-8")
    (tmp_path / "two.csv").write_text("review,comment,label\na,b,good\n", "utf-8")
    (tmp_path / "corpus.txt").write_text("a rose is a rose", "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bert-tiny-classifier", "--data", "two.csv"], "'review' and 'comment' may both be it"),
        (
            ["bert-tiny-classifier", "--data", "other.csv", "--columns", "text=reviw"],
            "--columns text=review",
        ),
        (["gpt-tiny", "--data", "corpus.txt", "--columns", "text"], "'text' is not FIELD=COLUMN"),
        (["gpt-tiny", "--data", "reviews.csv", "--task", "asr"], "'asr' is not a task\n"),
        (["gpt-tiny", "--data", "corpus.txt", "--lr", "-1"], "train.learning_rate must be above 0"),
        (["bert-tiny-classifier", "--data", "corpus.txt"], "there is no column 'label'"),
        (["minilm-l6", "--data", "reviews.csv"], "--task text-classification"),
        (["gpt-tiny", "--data", "corpsu.txt"], "did you mean: corpus.txt?\n  next: --data takes"),
        (["gpt-tiny", "--data", "corpus.txt", "--set", "task=asr"], "'asr' is not a task\n"),
        (["gpt-tiny", "--data", "corpus.txt", "--set", "task=causal"], "did you mean: causal-lm?"),
    ],
)
def test_an_error_in_the_data_needs_no_keras(site, work, words, said):
    done = site.python(
        "import os, sys\n"
        f"os.chdir({str(work)!r})\n"
        "from modelzoo.cli import main\n"
        f"code = main({['train', *words, '-o', 'new']!r})\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'ai_edge_litert'} & set(sys.modules)\n"
        "print('imported', sorted(heavy), code)\n"
    )
    assert "imported [] 2" in done.stdout, done.stdout + done.stderr
    assert said in done.stderr


def test_what_fits_its_task_passes(work):
    check_data("reviews.csv", "text-classification")
    check_data("corpus.txt", "causal-lm")
    check_data("other.csv", "text-classification", {"text": "review", "label": "stars"})
    check_data("other.csv", "text-classification")  # by the usual names
    check_data("demo:python-docs", "causal-lm")


def test_the_columns_of_another_task_name_it(work):
    """M3."""
    with pytest.raises(DataError) as caught:
        check_data("reviews.csv", "text-embedding", name="minilm")
    assert caught.value.next_step == (
        "minilm is a text-embedding model, which turns a text into a vector and is trained on "
        "text_a and text_b; these are columns of text-classification: --task text-classification"
    )
    assert caught.value.did_you_mean is None
    with pytest.raises(DataError) as caught:
        check_data("other.csv", "text-embedding")
    assert caught.value.next_step.endswith("--task text-classification")  # by its usual names
    with pytest.raises(DataError) as caught:
        check_data("odd.csv", "text-embedding")
    assert "--task" not in caught.value.next_step
