"""One label for a text, or for a pair of texts: sentiment, topic, entailment."""

from __future__ import annotations

from typing import Literal

import keras
from keras import ops

from modelzoo.backbones.base import width_of
from modelzoo.data.batches import Batches
from modelzoo.layers.dense import projection
from modelzoo.recipe import Recipe, override
from modelzoo.recipe.schema import defaults
from modelzoo.signature import Tensor
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.checkpoints import (
    ProblemType,
    check_labels,
    check_trainable,
    classifier_options,
)
from modelzoo.tasks.shared.encoder_signatures import mean_embedding, pool
from modelzoo.tasks.shared.scores import classification_scores, predictions
from modelzoo.tasks.shared.text_abilities import Answers


@keras.saving.register_keras_serializable("modelzoo")
class TextClassifier(Answers, TaskModel):
    """Any text backbone with a linear layer over one vector a text.

    Args:
        hidden_activation: of one more layer before it, as RoBERTa (`"tanh"`) and DistilBERT
            (`"relu"`) have it; `None` for none.

    Call: the backbone's inputs -> logits (B, num_labels).
    """

    def __init__(
        self,
        backbone,
        num_labels: int = 2,
        dropout: float = 0.1,
        hidden_activation: str | None = None,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        self.num_labels, self.dropout_rate = num_labels, dropout
        self.hidden_activation = hidden_activation
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        policy = self.dtype_policy
        self.width = width_of(backbone)
        self.hidden = None
        if hidden_activation is not None:
            self.hidden = projection(
                self.width, 0.02, activation=hidden_activation, dtype=policy, name="hidden"
            )
        self.classifier = projection(num_labels, 0.02, dtype=policy, name="classifier")
        self.build()

    def build(self, input_shape=None) -> None:
        for layer in (self.hidden, self.classifier):
            if layer is not None:
                layer.build((None, self.width))
        self.built = True

    def get_config(self) -> dict:
        config = {
            "num_labels": self.num_labels,
            "dropout": self.dropout_rate,
            "hidden_activation": self.hidden_activation,
        }
        return {**super().get_config(), **config}

    def call(self, inputs, training=None) -> Tensor:
        mask = inputs.get("padding_mask") if isinstance(inputs, dict) else None
        vector = pool(self.backbone(inputs, training=training), mask)
        vector = self.dropout(vector, training=training)
        if self.hidden is not None:
            vector = self.dropout(self.hidden(vector), training=training)
        return self.classifier(vector)

    def classify(self, text, top: int | None = None, truncate: bool = False) -> list:
        """Labels and their probabilities; see `runtime.Model.classify`."""
        return self._over_keras(text, truncate).classify(text, top, truncate)

    def device_functions(self) -> dict:
        """`serve`: `logits` (B, num_labels); `embed`: a sentence vector."""

        def serve(inputs):
            return {"logits": ops.cast(self(inputs, training=False), "float32")}

        return {"serve": serve, "embed": mean_embedding(self.backbone)}


class TextClassificationTask(Task):
    """Raw data: examples with `text` (or `text_a` and `text_b`) and `label`.

    Args:
        labels: their names in the order of the logits; empty takes the data's, sorted.
        dropout, hidden_activation: see `TextClassifier`.
        problem_type: what answers mean; see `tasks.shared.checkpoints.ProblemType`.
    """

    name = "text-classification"
    fields = (("text", "label"), ("text_a", "text_b", "label"))
    does = "gives a text one of its labels"
    pipeline_tag = "text-classification"
    reads_unlabelled = reads_weights = trims = True
    fine_tuning = {"length": 128, "checkpoint_steps": 100}
    special_tokens = ENCODER_TOKENS
    frame = "pair"
    example = 'print(model.classify("a fine film", top=1))'
    abilities = ("classify", "embed")

    def __init__(
        self,
        *,
        labels: list[str] | None = None,
        dropout: float = 0.1,
        hidden_activation: Literal["tanh", "relu", "gelu"] | None = None,
        problem_type: ProblemType | None = None,
    ):
        check_labels(labels, problem_type)
        self.labels, self.dropout = labels, dropout
        self.hidden_activation, self.problem_type = hidden_activation, problem_type

    def model(self, backbone) -> TextClassifier:
        count = len(self.labels or ("0", "1"))
        return TextClassifier(backbone, count, self.dropout, self.hidden_activation)

    def completed(self, recipe, examples) -> Recipe:
        """With the classes of the examples, unless it names its own."""
        from modelzoo.data.classification import label_names

        if self.labels:
            return recipe
        return override(recipe, {"task_options.labels": list(label_names(examples))})

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import classification_batches

        if not options.get("unlabelled"):
            check_trainable(self.problem_type, self.labels)
        return classification_batches(raw, tokenizer, labels=self.labels, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats), `accuracy`, `f1` (macro)."""
        return classification_scores(*predictions(model, batches))

    @classmethod
    def options_of_config(cls, config, names) -> dict:
        """The labels and the problem, unless a subclass has fixed them."""
        return classifier_options(config) if "labels" in defaults(cls) else {}
