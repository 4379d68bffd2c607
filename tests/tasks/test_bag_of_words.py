"""A bag of words: scikit-learn's naive Bayes, where each text is judged by the others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelzoo.tasks.shared.bag_of_words import BagOfWords, baseline_scores

TEXTS = [
    *("a fine film, fine music", "a dull film", "好 电影", "the end was fine", "dull, dull music"),
    *("", "the film was dull", "fine"),
]
TRUTH = np.array([1, 0, 2, 1, 0, 2, 0, 1])


def test_shares_are_those_of_naive_bayes_on_the_other_texts():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.model_selection import LeaveOneOut, cross_val_predict
    from sklearn.naive_bayes import MultinomialNB

    from modelzoo.runtime.text.keywords import keywords

    counts = CountVectorizer(analyzer=keywords).fit_transform(TEXTS)
    folds, method = LeaveOneOut(), "predict_log_proba"
    wanted = cross_val_predict(MultinomialNB(), counts, TRUTH, cv=folds, method=method)
    found = BagOfWords(TEXTS).log_shares(TRUTH, 3)
    found -= np.log(np.exp(found).sum(-1, keepdims=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_a_label_that_no_other_text_has_is_never_chosen():
    found = BagOfWords(["a b", "a", "b"]).log_shares(np.array([1, 0, 0]), 2)
    assert found[0].argmax() == 0 and found[0, 1] == -math.inf
    assert baseline_scores(["a"], np.array([1]), 2)["baseline_accuracy"] == 0.0
    assert baseline_scores(["", "!"], np.array([1, 1]), 2)["baseline_accuracy"] == 1.0


def test_each_of_several_labels_is_judged_by_itself():
    truth = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
    texts = ["fine fine day", "fine dull day", "dull dull day", "a day"]
    found = baseline_scores(texts * 2, np.tile(truth, (2, 1)), 2, "multi_label_classification")
    assert found == {"baseline_accuracy": 1.0, "baseline_f1": 1.0}


def test_a_number_has_no_baseline():
    assert baseline_scores(["a"], np.array([[0.5]]), 1, "regression") == {}


@pytest.mark.parametrize("second", [False, True])
def test_evaluation_shows_it_and_counts_words_once(second, monkeypatch):
    import modelzoo
    from modelzoo.registry.of_recipe import task_of
    from modelzoo.tasks import text_classification
    from tests import small

    model = small.with_tokenizer("bert-tiny-classifier")
    rows = small.REVIEWS * 2
    if second:
        rows = [{"text_a": text, "text_b": "?", "label": label} for text, label in rows]
    found = modelzoo.evaluate(model, rows)
    assert found["baseline_accuracy"] == 1.0  # each review stands there twice
    task, options = task_of(model.recipe), {"length": 16, "batch_size": 4, "shuffle": False}
    batches = task.batches(task.examples(rows), model.tokenizer, **options)
    first = task.evaluate(model, batches)
    monkeypatch.setattr(text_classification, "baseline_scores", None)
    assert task.evaluate(model, batches) == first
