"""How well a text answers a question: a cross-encoder, which puts what a search found in order."""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np
from keras import ops

from modelzoo.data.batches import Batches
from modelzoo.tasks.base import Task
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.checkpoints import is_cross_encoder
from modelzoo.tasks.shared.ranking_scores import ranking_scores
from modelzoo.tasks.shared.scores import predictions
from modelzoo.tasks.text_classification import TextHead


@keras.saving.register_keras_serializable("modelzoo")
class Reranker(TextHead):
    """A text backbone that reads a question and a text together (Nogueira and Cho 2019).

    Call: the backbone's inputs -> logits (B, 1).
    """

    def __init__(self, backbone, num_labels: int = 1, **kwargs):
        super().__init__(backbone, num_labels, **kwargs)

    def rank(self, query: str, candidates, top: int | None = None, truncate: bool = False) -> list:
        """Candidates and their scores, the best first; see `runtime.Model.rank`."""
        device = self._over_keras([(query, one) for one in candidates], truncate)
        return device.rank(query, candidates, top=top, truncate=truncate)

    def device_functions(self) -> dict:
        """`serve`: `logits` (B, 1)."""

        def serve(inputs):
            return {"logits": ops.cast(self(inputs, training=False), "float32")}

        return {"serve": serve}


class RerankingTask(Task):
    """Raw data: `query`, `text` and `score` from 0 to 1 (or `label`, 0 or 1); or `query`,
    `positive` and `negatives`.

    Args:
        dropout, hidden_activation, hidden_bias, hidden_norm, pooling: see `TextHead`.
    """

    name = "reranking"
    fields = (
        ("query", "text", "score"),
        ("query", "text", "label"),
        ("query", "positive", "negatives"),
    )
    does = "says how well a text answers a question, and puts texts in this order"
    pipeline_tag = "text-ranking"
    label_problem = "regression"
    reads_unlabelled = trims = True
    fine_tuning = {"learning_rate": 2e-5, "length": 256, "epochs": 1.0}
    special_tokens = ENCODER_TOKENS
    frame = "pair"
    example = 'print(model.rank("What do cats eat?", ["Cats eat fish.", "It rained."]))'
    abilities = ("rank",)

    def __init__(
        self,
        *,
        dropout: float = 0.1,
        hidden_activation: Literal["tanh", "relu", "gelu"] | None = None,
        hidden_bias: bool = True,
        hidden_norm: bool = False,
        pooling: Literal["mean"] | None = None,
    ):
        self.head = {"dropout": dropout, "hidden_activation": hidden_activation}
        self.head |= {"hidden_bias": hidden_bias, "hidden_norm": hidden_norm, "pooling": pooling}

    def model(self, backbone) -> Reranker:
        return Reranker(backbone, **self.head)

    def examples(self, raw, columns=None) -> list[dict]:
        """Raw data as a list of examples; see `Task.examples`."""
        return super().examples(raw, columns, problem_type=self.label_problem)

    def losses(self) -> tuple:
        loss = keras.losses.BinaryCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )
        return loss, []

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data.reranking import reranking_batches

        return reranking_batches(raw, tokenizer, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats), and over the candidates of each query `mrr`, `ndcg@10`, `recall@1`,
        `recall@5`; beside them those of counting the words in common (`baseline_…`)."""
        logits, truth = (values[:, 0] for values in predictions(model, batches))
        logits = logits.astype(np.float64)
        scores = ranking_scores(logits, truth, batches.groups)
        plain = ranking_scores(batches.baseline, truth, batches.groups)
        plain.pop("queries")
        loss = np.logaddexp(0.0, logits) - truth * logits
        return {
            "loss": float(loss.mean()),
            **scores,
            **{f"baseline_{name}": value for name, value in plain.items()},
        }

    @classmethod
    def claims(cls, config) -> bool:
        """A cross-encoder of sentence-transformers, which has a classifier's class."""
        return is_cross_encoder(config)

    @classmethod
    def config_of(cls, model, classes) -> dict:
        """As sentence-transformers writes it: one label, whose answer is a sigmoid."""
        return {
            "id2label": {"0": "LABEL_0"},
            "label2id": {"LABEL_0": 0},
            "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"},
        }
