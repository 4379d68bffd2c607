"""Several things at once: text to text and pictures to text, in batches of one part each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.data.augment import augmenter
from modelzoo.data.batches import Batches
from modelzoo.data.mixture import mixture_batches
from modelzoo.data.mixture_examples import read_mixture
from modelzoo.data.objectives import SENTINEL
from modelzoo.errors import DataError
from modelzoo.recipe.mixture import parts_of, with_own_data
from modelzoo.tasks.base import TaskModel
from modelzoo.tasks.captioning import text_scores
from modelzoo.tasks.multimodal_lm import MultimodalLM
from modelzoo.tasks.seq2seq_lm import Seq2SeqLMTask


class MixtureTask(Seq2SeqLMTask):
    """Learn several things side by side. Raw data: `{name of a part: its raw data}`.

    Args:
        mixture: the recipe's `[mixture]`, name -> the values of a `recipe.mixture.Part`.
        augment: how training alters pictures; see `data.augment.augmenter`.
        generation: how a checkpoint generates; see `runtime.generation.defaults`.
    """

    name = "mixture"
    fields = ()  # those of each part; see `recipe.mixture.FIELDS`
    named_data = True
    media = ("image", "video")
    does = "writes a text for a text, an image or a video"
    abilities = ("generate", "score", "caption")
    special_tokens = ("<pad>", "</s>", "<unk>", *map(SENTINEL.format, range(32)))

    def __init__(
        self,
        *,
        mixture: dict | None = None,
        augment: dict | None = None,
        generation: dict | None = None,
    ):
        super().__init__(generation=generation)
        self.parts = parts_of(mixture)
        augmenter("image", augment, workers=1)  # rejected now, and not with the first batch
        self.augment = augment

    def model(self, backbone) -> TaskModel:
        """A `MultimodalLM` where the backbone reads frames, else a `Seq2SeqLM`."""
        if not hasattr(backbone, "num_frames"):
            return super().model(backbone)
        prompts = [one.prompt for one in self.parts.values() if one.objective == "captioning"]
        return MultimodalLM(backbone, *prompts[:1])

    def training_data(self, raw: Mapping[str, Any] | None) -> dict[str, Any]:
        """Raw data for each part: what is given, else what the recipe names.

        Raises:
            DataError: a part has no data; data for a part that is not there.
        """
        return with_own_data(self.parts, raw)

    def examples(self, raw, columns=None) -> list[dict]:
        """The examples of the parts that `raw` names, each with its `part`."""
        if columns:
            raise DataError(
                "a mixture takes the columns of each part from its recipe",
                next_step=f"--set mixture.{next(iter(self.parts))}.columns="
                + "'{text = \"caption\"}'",
            )
        return read_mixture(raw, self.parts)

    def batches(self, raw, tokenizer, **options) -> Batches:
        return mixture_batches(raw, tokenizer, self.parts, augment=self.augment, **options)

    def evaluate(self, model, batches) -> dict[str, float]:
        """`loss`, that of the parts by their weights, and `NAME/loss` (nats a target token),
        `NAME/accuracy` of tokens and `NAME/exact_match` of texts."""
        scores = {
            name: text_scores(model, part.evaluation()) for name, part in batches.parts.items()
        }
        losses = [one["loss"] for one in scores.values()]
        return {
            "loss": float(batches.weights @ losses),
            **{
                f"{name}/{key}": one[key]
                for name, one in scores.items()
                for key in ("loss", "accuracy", "exact_match")
            },
        }
