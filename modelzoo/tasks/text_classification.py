"""Labels or numbers for a text, or for a pair of texts: sentiment, topic, entailment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import keras
from keras import ops

from modelzoo.backbones.base import width_of
from modelzoo.data.batches import Batches
from modelzoo.errors import RecipeError
from modelzoo.layers.dense import projection
from modelzoo.layers.norms import make_norm
from modelzoo.layers.pooling import POOLINGS, last_token
from modelzoo.recipe import LOCK_NAME, Recipe, override
from modelzoo.recipe.schema import defaults
from modelzoo.runtime.abilities.encoding import is_one_text, many_texts
from modelzoo.runtime.abilities.entailment import HYPOTHESIS, pairs_of
from modelzoo.signature import Tensor
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.bag_of_words import baseline_scores
from modelzoo.tasks.shared.checkpoints import (
    ProblemType,
    check_labels,
    check_trainable,
    classifier_options,
    is_cross_encoder,
)
from modelzoo.tasks.shared.encoder_signatures import embedding, pool, sequence_of
from modelzoo.tasks.shared.label_scores import best_thresholds, text_scores
from modelzoo.tasks.shared.scores import predictions
from modelzoo.tasks.shared.text_abilities import Answers


class TextHead(Answers, TaskModel):
    """Any text backbone with a linear layer over one vector a text.

    An encoder-decoder reads the text on both sides, and the vector is the decoder's at the last
    token (Lewis et al. 2020, 3.1).

    Args:
        hidden_activation: of one more layer before it, as RoBERTa (`"tanh"`) and DistilBERT
            (`"relu"`) have it; `None` for none.
        hidden_bias, hidden_norm: whether this layer has a bias, and a norm after it, as
            ModernBERT's has.
        pooling: `"mean"` of all tokens; `None` takes BERT's pooler, or the first or last token.

    Call: the backbone's inputs -> logits (B, num_labels).
    """

    def __init__(
        self,
        backbone,
        num_labels: int = 2,
        dropout: float = 0.1,
        hidden_activation: str | None = None,
        hidden_bias: bool = True,
        hidden_norm: bool = False,
        pooling: str | None = None,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        self.num_labels, self.dropout_rate = num_labels, dropout
        self.hidden_activation, self.pooling = hidden_activation, pooling
        self.hidden_bias, self.hidden_norm = hidden_bias, hidden_norm
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        policy = self.dtype_policy
        self.width = width_of(backbone)
        self.hidden = self.norm = None
        if hidden_activation is not None:
            self.hidden = projection(
                self.width,
                0.02,
                use_bias=hidden_bias,
                activation=hidden_activation,
                dtype=policy,
                name="hidden",
            )
        if pooling is not None and getattr(backbone, "pooler", None) is not None:
            backbone.pooler.trainable = False  # no answer passes through it
        if hidden_norm:
            self.norm = make_norm(backbone.config, dtype=policy, name="norm")
        self.classifier = projection(num_labels, 0.02, dtype=policy, name="classifier")
        self.build()

    def build(self, input_shape=None) -> None:
        for layer in (self.hidden, self.norm, self.classifier):
            if layer is not None:
                layer.build((None, self.width))
        self.built = True

    def get_config(self) -> dict:
        config = {
            "num_labels": self.num_labels,
            "dropout": self.dropout_rate,
            "hidden_activation": self.hidden_activation,
            "hidden_bias": self.hidden_bias,
            "hidden_norm": self.hidden_norm,
            "pooling": self.pooling,
        }
        return {**super().get_config(), **config}

    def call(self, inputs, training=None) -> Tensor:
        mask = inputs.get("padding_mask") if isinstance(inputs, dict) else None
        outputs = self._read(inputs, training)
        if self.pooling is None:
            vector = pool(outputs, mask)
        else:
            vector = POOLINGS[self.pooling](sequence_of(outputs), mask)
        vector = self.dropout(vector, training=training)
        for layer in (self.hidden, self.norm):
            if layer is not None:
                vector = self.dropout(layer(vector), training=training)
        return self.classifier(vector)

    def _read(self, inputs, training) -> Tensor | dict[str, Tensor]:
        """The backbone's outputs."""
        if not hasattr(self.backbone, "encode"):
            return self.backbone(inputs, training=training)
        token_ids, mask = inputs["token_ids"], inputs.get("padding_mask")
        start = last_token(ops.expand_dims(token_ids, -1), mask)  # the token that ends a text
        shifted = ops.concatenate([start, token_ids[:, :-1]], axis=1)
        inputs = {"token_ids": token_ids, "padding_mask": mask, "decoder_token_ids": shifted}
        return self.backbone(inputs, training=training)


@keras.saving.register_keras_serializable("modelzoo")
class TextClassifier(TextHead):
    """A `TextHead` whose numbers are labels'."""

    def classify(
        self,
        text,
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
        **zero_shot,
    ) -> list:
        """Labels and their probabilities; see `runtime.Model.classify`."""
        texts = [text] if is_one_text(text) else many_texts(text)
        if zero_shot.get("labels"):
            texts = pairs_of(texts, zero_shot["labels"], zero_shot.get("hypothesis") or HYPOTHESIS)
        device = self._over_keras(texts, truncate)
        return device.classify(text, top, truncate, threshold, **zero_shot)

    def device_functions(self) -> dict:
        """`serve`: `logits` (B, num_labels); `embed`: a sentence vector."""

        def serve(inputs):
            return {"logits": ops.cast(self(inputs, training=False), "float32")}

        def embed(inputs):
            return {"embedding": embedding(self._read(inputs, False), inputs["padding_mask"])}

        return {"serve": serve, "embed": embed}


