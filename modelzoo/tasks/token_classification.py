"""A tag for each word: names, parts of speech, the words of a Chinese text."""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np
from keras import ops

from modelzoo.backbones.base import width_of
from modelzoo.data.batches import Batches
from modelzoo.errors import ModelzooError, RecipeError
from modelzoo.layers.dense import projection
from modelzoo.layers.feed_forward import activation
from modelzoo.layers.norms import make_norm
from modelzoo.recipe import Recipe, override
from modelzoo.runtime.abilities.tagging import texts_of, words_of
from modelzoo.signature import Tensor
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.checkpoints import labels_of_config
from modelzoo.tasks.shared.encoder_signatures import mean_embedding
from modelzoo.tasks.shared.scores import negative_log_likelihood
from modelzoo.tasks.shared.tag_scores import tag_scores
from modelzoo.tasks.shared.text_abilities import Answers


@keras.saving.register_keras_serializable("modelzoo")
class TokenClassifier(Answers, TaskModel):
    """Any text backbone with a linear layer over each token.

    Args:
        hidden_activation: of one more layer before it, with a norm after it, as ModernBERT has it;
            `None` for none.

    Call: the backbone's inputs -> logits (B, T, num_labels).
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
        policy = self.dtype_policy
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.width = width_of(backbone)
        self.hidden = self.hidden_norm = None
        if hidden_activation is not None:
            config = backbone.config
            self.activation = activation(hidden_activation)
            self.hidden = projection(
                self.width, 0.02, use_bias=config.ffn_bias, dtype=policy, name="hidden"
            )
            self.hidden_norm = make_norm(config, dtype=policy, name="hidden_norm")
        self.classifier = projection(num_labels, 0.02, dtype=policy, name="classifier")
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler.trainable = False  # no token passes through it
        self.build()

    def build(self, input_shape=None) -> None:
        for layer in (self.hidden, self.hidden_norm, self.classifier):
            if layer is not None:
                layer.build((None, None, self.width))
        self.built = True

    def get_config(self) -> dict:
        config = {
            "num_labels": self.num_labels,
            "dropout": self.dropout_rate,
            "hidden_activation": self.hidden_activation,
        }
        return {**super().get_config(), **config}

    def call(self, inputs, training=None) -> Tensor:
        outputs = self.backbone(inputs, training=training)
        x = outputs["sequence"] if isinstance(outputs, dict) else outputs
        if self.hidden is not None:
            x = self.hidden_norm(self.activation(self.hidden(x)))
        return self.classifier(self.dropout(x, training=training))

    def tag(self, text, group: bool = True) -> list:
        """The spans of a text, or the tag of each word; see `runtime.Model.tag`."""
        items = texts_of(text)
        # Each word by itself, as it is encoded: for the length.
        spaced = [
            " ".join(whole[start:end] for start, end in places)
            for whole, places in map(words_of, items)
        ]
        answers = self._over_keras(spaced, truncate=False).tag(items, group)
        return answers[0] if isinstance(text, str | tuple) else answers

    def device_functions(self) -> dict:
        """`serve`: `logits` (B, T, num_labels); `embed`: a sentence vector."""

        def serve(inputs):
            return {"logits": ops.cast(self(inputs, training=False), "float32")}

        return {"serve": serve, "embed": mean_embedding(self.backbone)}


class TokenClassificationTask(Task):
    """Raw data: sentences with `words` and `tags`, or with `text` and `spans`.

    Args:
        labels: the tags in the order of the logits; empty takes the data's, sorted, "O" first.
        dropout, hidden_activation: see `TokenClassifier`.
    """

    name = "token-classification"
    fields = (("text", "words", "tags"), ("words", "tags"), ("text", "spans"))
    does = "gives each word of a text a tag, and finds names in it"
    pipeline_tag = "token-classification"
    trims = True
    fine_tuning = {"length": 128, "checkpoint_steps": 100}
    special_tokens = ENCODER_TOKENS
    frame = "pair"
    example = 'print(model.tag("Angela Merkel visited Paris"))'
    abilities = ("tag", "embed")

    def __init__(
        self,
        *,
        labels: list[str] | None = None,
        dropout: float = 0.1,
        hidden_activation: Literal["tanh", "relu", "gelu"] | None = None,
    ):
        if labels is not None and len(set(labels)) < max(2, len(labels)):
            raise RecipeError(f"a tagger needs two or more different labels, not {labels}")
        self.labels, self.dropout, self.hidden_activation = labels, dropout, hidden_activation

    def model(self, backbone) -> TokenClassifier:
        if hasattr(backbone, "encode"):
            raise ModelzooError(
                f"the task {self.name} needs a backbone that reads one text, "
                f"and {type(backbone).__name__} reads a source and a target",
                next_step="take an encoder such as bert-tiny, or a bidirectional recurrent network",
            )
        return TokenClassifier(
            backbone, len(self.labels or ("0", "1")), self.dropout, self.hidden_activation
        )

    def examples(self, raw, columns=None) -> list[dict]:
        from modelzoo.data.token_classification import read_tagged

        return read_tagged(raw, columns)

    def completed(self, recipe, examples) -> Recipe:
        """With the tags of the examples, unless it names its own."""
        from modelzoo.data.token_classification import tag_names

        if self.labels:
            return recipe
        return override(recipe, {"task_options.labels": list(tag_names(examples))})

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import token_classification_batches

        return token_classification_batches(raw, tokenizer, labels=self.labels, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats), `accuracy`, `words`, and what else `tag_scores` finds."""
        guess, truth, losses = [], [], []
        for x, y, weight in batches.evaluation():
            real = np.asarray(weight) > 0  # the first token of each word
            logits = np.asarray(model.predict_on_batch(x))[real]
            truth.append(y[real])
            guess.append(logits.argmax(-1))
            losses.append(negative_log_likelihood(logits, y[real]))
        ends = np.cumsum([len(words) for words in batches.sentences])[:-1]
        both = (
            [[batches.labels[tag] for tag in row] for row in np.split(np.concatenate(tags), ends)]
            for tags in (truth, guess)
        )
        loss = np.concatenate(losses)
        scores = tag_scores(*both, batches.sentences, batches.labels)
        return {"loss": float(loss.mean()), **scores, "words": len(loss)}

    @classmethod
    def options_of_config(cls, config, names) -> dict:
        return {"labels": labels_of_config(config)}
