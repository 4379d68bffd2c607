"""One label for an image, a sound or a video."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import pooled_width
from modelzoo.data.batches import Batches
from modelzoo.errors import ExportError, ModelzooError, RecipeError
from modelzoo.layers.dense import projection
from modelzoo.recipe import Recipe, override
from modelzoo.recipe.schema import defaults
from modelzoo.signature import Signature, Tensor
from modelzoo.tasks.base import Task, TaskModel, token_accuracy, token_loss
from modelzoo.tasks.shared.checkpoints import (
    ProblemType,
    check_labels,
    check_trainable,
    classifier_options,
)
from modelzoo.tasks.shared.encoder_signatures import unit
from modelzoo.tasks.shared.media_abilities import MediaAnswers, input_specs
from modelzoo.tasks.shared.scores import classification_scores, predictions


@keras.saving.register_keras_serializable("modelzoo")
class MediaClassifier(MediaAnswers, TaskModel):
    """Any backbone that gives `pooled`, with a linear layer over it.

    Args:
        kind: what it reads: "image", "audio" or "video".
        norm_epsilon: of a LayerNorm before the linear layer, as AST has it; `None` for none.
        projection_dim: width of another linear layer before it, as wav2vec 2.0 has it.
        distilled: the halves of `pooled` have a linear layer each, and the logits are the mean of
            the two, as in a distilled DeiT.

    Call: the backbone's inputs -> logits (B, num_labels).
    """

    def __init__(
        self,
        backbone,
        kind: str = "image",
        num_labels: int = 2,
        dropout: float = 0.0,
        norm_epsilon: float | None = None,
        projection_dim: int | None = None,
        distilled: bool = False,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        self.kind, self.num_labels = kind, num_labels
        self.dropout_rate, self.norm_epsilon = dropout, norm_epsilon
        self.projection_dim, self.distilled = projection_dim, distilled
        policy = self.dtype_policy
        self.norm = self.projector = self.distillation_classifier = None
        if norm_epsilon is not None:
            self.norm = keras.layers.LayerNormalization(
                epsilon=norm_epsilon, dtype=policy, name="norm"
            )
        if projection_dim is not None:
            self.projector = projection(projection_dim, 0.02, dtype=policy, name="projector")
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        # A name of its own where there are two, as a weight table finds the heads by it.
        name = "class_classifier" if distilled else "classifier"
        self.classifier = projection(num_labels, 0.02, dtype=policy, name=name)
        if distilled:
            self.distillation_classifier = projection(
                num_labels, 0.02, dtype=policy, name="distillation_classifier"
            )
        self.build()

    def build(self, input_shape=None) -> None:
        width = pooled_width(self.backbone)
        for layer in (self.norm, self.projector):
            if layer is not None:
                layer.build((None, width))
        width = self.projection_dim or width
        for layer in (self.classifier, self.distillation_classifier):
            if layer is not None:
                layer.build((None, width // 2 if self.distilled else width))
        self.built = True

    def get_config(self) -> dict:
        config = {
            "kind": self.kind,
            "num_labels": self.num_labels,
            "dropout": self.dropout_rate,
            "norm_epsilon": self.norm_epsilon,
            "projection_dim": self.projection_dim,
            "distilled": self.distilled,
        }
        return {**super().get_config(), **config}

    def call(self, inputs, training=None) -> Tensor:
        return self._logits(self.backbone(inputs, training=training)["pooled"], training)

    def _logits(self, vector, training):
        if self.norm is not None:
            vector = self.norm(vector)
        if self.projector is not None:
            vector = self.projector(vector)
        vector = self.dropout(vector, training=training)
        if self.distillation_classifier is None:
            return self.classifier(vector)
        first, second = ops.split(vector, 2, axis=-1)
        return (self.classifier(first) + self.distillation_classifier(second)) / 2

    def classify(
        self,
        media,
        top: int | None = None,
        truncate: bool = False,
        threshold: float | None = None,
    ) -> list:
        """Labels and their probabilities; see `runtime.Model.classify`."""
        return self._device(media).classify(media, top, truncate, threshold)

    def export_signatures(self, batch_sizes: tuple[int, ...] = (1,)) -> dict[str, Signature]:
        """`serve`: `logits` (1, num_labels); `encode_image` (or `_audio`, `_video`): `embedding`.

        Args:
            batch_sizes: media in a call, besides one alone: `serve_x8` takes eight.

        Raises:
            ExportError: a size below 1.
        """

        def serve(inputs):
            return {"logits": ops.cast(self(inputs, training=False), "float32")}

        def encode(inputs):
            pooled = self.backbone(inputs, training=False)["pooled"]
            return {"embedding": unit(ops.cast(pooled, "float32"))}

        signatures = {}
        for rows in sorted({1, *batch_sizes}):
            if rows < 1:
                raise ExportError(f"export.batch_sizes must be 1 or more, not {rows}")
            suffix = f"_x{rows}" if rows > 1 else ""
            inputs = input_specs(self.kind, self.processing(), rows)
            signatures[f"serve{suffix}"] = Signature(serve, inputs)
            signatures[f"encode_{self.kind}{suffix}"] = Signature(encode, inputs)
        return signatures


class MediaClassificationTask(Task):
    """Raw data: examples with a medium and a `label`.

    Args:
        labels: their names in the order of the logits; empty takes the data's, sorted.
        num_labels: their number, where nobody has named them yet: those of published weights.
        dropout, norm_epsilon, projection_dim, distilled: see `MediaClassifier`.
        problem_type: what answers mean; see `tasks.shared.checkpoints.ProblemType`.
        augment: how training alters what it sees; see `data.augment.augmenter`.
    """

    best = "loss"
    reads_text = False
    reads_unlabelled = reads_weights = True
    # What one label alone means in a checkpoint that does not say; see `classifier_options`.
    alone: str | None = None

    def __init__(
        self,
        *,
        labels: list[str] | None = None,
        num_labels: int | None = None,
        dropout: float = 0.0,
        norm_epsilon: float | None = None,
        projection_dim: int | None = None,
        distilled: bool = False,
        augment: dict | None = None,
        problem_type: ProblemType | None = None,
    ):
        check_labels(labels, problem_type)
        if labels and num_labels and len(labels) != num_labels:
            raise RecipeError(f"there are {len(labels)} labels, and num_labels is {num_labels}")
        if num_labels is not None and num_labels < 2:
            raise RecipeError(f"num_labels must be 2 or more, not {num_labels}")
        if projection_dim is not None and projection_dim < 1:
            raise RecipeError(f"projection_dim must be 1 or more, not {projection_dim}")
        from modelzoo.data.augment import augmenter

        augmenter(self.kind, augment, workers=1)  # rejected now, and not with the first batch
        self.labels, self.num_labels, self.dropout = labels, num_labels, dropout
        self.norm_epsilon, self.augment = norm_epsilon, augment
        self.projection_dim, self.distilled = projection_dim, distilled
        self.problem_type = problem_type

    @property
    def kind(self) -> str:
        return self.media[0]

    def model(self, backbone) -> MediaClassifier:
        count = len(self.labels) if self.labels else self.num_labels or 2
        processing = getattr(backbone, "processing", {})
        if self.kind not in processing:
            raise ModelzooError(
                f"the task {self.name} needs a backbone that reads {self.kind}, and "
                f"{type(backbone).__name__} reads {' and '.join(processing) or 'text'}",
                next_step="take another task, or another architecture",
            )
        if self.distilled and pooled_width(backbone) % 2:
            raise RecipeError(
                "distilled reads two vectors side by side, and the backbone gives "
                f"{pooled_width(backbone)} numbers",
                next_step='take a vit with pooling = "cls_distillation"',
            )
        return MediaClassifier(
            backbone,
            self.kind,
            count,
            self.dropout,
            self.norm_epsilon,
            self.projection_dim,
            self.distilled,
        )

    def examples(self, raw, columns=None) -> list[dict]:
        """Raw data as a list of examples; see `data.media.read_media_examples`."""
        from modelzoo.data.media import read_media_examples

        return read_media_examples(raw, self.fields, columns, weighed=True)

    def completed(self, recipe, examples) -> Recipe:
        """With the classes of the examples, unless it names its own."""
        from modelzoo.data.media_classification import media_label_names

        if self.labels:
            return recipe
        names = list(media_label_names(examples, self.kind))
        return override(recipe, {"task_options.labels": names, "task_options.num_labels": None})

    def losses(self) -> tuple:
        return token_loss(), [token_accuracy()]

    def batches(self, raw, tokenizer=None, **options) -> Batches:
        from modelzoo.data.media_classification import media_classification_batches

        if not options.get("unlabelled"):
            check_trainable(self.problem_type, self.labels)
        return media_classification_batches(
            raw, self.kind, labels=self.labels, augment=self.augment, **options
        )

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats), `accuracy`, `top5` (with six labels or more), `f1` (macro)."""
        return classification_scores(*predictions(model, batches), top5=True)

    @classmethod
    def options_of_config(cls, config, names) -> dict:
        """The labels and the problem, unless a subclass has fixed them."""
        return classifier_options(config, cls.alone) if "labels" in defaults(cls) else {}


