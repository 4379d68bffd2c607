"""A model that answers, as a verified bundle of each format: the answers are Keras'."""

from __future__ import annotations

import pytest

import modelzoo
from modelzoo.runtime import load
from tests.core import randomise

ENGLISH = (
    "It rained all day and the dog slept. Ann wrote the letter in May, and nobody read it. " * 2
)
CHINESE = "下了一整天的雨。安妮在五月写了信。"
SMALL = {"vocab_size": 600, "num_layers": 1, "hidden_dim": 32, "num_heads": 2, "max_length": 48}
SMALL |= {"export.max_length": 48, "task_options.stride": 8, "task_options.threshold": 2.0}
ROWS = [
    {"question": "Who wrote the letter?", "context": ENGLISH, "answer": "Ann", "start": 37},
    {"question": "谁写了信？", "context": CHINESE, "answer": "安妮", "start": 8},
]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["tflite", "savedmodel"])
def test_a_bundle_answers_as_keras_does(format, tmp_path):
    model = randomise(modelzoo.build("bert-tiny-qa", compile=False, **SMALL))
    modelzoo.dataset(model, ROWS, length=48)
    modelzoo.export(model, tmp_path / "qa", format=format, quantize="float32")
    bundle = load(tmp_path / "qa")
    assert bundle.abilities == ("answer",)
    assert bundle.manifest["processing"] == {
        "answering": {"stride": 8, "max_answer": 30, "threshold": 2.0}
    }
    for row in ROWS:
        wanted = model.answer(row["question"], row["context"], n_best=3)
        found = bundle.answer(row["question"], row["context"], n_best=3)
        assert [one[:3] for one in found] == [one[:3] for one in wanted]
        assert [one.score for one in found] == pytest.approx(
            [one.score for one in wanted], rel=1e-2
        )
    assert "answer: it is the span of at most 30 tokens" in (tmp_path / "qa/README.md").read_text()
