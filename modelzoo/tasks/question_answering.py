"""The part of a text that answers a question.

B batch, T tokens of a window.
"""

from __future__ import annotations

from itertools import groupby

import keras
import numpy as np
from keras import ops

from modelzoo.data.batches import Batches
from modelzoo.errors import ModelzooError, RecipeError
from modelzoo.layers.dense import projection
from modelzoo.layers.feed_forward import activation
from modelzoo.layers.masks import HIDDEN
from modelzoo.layers.norms import make_norm
from modelzoo.recipe import Recipe, override
from modelzoo.runtime.abilities.answering import OUTPUTS, questions_and_contexts
from modelzoo.runtime.text.spans import DEFAULTS, best_answers
from modelzoo.signature import Tensor
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.scores import negative_log_likelihood
from modelzoo.tasks.shared.span_scores import nearest_sentence, span_scores
from modelzoo.tasks.shared.text_abilities import Answers


@keras.saving.register_keras_serializable("modelzoo")
class QuestionAnswerer(Answers, TaskModel):
    """An encoder with two numbers for each token: whether an answer starts or ends there.

    Devlin et al. 2019, 4.2. Call: the backbone's inputs, of "[CLS] question [SEP] context [SEP]"
    -> logits (B, 2, T), of the start and of the end; place 0 stands for "no answer".

    Args:
        transform: one more layer before it, with activation and norm, as ModernBERT has it.

    Attributes:
        max_length: tokens of a window; a longer context is read in several.
    """

    def __init__(
        self,
        backbone,
        dropout: float = 0.0,
        transform: bool = False,
        max_length: int | None = None,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        self.dropout_rate, self.has_transform = dropout, transform
        limits = [limit for limit in (max_length, backbone.max_length) if limit is not None]
        self.max_length = min(limits, default=None)
        policy, config = self.dtype_policy, getattr(backbone, "config", None)
        self.width = config.hidden_dim if config else backbone.hidden_dims[-1]
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler.trainable = False  # no logit passes through it
        self.transform = self.norm = None
        if transform:
            self.transform = projection(
                self.width, 0.02, use_bias=config.ffn_bias, dtype=policy, name="transform"
            )
            self.activation = activation(config.activation)
            self.norm = make_norm(config, dtype=policy, name="norm")
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.spans = projection(2, 0.02, dtype=policy, name="spans")
        self.build()

    def build(self, input_shape=None) -> None:
        for layer in (self.transform, self.norm, self.spans):
            if layer is not None:
                layer.build((None, None, self.width))
        self.built = True

    def get_config(self) -> dict:
        config = {"dropout": self.dropout_rate, "transform": self.has_transform}
        return {**super().get_config(), **config, "max_length": self.max_length}

    def processing(self) -> dict:
        """How a device reads windows and chooses among spans, as `[task_options]` says."""
        options = {} if self.recipe is None else self.recipe.table("task_options")
        how = {key: options.get(key, default) for key, default in DEFAULTS.items()}
        return {**super().processing(), "answering": how}

    def call(self, inputs, training=None) -> Tensor:
        outputs = self.backbone(inputs, training=training)
        x = outputs["sequence"] if isinstance(outputs, dict) else outputs
        if self.transform is not None:
            x = self.norm(self.activation(self.transform(x)))
        return ops.transpose(self.spans(self.dropout(x, training=training)), (0, 2, 1))

    def answer(self, question, context, n_best: int = 1) -> list:
        """The parts of a text that answer a question; see `runtime.Model.answer`."""
        pairs = questions_and_contexts(question, context)
        return self._over_keras(pairs, False).answer(question, context, n_best)

    def device_functions(self) -> dict:
        """`serve`: `start_logits` and `end_logits` (B, T)."""

        def serve(inputs):
            logits = ops.cast(self(inputs, training=False), "float32")
            return {name: logits[:, at] for at, name in enumerate(OUTPUTS)}

        return {"serve": serve}


class QuestionAnsweringTask(Task):
    """Raw data: `question`, `context`, `answer` and the character where it starts, `start`; or a
    file of SQuAD 1.1 or 2.0.

    Args:
        dropout, transform: see `QuestionAnswerer`.
        max_length: tokens of a window, at most.
        stride: tokens that two windows of a long context share.
        max_answer: tokens of an answer, at most.
        threshold: how much likelier than the best span "no answer" must be to be given, in logits;
            `None` for a model that always answers. Default: 0 where examples have no answer.
    """

    name = "question-answering"
    fields = (("question", "context", "answer", "start"), ("question", "context", "answers"))
    does = "finds the answer to a question in a text"
    pipeline_tag = "question-answering"
    trims = True
    fine_tuning = {"learning_rate": 3e-5, "length": 384, "epochs": 2.0, "checkpoint_steps": 100}
    special_tokens = ENCODER_TOKENS
    frame = "pair"
    example = 'print(model.answer("Who wrote it?", "Ann wrote the letter in May.")[0].text)'
    abilities = ("answer",)

    def __init__(
        self,
        *,
        dropout: float = 0.0,
        transform: bool = False,
        max_length: int = 384,
        stride: int = DEFAULTS["stride"],
        max_answer: int = DEFAULTS["max_answer"],
        threshold: float | None = DEFAULTS["threshold"],
    ):
        for name, value, least in (
            ("max_length", max_length, 8),
            ("stride", stride, 0),
            ("max_answer", max_answer, 1),
        ):
            if value < least:
                raise RecipeError(f"task_options.{name} must be {least} or more, not {value}")
        self.dropout, self.transform, self.max_length = dropout, transform, max_length
        self.stride, self.max_answer, self.threshold = stride, max_answer, threshold

    def model(self, backbone) -> QuestionAnswerer:
        if hasattr(backbone, "encode"):
            raise ModelzooError(
                f"the task {self.name} needs a backbone that reads one text, "
                f"and {type(backbone).__name__} reads a source and a target",
                next_step="take an encoder such as bert-tiny or minilm-l6",
            )
        if self.transform:
            self.check_backbone(backbone, "config")
        return QuestionAnswerer(backbone, self.dropout, self.transform, self.max_length)

    def completed(self, recipe, examples) -> Recipe:
        """With a threshold, where examples have no answer and it names none."""
        if self.threshold is not None or all(one["answers"] for one in examples):
            return recipe
        return override(recipe, {"task_options.threshold": 0.0})

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batch_options(self, model, options, length: int | None = None) -> dict:
        found = super().batch_options(model, options, length)
        limit = getattr(model, "max_length", None) or found["length"]
        return {**found, "length": min(found["length"], limit)}

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import span_batches

        return span_batches(raw, tokenizer, stride=self.stride, **options)

    def of_device(self, outputs, x) -> np.ndarray:
        """The logits of the start and of the end."""
        return np.stack([outputs[name] for name in OUTPUTS], axis=1)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats, over the tokens of a window), `exact_match` and `f1`, and both
        of the sentence with most of the question's words (`baseline_…`)."""
        logits, places = _logits(model, batches)
        answers = []
        rows = zip(batches.owners, batches.windows, logits, strict=True)
        for number, own in groupby(rows, key=lambda row: row[0]):
            read = [(window, *both) for _, window, both in own]
            found = best_answers(
                batches.contexts[number],
                read,
                max_answer=self.max_answer,
                threshold=self.threshold,
            )
            answers.append(found[0].text if found else None)
        examples = batches.examples
        simple = [nearest_sentence(one["question"], one["context"]) for one in examples]
        padding = np.arange(logits.shape[-1]) >= [[len(one.token_ids)] for one in batches.windows]
        logits = np.where(padding[:, None], HIDDEN, logits)
        nats = negative_log_likelihood(logits.reshape(-1, logits.shape[-1]), places.reshape(-1))
        return {
            "loss": float(nats.mean()),
            **span_scores(examples, answers),
            **span_scores(examples, simple, "baseline_"),
            "examples": len(examples),
        }


def _logits(model, batches) -> tuple[np.ndarray, np.ndarray]:
    """Each row's logits (rows, 2, T) and its right places (rows, 2)."""
    found, right = [], []
    for x, y, weight in batches.evaluation():
        real = np.asarray(weight)[:, 0] > 0
        found.append(np.asarray(model.predict_on_batch(x), np.float32)[real])
        right.append(np.asarray(y)[real])
    return np.concatenate(found), np.concatenate(right)
