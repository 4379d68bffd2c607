"""One vector for a text: search, clustering, near-duplicates."""

from __future__ import annotations

from typing import Literal

import keras
from keras import ops

from modelzoo.data.batches import Batches
from modelzoo.errors import ModelzooError, RecipeError
from modelzoo.layers.contrastive_loss import in_batch_nll
from modelzoo.layers.masks import HIDDEN
from modelzoo.signature import Tensor
from modelzoo.tasks.base import Task, TaskModel
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.encoder_signatures import POOLINGS, embedding, unit
from modelzoo.tasks.shared.retrieval import retrieval_scores
from modelzoo.tasks.shared.scores import predictions
from modelzoo.tasks.shared.text_abilities import Answers


@keras.saving.register_keras_serializable("modelzoo")
class TextEmbedder(Answers, TaskModel):
    """A text backbone whose tokens are pooled to one vector (Reimers & Gurevych 2019).

    Call: the backbone's inputs, each (B, T) -> (B, width) float32. In training the texts come in
    pairs: inputs (B, 2, T) -> (B, 2, width).

    Attributes:
        max_length: tokens of a text, at most; `None` for any number.
    """

    def __init__(
        self,
        backbone,
        pooling: str = "mean",
        normalize: bool = True,
        max_length: int | None = None,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        if pooling not in POOLINGS:
            raise RecipeError(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")
        self.pooling, self.normalize = pooling, normalize
        limits = [limit for limit in (max_length, backbone.max_length) if limit is not None]
        self.max_length = min(limits, default=None)
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler.trainable = False  # no embedding passes through it
        self.built = True

    def get_config(self) -> dict:
        names = ("pooling", "normalize", "max_length")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def call(self, inputs, training=None) -> Tensor:
        inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
        texts = inputs["token_ids"].shape[1:-1]  # () or (2,)
        if texts:
            length = ops.shape(inputs["token_ids"])[-1]
            inputs = {key: ops.reshape(x, (-1, length)) for key, x in inputs.items()}
        outputs = self.backbone(inputs, training=training)
        vectors = embedding(outputs, inputs.get("padding_mask"), self.pooling, self.normalize)
        return ops.reshape(vectors, (-1, *texts, vectors.shape[-1])) if texts else vectors

    def device_functions(self) -> dict:
        """`embed`: `embedding` (B, width), pooled and normalised in the graph."""

        def embed(inputs):
            return {"embedding": self(inputs, training=False)}

        return {"embed": embed}


@keras.saving.register_keras_serializable("modelzoo")
class InBatchLoss(keras.losses.Loss):
    """Which text of the batch belongs to each first text? (Henderson et al. 2017, 4.4.)

    Cross-entropy over the cosines times `scale`. Call: `y_true` (B,) says which second texts are
    the same text, and so no wrong answers for each other; `y_pred` is (B, 2, width).
    """

    def __init__(self, scale: float = 20.0, name: str = "in_batch_loss", **kwargs):
        super().__init__(name=name, **{"reduction": "mean_with_sample_weight", **kwargs})
        self.scale = scale

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}

    def call(self, y_true, y_pred) -> Tensor:
        first, second, twins = _in_batch(y_true, y_pred)
        return in_batch_nll(first, second, second, twins, self.scale)


def _in_batch(y_true, y_pred):
    """First and second vectors (B, width), and twins (B, B): 1 for other rows of the same text."""
    vectors = unit(ops.cast(y_pred, "float32"))
    first, second = vectors[:, 0], vectors[:, 1]
    y = ops.reshape(y_true, (-1,))
    same = ops.equal(ops.expand_dims(y, 1), ops.expand_dims(y, 0))
    rows = ops.arange(ops.shape(y)[0])
    other = ops.not_equal(ops.expand_dims(rows, 1), ops.expand_dims(rows, 0))
    return first, second, ops.cast(ops.logical_and(same, other), "float32")


def in_batch_accuracy(y_true, y_pred) -> Tensor:
    """(B,): 1 where no wrong text of the batch is as near as the right one."""
    first, second, twins = _in_batch(y_true, y_pred)
    own = ops.sum(first * second, axis=-1)
    cosines = ops.matmul(first, ops.transpose(second)) + HIDDEN * twins
    rivals = ops.cast(ops.greater_equal(cosines, ops.expand_dims(own, 1) - 1e-6), "float32")
    return ops.cast(ops.less(ops.sum(rivals, axis=-1), 1.5), "float32")  # its own is one of them


class TextEmbeddingTask(Task):
    """Raw data: pairs (`text_a`, `text_b`), a question and its answer, a text and its twin.

    Args:
        pooling: what of the tokens' vectors becomes the text's: their mean, the first, the largest
            of each number, or the last.
        normalize: vectors of length 1.
        max_length: tokens of a text, at most. Default: as many as the backbone has positions.
        scale: what the cosines are multiplied by in the loss.
    """

    name = "text-embedding"
    fields = (("text_a", "text_b"),)
    does = "turns a text into a vector"
    pipeline_tag = "sentence-similarity"
    compares_rows = True
    fine_tuning = {"learning_rate": 2e-5, "batch_size": 32, "length": 128, "epochs": 1.0}
    special_tokens = ENCODER_TOKENS
    frame = "pair"
    example = 'print(model.embed("In the beginning"))'
    abilities = ("embed",)

    def __init__(
        self,
        *,
        pooling: Literal["mean", "cls", "max", "last"] = "mean",
        normalize: bool = True,
        max_length: int | None = None,
        scale: float = 20.0,
    ):
        if max_length is not None and max_length < 3:
            raise RecipeError(f"task_options.max_length must be 3 or more, not {max_length}")
        if not scale > 0:
            raise RecipeError(f"task_options.scale must be above 0, not {scale}")
        self.pooling, self.normalize = pooling, normalize
        self.max_length, self.scale = max_length, scale

    def model(self, backbone) -> TextEmbedder:
        if hasattr(backbone, "encode"):
            raise ModelzooError(
                f"the task {self.name} needs a backbone that reads one text, "
                f"and {type(backbone).__name__} reads a source and a target",
                next_step="take an encoder such as minilm-l6, or a decoder",
            )
        return TextEmbedder(backbone, self.pooling, self.normalize, self.max_length)

    def losses(self) -> tuple:
        accuracy = keras.metrics.MeanMetricWrapper(in_batch_accuracy, name="accuracy")
        return InBatchLoss(self.scale), [accuracy]

    def batches(self, raw, tokenizer, **options) -> Batches:
        from modelzoo.data import pair_batches

        return pair_batches(raw, tokenizer, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats), `recall@1`, `recall@5` of finding text_b among all of the set's."""
        vectors, texts = predictions(model, batches)
        scores = retrieval_scores(vectors[:, 0], vectors[:, 1], texts, self.scale)
        return {**scores, "pairs": len(texts)}

    @classmethod
    def options_of_extras(cls, extras) -> dict | None:
        """Those of a sentence-transformers directory."""
        from modelzoo.weights.sentence_transformers import embedding_options

        return embedding_options(extras)

    @classmethod
    def extras_of(cls, model, config) -> dict[str, object]:
        from modelzoo.weights.sentence_transformers import sentence_transformers_files

        options, width = model.recipe.table("task_options"), model.backbone.config.hidden_dim
        return sentence_transformers_files(options, model.max_length, width)
