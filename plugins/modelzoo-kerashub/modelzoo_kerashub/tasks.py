"""KerasHub's tasks as tasks of this zoo: its heads, its losses, `fit()` on prepared arrays.

Text encoders also take the zoo's own tasks (`text-classification`, `text-embedding`), which read
raw text themselves.
"""

from __future__ import annotations

import keras
from modelzoo.errors import DataError, ModelzooError

from modelzoo_kerashub.backbone import HubBackbone
from modelzoo_kerashub.construct import hub, load_preset
from modelzoo_kerashub.model import HubModel

__all__ = [
    "CausalLMTask",
    "FeaturesTask",
    "ImageClassifierTask",
    "ImageSegmenterTask",
    "MaskedLMTask",
    "Seq2SeqLMTask",
    "TextClassifierTask",
]


class HubTask:
    """What the tasks share. `kind` is KerasHub's base class; a preset brings its own head along."""

    name = "kerashub"
    kind = ""
    best = "loss"

    def options(self) -> dict:
        """What KerasHub's constructor is given beside the backbone."""
        return {}

    def model(self, backbone) -> HubModel:
        """The KerasHub task over a `HubBackbone`.

        Raises:
            ModelzooError: another backbone, or one that KerasHub has no such task for.
        """
        _check(backbone, self.name)
        if backbone.preset is not None:
            # The preset's own class, with its preprocessor, and its head where it has one.
            head = load_preset(self.kind, backbone.preset, **self.options())
            return HubModel(HubBackbone(head.backbone, backbone.preset), head)
        kind = _task_class(self.kind, type(backbone.hub))
        return HubModel(backbone, kind(backbone=backbone.hub, preprocessor=None, **self.options()))

    def losses(self) -> tuple:
        """Cross-entropy over logits, and accuracy."""
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return loss, [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def examples(self, raw) -> list:
        raise DataError(
            f"the task {self.name} does not read raw data: KerasHub prepares it",
            next_step="model.fit(model.preprocessor(x), y) with a preset's model, or fit() with a "
            "dict of arrays; for raw text take a task of the zoo: --task text-classification",
        )

    def batches(self, raw, tokenizer, **options):
        return self.examples(raw)

    def completed(self, recipe, examples):
        return recipe

    def evaluate(self, model, batches) -> dict[str, float]:
        """`model.evaluate` of an iterable of (x, y)."""
        return {
            key: float(value) for key, value in model.evaluate(batches, return_dict=True).items()
        }


class FeaturesTask(HubTask):
    """The backbone as it is: features out, and the mean squared error to given ones in `fit()`."""

    name = "kerashub/features"

    def __init__(self):
        pass

    def model(self, backbone) -> HubModel:
        _check(backbone, self.name)
        return HubModel(backbone)

    def losses(self) -> tuple:
        return keras.losses.MeanSquaredError(), []


class _Classifier(HubTask):
    """Args: num_classes: of the labels; `None` takes a preset's own head."""

    def __init__(self, *, num_classes: int | None = None):
        self.num_classes = num_classes

    def options(self) -> dict:
        return {} if self.num_classes is None else {"num_classes": self.num_classes}

    def model(self, backbone) -> HubModel:
        if self.num_classes is None and getattr(backbone, "preset", None) is None:
            self.num_classes = 2
        return super().model(backbone)


class TextClassifierTask(_Classifier):
    """`keras_hub.models.TextClassifier`: y are class numbers (B,)."""

    name, kind = "kerashub/text-classifier", "TextClassifier"


class ImageClassifierTask(_Classifier):
    """`keras_hub.models.ImageClassifier`: y are class numbers (B,)."""

    name, kind = "kerashub/image-classifier", "ImageClassifier"


class ImageSegmenterTask(_Classifier):
    """`keras_hub.models.ImageSegmenter`: y are class numbers (B, height, width)."""

    name, kind = "kerashub/image-segmenter", "ImageSegmenter"


class _NoOptions(HubTask):
    def __init__(self):
        pass


class MaskedLMTask(_NoOptions):
    """`keras_hub.models.MaskedLM`: y are the ids at `mask_positions`."""

    name, kind = "kerashub/masked-lm", "MaskedLM"


class CausalLMTask(_NoOptions):
    """`keras_hub.models.CausalLM`, one full pass: y are the next ids. No cache on a device.

    Families of the zoo's core keep one: the architecture `kerashub/decoder`, task `causal-lm`.
    """

    name, kind = "kerashub/causal-lm", "CausalLM"


class Seq2SeqLMTask(_NoOptions):
    """`keras_hub.models.Seq2SeqLM`, one full pass: y are the next ids of the target."""

    name, kind = "kerashub/seq2seq-lm", "Seq2SeqLM"


def _check(backbone, name: str) -> None:
    if not isinstance(backbone, HubBackbone):
        raise ModelzooError(
            f"the task {name} needs a backbone of KerasHub, not a {type(backbone).__name__}",
            next_step="take an architecture kerashub/...",
        )


def _task_class(kind: str, backbone: type) -> type:
    base = getattr(hub().models, kind)
    named = vars(hub().models)
    found = [
        named[name]
        for name in sorted(named)
        if isinstance(named[name], type)
        and issubclass(named[name], base)
        and named[name].backbone_cls is backbone
    ]
    # Of several, the one that is called after the backbone: Gemma4CausalLM, not its assistant.
    plain = backbone.__name__.removesuffix("Backbone") + kind
    found.sort(key=lambda one: one.__name__ != plain)
    if not found:
        raise ModelzooError(
            f"KerasHub has no {kind} over {backbone.__name__}",
            next_step="take --task kerashub/features, or another backbone",
        )
    return found[0]
