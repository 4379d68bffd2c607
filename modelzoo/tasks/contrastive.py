"""Which image, text and sound belong together: training, retrieval, zero-shot classification."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from modelzoo.backbones.contrastive import INPUTS
from modelzoo.data.batches import Batches
from modelzoo.errors import RecipeError, nearest
from modelzoo.layers.contrastive_loss import contrastive_loss
from modelzoo.signature import Signature, Tensor
from modelzoo.tasks.base import Task, TaskModel
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.cached_gradients import chunked_gradients
from modelzoo.tasks.shared.encoder_signatures import encoder_signatures
from modelzoo.tasks.shared.media_abilities import SharedSpaceAnswers, input_specs
from modelzoo.tasks.shared.retrieval import pair_figures


@keras.saving.register_keras_serializable("modelzoo")
class ContrastiveModel(SharedSpaceAnswers, TaskModel):
    """A `Contrastive` backbone with its loss.

    Args:
        pairs: of kinds that are compared in training.
        loss, ignore_equal: see `layers.contrastive_loss`.
        chunk_size: rows that are embedded at once in training, whatever the batch; None for all.
        max_length: tokens of a text, at most.

    Call: the inputs of some or all towers -> kind -> (B, E) float32 of length 1.
    """

    def __init__(
        self,
        backbone,
        pairs: Sequence[Sequence[str]] | None = None,
        loss: str = "softmax",
        ignore_equal: bool = True,
        chunk_size: int | None = None,
        max_length: int | None = None,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        self.pairs = [tuple(pair) for pair in pairs or combinations(backbone.kinds, 2)]
        self.loss_kind, self.ignore_equal, self.chunk_size = loss, ignore_equal, chunk_size
        limits = [limit for limit in (max_length, backbone.max_length) if limit is not None]
        self.max_length = min(limits, default=None)
        self._check_pairs()
        self.built = True

    def _check_pairs(self):
        kinds = self.backbone.kinds
        for kind in (kind for pair in self.pairs for kind in pair):
            if kind not in kinds:
                raise RecipeError(
                    f"task_options.pairs names {kind!r}, and the towers are {', '.join(kinds)}",
                    did_you_mean=nearest(kind, kinds),
                )
        if self.loss_kind == "sigmoid" and self.backbone.logit_bias is None:
            raise RecipeError(
                "the sigmoid loss needs a bias in the logits",
                next_step="--set model.initial_bias=-10.0, and "
                "--set model.initial_scale=2.302585092994046",
            )

    @property
    def kinds(self) -> list[str]:
        """The kinds of its towers."""
        return self.backbone.kinds

    @property
    def reads_padding(self) -> bool:
        """Whether a text's padding is read as its tokens are, so that all have one length."""
        return self.backbone.options["text"]["padding"] == "visible"

    def get_config(self) -> dict:
        own = {
            "pairs": [list(pair) for pair in self.pairs],
            "loss": self.loss_kind,
            "ignore_equal": self.ignore_equal,
            "chunk_size": self.chunk_size,
            "max_length": self.max_length,
        }
        return {**super().get_config(), **own}

    def processing(self) -> dict:
        """With what makes logits of cosines, for whoever turns them into probabilities."""
        scales = self.backbone.scales()
        number = ops.convert_to_numpy
        logits = {
            "loss": self.loss_kind,
            "scales": {
                "-".join(pair): float(number(factor))
                for pair, factor in scales.factors.items()
                if pair[0] != pair[1]
            },
        }
        if scales.bias is not None:
            logits["bias"] = float(number(scales.bias))
        if "text" in self.kinds and self.reads_padding:
            logits["reads_padding"] = True
        return {**super().processing(), "contrastive": logits}

    # === Training ===

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        outputs = self.backbone(inputs, training=training)
        return {kind: outputs[kind] for kind in self.backbone.kinds if kind in outputs}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ) -> Tensor:
        """The contrastive loss; `y` is kind -> (B,) int32, as `data.contrastive` makes it."""
        if isinstance(sample_weight, dict):  # Keras gives each array in `y` a copy of its own
            sample_weight = next(iter(sample_weight.values()))
        numbers = {kind: y[kind] for kind in y_pred}
        loss = contrastive_loss(
            y_pred,
            numbers,
            self.backbone.scales(),
            [pair for pair in self.pairs if all(kind in y_pred for kind in pair)],
            loss=self.loss_kind,
            weight=sample_weight,
            ignore_equal=self.ignore_equal,
        )
        for extra in self.losses:
            loss = loss + self._aggregate_additional_loss(extra)
        return loss

    def train_step(self, *arguments) -> Any:
        if self.chunk_size is None:
            return super().train_step(*arguments)
        return chunked_gradients(self, *arguments)

    # === On a device ===

    def embed(self, text, truncate: bool = False) -> np.ndarray:
        """As `embed_text`: what models of texts alone call it."""
        return self.embed_text(text, truncate)

    def device_functions(self) -> dict:
        """`encode_image`, `encode_text` …: `embedding` (B, E), normalised in the graph."""

        def function(kind):
            def encode(inputs):
                return {"embedding": self.backbone.embed(kind, inputs, training=False)}

            return encode

        return {f"encode_{kind}": function(kind) for kind in self.backbone.kinds}

    def export_signatures(
        self,
        max_length: int | None = None,
        lengths: tuple[int, ...] | None = None,
        batch_sizes: tuple[int, ...] = (1,),
    ) -> dict:
        """One signature a tower, its front end included; of the text tower one for each length."""
        signatures = {}
        functions = self.device_functions()
        for kind in self.backbone.kinds:
            name = f"encode_{kind}"
            if kind == "text":
                if self.reads_padding:
                    max_length, lengths = self.backbone.max_length, ()
                signatures |= encoder_signatures(
                    self.backbone,
                    {name: functions[name]},
                    max_length or self.max_length,
                    lengths,
                    batch_sizes,
                )
                continue
            for rows in sorted({1, *batch_sizes}):
                suffix = f"_x{rows}" if rows > 1 else ""
                inputs = input_specs(kind, self.processing(), rows)
                signatures[name + suffix] = Signature(functions[name], inputs)
        return signatures