class TextClassificationTask(Task):
    """Raw data: examples with `text` (or `text_a` and `text_b`) and `label`.

    Args:
        labels: their names in the order of the logits; empty takes the data's, sorted.
        dropout, hidden_activation, hidden_bias, hidden_norm, pooling: see `TextHead`.
        problem_type: what a label is: one of several, several at once ("a|b" in a table, a list in
            JSON), or numbers; see `tasks.shared.checkpoints.ProblemType`.
        thresholds: the least probability of each label that applies, where several may. A training
            with validation data chooses them if they are not given.
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
        thresholds: list[float] | None = None,
        hidden_bias: bool = True,
        hidden_norm: bool = False,
        pooling: Literal["mean"] | None = None,
    ):
        check_labels(labels, problem_type)
        _check_thresholds(thresholds, labels, problem_type)
        self.labels, self.dropout = labels, dropout
        self.hidden_activation, self.problem_type = hidden_activation, problem_type
        self.thresholds = thresholds
        self.head = {"hidden_bias": hidden_bias, "hidden_norm": hidden_norm, "pooling": pooling}

    def model(self, backbone) -> TextClassifier:
        count = len(self.labels or (("0",) if self.problem_type == "regression" else ("0", "1")))
        return TextClassifier(backbone, count, self.dropout, self.hidden_activation, **self.head)

    def examples(self, raw, columns=None) -> list[dict]:
        """Raw data as a list of examples; see `Task.examples`."""
        return super().examples(raw, columns, problem_type=self.problem_type)

    def completed(self, recipe, examples) -> Recipe:
        """With the classes of the examples, unless it names its own."""
        from modelzoo.data.classification import label_names

        if self.labels:
            return recipe
        names = label_names(examples, self.problem_type)
        return override(recipe, {"task_options.labels": list(names)})

    def settled(self, recipe, model, batches) -> Recipe:
        """With thresholds that give the highest F1 of each label, unless it states its own.

        Those in a lock file were chosen for the weights before the training.
        """
        stated = self.thresholds and Path(recipe.source).name != LOCK_NAME
        if self.problem_type != "multi_label_classification" or stated:
            return recipe
        chosen = best_thresholds(*predictions(model, batches))
        return override(recipe, {"task_options.thresholds": chosen})

    def losses(self) -> tuple:
        if self.problem_type == "regression":
            return _mean(keras.losses.MeanSquaredError), [
                keras.metrics.MeanAbsoluteError(name="mae")
            ]
        if self.problem_type == "multi_label_classification":
            # A logit of 0 is the probability 0.5.
            accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
            return _mean(keras.losses.BinaryCrossentropy, from_logits=True), [accuracy]
        return token_loss(), [token_accuracy()]

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import classification_batches

        if self.problem_type in (None, "single_label_classification"):
            if not options.get("unlabelled"):
                check_trainable(None, self.labels)
        return classification_batches(
            raw, tokenizer, labels=self.labels, problem_type=self.problem_type, **options
        )

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats), `accuracy`, `f1` (macro), `ece`; see `label_scores` for other problems.

        Beside them stand those of a bag of words (`baseline_…`), of labels.
        """
        logits, truth = predictions(model, batches)
        scores = text_scores(logits, truth, self.problem_type, self.thresholds)
        if batches.baseline_figures is None and batches.texts is not None:
            batches.baseline_figures = baseline_scores(
                batches.texts, truth, logits.shape[-1], self.problem_type
            )
        return {**scores, **(batches.baseline_figures or {})}

    @classmethod
    def options_of_config(cls, config, names) -> dict:
        """The labels and the problem, unless a subclass has fixed them."""
        return classifier_options(config) if "labels" in defaults(cls) else {}

    @classmethod
    def claims(cls, config) -> bool:
        """Not a cross-encoder, which the task reranking reads."""
        return not is_cross_encoder(config)

    @classmethod
    def config_of(cls, model, classes) -> dict:
        """With the token that ends a text and begins the decoder's side, of an encoder-decoder."""
        config = super().config_of(model, classes)
        if hasattr(model.backbone, "encode") and model.tokenizer is not None:
            end = model.tokenizer.encode_pair("")[0][-1]
            config |= {"eos_token_id": end, "decoder_start_token_id": end}
        return config


def _mean(loss: type, **options) -> keras.losses.Loss:
    """A loss that is a mean over the examples that count."""
    return loss(reduction="mean_with_sample_weight", **options)


def _check_thresholds(
    thresholds: list[float] | None, labels: list[str] | None, problem_type: str | None
) -> None:
    if thresholds is None:
        return
    if problem_type != "multi_label_classification":
        raise RecipeError(
            "task_options.thresholds are for several labels at once",
            next_step='set task_options.problem_type = "multi_label_classification", or leave the '
            "thresholds out",
        )
    if labels is None or len(labels) != len(thresholds):
        raise RecipeError(
            f"there are {len(thresholds)} task_options.thresholds for {len(labels or ())} labels",
            next_step="give one for each of task_options.labels, in their order",
        )
    wrong = next((one for one in thresholds if not 0 <= one <= 1), None)
    if wrong is not None:
        raise RecipeError(f"a threshold must be from 0 to 1, not {wrong}")