class ImageClassificationTask(MediaClassificationTask):
    """See `MediaClassificationTask`."""

    name, media = "image-classification", ("image",)
    fields = (("image", "label"),)
    does = "gives an image one of its labels, and turns it into a vector"
    pipeline_tag = "image-classification"
    example = 'print(model.classify(np.zeros((64, 64, 3), "uint8"), top=1))'
    abilities = ("classify", "embed_image")


class AudioClassificationTask(MediaClassificationTask):
    """See `MediaClassificationTask`."""

    name, media = "audio-classification", ("audio",)
    alone = "single_label_classification"  # probability 1, as `transformers`' pipeline answers
    fields = (("audio", "label"),)
    does = "gives a sound one of its labels, and turns it into a vector"
    pipeline_tag = "audio-classification"
    example = 'print(model.classify((np.zeros(8000, "float32"), 16000), top=1))'
    abilities = ("classify", "embed_audio")


class VideoClassificationTask(MediaClassificationTask):
    """See `MediaClassificationTask`."""

    name, media = "video-classification", ("video",)
    fields = (("video", "label"),)
    does = "gives a video one of its labels, and turns it into a vector"
    pipeline_tag = "video-classification"
    example = 'print(model.classify(np.zeros((8, 64, 64, 3), "uint8"), top=1))'
    abilities = ("classify", "embed_video")