class ContrastiveTask(Task):
    """Raw data: examples with two or more of `image`, `text` and `audio`.

    Args:
        loss: `"softmax"` (CLIP) or `"sigmoid"` (SigLIP, for a backbone with a bias).
        pairs: what is compared, `["image-text", "image-audio"]` to bind all to the image. Default:
            each kind with each other.
        ignore_equal: rows with the same caption, image or sound are not wrong answers for each
            other.
        chunk_size: rows that are embedded at once, so that a batch needs the memory of a chunk and
            gives the gradients of the whole (Gao et al. 2021); it divides `train.batch_size`.
        augment: `{"image": {"shift": 0.1}, "audio": {...}}`, how they are changed each time that
            they are trained on; see `data.augment`.
        max_length: tokens of a text, at most.
    """

    name = "contrastive"
    fields = (
        ("image", "text", "audio"),
        ("image", "text"),
        ("audio", "text"),
        ("image", "audio"),
    )
    media = ("image", "audio")
    compares_rows = True
    fine_tuning = {"batch_size": 64}
    does = "turns media and texts into vectors that can be compared"
    pipeline_tag = "zero-shot-image-classification"
    special_tokens = ENCODER_TOKENS
    frame = "pair"
    abilities = ("embed", "embed_image", "embed_audio", "embed_text", "zero_shot")

    @staticmethod
    def example(abilities) -> str:
        """With a medium that the model reads."""
        image, sound = 'np.zeros((64, 64, 3), "uint8")', '(np.zeros(8000, "float32"), 16000)'
        medium = image if "embed_image" in abilities else sound
        return f'print(model.zero_shot({medium}, ["a cat", "a dog"]))'

    def __init__(
        self,
        *,
        loss: Literal["softmax", "sigmoid"] = "softmax",
        pairs: list[str] | None = None,
        ignore_equal: bool = True,
        chunk_size: int | None = None,
        augment: dict | None = None,
        max_length: int | None = None,
    ):
        if chunk_size is not None and chunk_size < 1:
            raise RecipeError(f"task_options.chunk_size must be 1 or more, not {chunk_size}")
        self.loss, self.ignore_equal, self.chunk_size = loss, ignore_equal, chunk_size
        self.pairs = None if pairs is None else [_pair(pair) for pair in pairs]
        self.augment, self.max_length = augment, max_length
        self.reads_text = self.pairs is None or any("text" in pair for pair in self.pairs)

    def model(self, backbone) -> ContrastiveModel:
        self.check_backbone(backbone, "scales")
        return ContrastiveModel(
            backbone, self.pairs, self.loss, self.ignore_equal, self.chunk_size, self.max_length
        )

    def losses(self) -> tuple:
        return None, []  # the model's own: it has weights, the scale and the bias

    def examples(self, raw, columns=None) -> list[dict]:
        from modelzoo.data.media import read_media_examples

        return read_media_examples(raw, self.fields, columns)

    def batch_options(self, model, options, length: int | None = None) -> dict:
        found = super().batch_options(model, options, length)
        if self.reads_text and model.max_length is not None:
            found["length"] = min(found["length"], model.max_length)
            if model.reads_padding:
                found["length"] = model.backbone.max_length
        return {**found, "kinds": tuple(model.kinds)}

    def batches(self, raw, tokenizer, *, batch_size, shuffle: bool = True, **options) -> Batches:
        from modelzoo.data.contrastive import contrastive_batches

        if shuffle and self.chunk_size is not None and batch_size % self.chunk_size:
            raise RecipeError(
                f"train.batch_size {batch_size} is not a multiple of "
                f"task_options.chunk_size {self.chunk_size}"
            )
        return contrastive_batches(
            raw,
            tokenizer,
            batch_size=batch_size,
            shuffle=shuffle,
            augment=self.augment if shuffle else None,
            **options,
        )

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss` (nats) over the whole set, and recall at 1, 5 and 10 both ways, of each pair."""
        vectors, numbers = embed_all(model, batches)
        logits = model.processing()["contrastive"]
        factors = {tuple(pair.split("-")): factor for pair, factor in logits["scales"].items()}
        pairs = self.pairs or list(combinations(model.kinds, 2))
        figures: dict[str, float] = {"loss": 0.0}
        for pair in pairs:
            loss, found = pair_figures(
                pair, vectors, numbers, factors, logits.get("bias", 0.0), logits["loss"]
            )
            figures["loss"] += loss / len(pairs)
            figures |= found
        return {**figures, "examples": len(next(iter(numbers.values())))}


def embed_all(model, batches) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Every row of `batches` once, embedded: kind -> (N, E), and kind -> (N,) its number or -1."""
    vectors: dict[str, list] = {}
    numbers: dict[str, list] = {}
    for x, y, weight in batches.evaluation():
        real = np.asarray(weight) > 0
        for kind, found in model.predict_on_batch(x).items():
            vectors.setdefault(kind, []).append(np.asarray(found)[real])
            numbers.setdefault(kind, []).append(np.asarray(y[kind])[real])
    return (
        {kind: np.concatenate(parts) for kind, parts in vectors.items()},
        {kind: np.concatenate(parts) for kind, parts in numbers.items()},
    )


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition("-")
    for kind in (first, second):
        if kind not in INPUTS:
            raise RecipeError(
                f'task_options.pairs holds {text!r}; a pair is written "image-text"',
                did_you_mean=nearest(kind, INPUTS),
            )
    if first == second:
        raise RecipeError(f"task_options.pairs compares {first} with itself: {text!r}")
    return first, second
