"""Reranking: data, figures, training, checkpoints, bundles, and the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo
from modelzoo.cli import main
from modelzoo.data.reranking import reranking_batches, reranking_pairs
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import DataError, ModelzooError
from modelzoo.runtime.text.keywords import keywords
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.ranking_scores import ranking_scores
from modelzoo.weights import write_checkpoint
from tests.core import number, randomise

SMALL = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "ffn_dim": 32, "max_length": 32}
SMALL |= {"parameters": None, "dropout": 0.0, "train.length": 16}
# A question and its answer have no word in common: only what is learned tells them.
PAIRS = [("who barks", "the dog"), ("who sings", "a bird"), ("谁叫", "一只狗"), ("谁飞", "那鸟")]
WRONG = ["it rained", "下雨了", "so it ends"]


def data() -> list[dict]:
    return [{"query": query, "positive": text, "negatives": WRONG} for query, text in PAIRS]


def tokenizer_of():
    texts = [*WRONG, *(text for pair in PAIRS for text in pair)]
    return train_tokenizer(texts * 3, "wordpiece", 600, ENCODER_TOKENS)


@pytest.fixture(scope="module")
def model():
    tokenizer = tokenizer_of()
    sizes = {**SMALL, "vocab_size": tokenizer.vocab_size}
    return randomise(
        modelzoo.build("bert-tiny-reranker", compile=False, tokenizer=tokenizer, **sizes)
    )


# === Data ===


def test_pairs_are_scores_labels_or_examples_against_each_other(tmp_path):
    (tmp_path / "a.csv").write_text("query,text,label\nq,a,1\nq,b,0\n")
    (tmp_path / "b.jsonl").write_text('{"query": "q", "text": "a", "score": 0.5}\n')
    (tmp_path / "c.jsonl").write_text('{"query": "q", "positive": "a", "negatives": ["b", "c"]}\n')
    (tmp_path / "d.tsv").write_text("query\tpositive\tnegatives\nq\ta\tb\n")
    assert reranking_pairs(tmp_path / "a.csv") == (["q", "q"], ["a", "b"], [1.0, 0.0])
    assert reranking_pairs(tmp_path / "b.jsonl") == (["q"], ["a"], [0.5])
    assert reranking_pairs(tmp_path / "c.jsonl") == (["q"] * 3, ["a", "b", "c"], [1.0, 0.0, 0.0])
    assert reranking_pairs(tmp_path / "d.tsv") == (["q", "q"], ["a", "b"], [1.0, 0.0])


@pytest.mark.parametrize(
    ("example", "match"),
    [
        ({"query": "q", "text": "a", "score": 2}, "from 0 to 1"),
        ({"query": "q", "text": "a", "score": "high"}, "must be a number"),
        ({"query": "q", "positive": "a", "negatives": []}, "a text or a list of texts"),
        ({"query": "q", "positive": "a", "negatives": ["b", " "]}, "must be a text"),
        ({"query": "q", "text": "a"}, "no column"),
    ],
)
def test_bad_pairs_are_rejected_with_their_place(example, match):
    with pytest.raises(DataError, match=match) as caught:
        reranking_pairs([{"query": "q", "text": "b", "score": 1, "positive": ""}, example][1:])
    assert caught.value.where == "example 1"


def test_batches_hold_pairs_scores_and_who_belongs_together():
    tokenizer = tokenizer_of()
    batches = reranking_batches(data()[:2], tokenizer, length=16, batch_size=8, shuffle=False)
    x, y, weight = batches.batch(0)
    ids, segments = tokenizer.encode_pair("who barks", "the dog")
    assert x["token_ids"][0, : len(ids)].tolist() == ids
    assert x["segment_ids"][0, : len(ids)].tolist() == segments
    assert y[:, 0].tolist() == [1, 0, 0, 0, 1, 0, 0, 0] and weight.tolist() == [1] * 8
    assert batches.groups.tolist() == [0] * 4 + [1] * 4
    assert keywords("Who's 谁飞?") == ["who", "'s", "谁", "飞"]


# === Figures ===


def test_rankings_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (20, 15)).astype(float)
    truth[:, 0] = 1
    scores = random.permutation(300).reshape(20, 15).astype(float)
    groups = np.repeat(np.arange(20), 15)
    found = ranking_scores(scores.ravel(), truth.ravel(), groups)
    assert found["ndcg@10"] == pytest.approx(metrics.ndcg_score(truth, scores, k=10))
    one = np.zeros_like(truth)
    one[np.arange(20), random.integers(0, 15, 20)] = 1
    found = ranking_scores(scores.ravel(), one.ravel(), groups)
    expected = metrics.label_ranking_average_precision_score(one, scores)
    assert found["mrr"] == pytest.approx(expected)  # the same where one text is right
    assert found["recall@5"] == pytest.approx(
        metrics.top_k_accuracy_score(one.argmax(1), scores, k=5, labels=np.arange(15))
    )


def test_a_wrong_text_as_good_as_the_right_one_counts_as_better():
    scores = ranking_scores(np.zeros(2), np.array([1.0, 0.0]), np.zeros(2))
    assert (scores["mrr"], scores["recall@1"], scores["queries"]) == (0.5, 0.0, 1)
    none = ranking_scores(np.zeros(2), np.zeros(2), np.zeros(2))
    assert np.isnan(none["mrr"]) and none["queries"] == 0


# === The model ===


def test_candidates_come_in_the_order_of_their_logits(model):
    query, candidates = "谁叫", ["the dog", "一只狗", "a bird"]
    logits = []
    for text in candidates:
        ids, segments = model.tokenizer.encode_pair(query, text)
        inputs = {"token_ids": np.array([ids]), "segment_ids": np.array([segments])}
        logits.append(float(number(model(inputs))[0, 0]))
    expected = dict(zip(candidates, 1 / (1 + np.exp(-np.array(logits))), strict=True))
    answer = model.rank(query, candidates)
    assert dict(answer) == pytest.approx(expected, abs=1e-5)
    assert [text for text, _ in answer] == sorted(expected, key=expected.get, reverse=True)
    assert model.rank(query, candidates, top=1) == answer[:1]
    prefixes = model.rank(query, ["the", "the dog", "the"])  # each is read by itself
    assert len(prefixes) == 3


@pytest.mark.parametrize(
    ("query", "candidates", "match"),
    [
        ("q", [], "one or more"),
        ("q", "a text", "one or more"),
        ("q", ["a", ""], "not empty"),
        (" ", ["a"], "not empty"),
    ],
)
def test_empty_questions_and_candidates_are_rejected(model, query, candidates, match):
    with pytest.raises(ModelzooError, match=match):
        model.rank(query, candidates)


def test_it_learns_what_belongs_together(tmp_path, capsys):
    path, out = tmp_path / "data.jsonl", tmp_path / "model"
    lines = [json.dumps(row, ensure_ascii=False) for row in data()]
    path.write_text("\n".join(lines * 8))
    changes = {"train.epochs": 5.0, "train.learning_rate": 1e-2}
    changes |= {"task_options.pooling": "mean", "vocab_size": 600}
    recipe = modelzoo.read_recipe("bert-tiny-reranker", {**SMALL, **changes})
    figures = modelzoo.train(recipe, path, out)
    assert figures["mrr"] == 1.0
    path.write_text("\n".join(lines))
    capsys.readouterr()
    assert main(["evaluate", str(out), "--data", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recall@1"] == 1.0 and found["queries"] == 4
    assert found["baseline_mrr"] == 0.25
    given = ["run", str(out), "who sings"]
    for text in ("it rained", "a bird"):
        given += ["--label", text]
    assert main(given) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("  a bird")
    assert main(given[:3]) == 2
    assert "--label" in capsys.readouterr().err


def test_a_checkpoint_is_a_cross_encoder_and_reads_back(model, tmp_path):
    folder = write_checkpoint(model, tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    again = modelzoo.build(folder, compile=False)
    assert again.recipe.task == "reranking"
    query, candidates = "who barks", ["the dog", "a bird"]
    assert again.rank(query, candidates) == model.rank(query, candidates)
    del config["sentence_transformers"]  # as others write a classifier with one label
    (folder / "config.json").write_text(json.dumps(config))
    assert modelzoo.build(folder, compile=False).recipe.task == "text-classification"
    asked = modelzoo.build(folder, compile=False, task="reranking")
    assert asked.rank(query, candidates) == model.rank(query, candidates)


@pytest.mark.parametrize("format", ["tflite", "savedmodel"])
def test_a_bundle_ranks_and_is_measured_as_the_model(model, format, tmp_path, capsys):
    modelzoo.save(model, tmp_path / "model")
    bundle, directory = str(tmp_path / "x.bundle"), str(tmp_path / "model")
    export = ["export", directory, "-o", bundle, "--format", format, "--quantize", "float32"]
    assert main([*export, "--set", "export.lengths=[]", "--set", "export.max_length=32"]) == 0
    loaded = modelzoo.runtime.load(bundle)
    assert loaded.abilities == ("rank",)
    query, candidates = "who barks", ["the dog", "a bird", "一只狗"]
    wanted = model.rank(query, candidates)
    found = loaded.rank(query, candidates)
    assert [text for text, _ in found] == [text for text, _ in wanted]
    assert [p for _, p in found] == pytest.approx([p for _, p in wanted], abs=1e-4)
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in data()))
    capsys.readouterr()
    given = ["evaluate", bundle, "--data", str(path), "--against", directory, "--json"]
    assert main(given) == 0
    figures = json.loads(capsys.readouterr().out)
    beside = figures.pop("against")["figures"]
    assert figures == pytest.approx(beside, rel=1e-4)
