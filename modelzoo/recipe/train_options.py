"""How a model is trained, as data: a recipe's `[train]` table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from modelzoo.errors import RecipeError
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.schema import schema_of, validate_against

MOST_ROWS = 2**20  # of a batch

# What `[train]` says of a model that begins with trained weights, where its task says no other.
FINE_TUNING = {
    "optimizer": "adamw",
    "learning_rate": 5e-5,
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.01,
    "batch_size": 16,
    "epochs": 3.0,
}


@schema_of("train")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The values of `[train]`.

    Args:
        schedule: of the learning rate after its linear rise: a half cosine or a line down to a
            tenth, or constant.
        warmup: the share of the updates in which the rate rises; `warmup_steps` is their number.
            `fit()`, which does not know how long it will train, has no rise by share.
        clip_norm: bound on the norm of all gradients together; 0 for no bound.
        batch_size: rows of a step. Data with fewer rows makes one batch of all of them.
        accumulate: batches whose gradients make one update, as one batch of all their rows would.
            A loss that compares the rows of a batch (text-embedding, contrastive) sees the small
            batches.
        length: tokens of a row. Default: the model's `max_length`, 512 at most.
        steps: updates; if not given, `epochs` passes over the data.
        checkpoint_steps: updates between checkpoints, and between validations.
        validation_fraction: share of the documents that is held out.
        patience: stop after this number of validations without a better figure; `None` never
            stops.
        frozen: what is not trained: `["backbone"]` or other parts of the model by name, such as
            `["backbone.embedding"]`; or N for the embeddings and the first N blocks.
        class_weights: what an example of each class counts: `"balanced"`, for the inverse of the
            class' share, or a table of label -> weight, 1 for labels that it leaves out.
        columns: field -> the column of the data that holds it: `{text = "review"}`.
        on_bad_file: an image or a sound that cannot be read is an error, or its example is left
            out and reported.
        jit_compile: compile the step with XLA. Default: JAX does; TensorFlow does not, since on a
            CPU its first step then takes a minute.
    """

    optimizer: Literal["adamw", "adam", "sgd", "adafactor"] = "adamw"
    learning_rate: float = 5e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    batch_size: int = 16
    accumulate: int = 1
    length: int | None = None
    steps: int | None = None
    epochs: float = 1.0
    checkpoint_steps: int = 200
    validation_fraction: float = 0.05
    patience: int | None = None
    frozen: list[str] | int | None = None
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    columns: dict[str, str] | None = None
    seed: int = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    on_bad_file: Literal["raise", "skip"] = "raise"
    jit_compile: bool | None = None

    def __post_init__(self):
        for key in ("batch_size", "accumulate", "checkpoint_steps"):
            _at_least(key, getattr(self, key), 1)
        for key in ("steps", "length", "patience"):
            if getattr(self, key) is not None:
                _at_least(key, getattr(self, key), 1)
        for key in ("warmup_steps", "seed", "clip_norm", "weight_decay"):
            _at_least(key, getattr(self, key), 0)
        for key, most in (("batch_size", MOST_ROWS), ("seed", 2**32 - 1)):
            if getattr(self, key) > most:
                raise RecipeError(f"train.{key} must be at most {most:,}, not {getattr(self, key)}")
        for key in ("learning_rate", "epochs", "epsilon"):
            if not 0 < getattr(self, key) < math.inf:
                raise RecipeError(f"train.{key} must be above 0, not {getattr(self, key)}")
        for key in ("beta_1", "beta_2", "validation_fraction", "warmup"):
            if not 0 <= getattr(self, key) < 1:
                raise RecipeError(f"train.{key} must be in [0, 1), not {getattr(self, key)}")
        if self.warmup and self.warmup_steps:
            raise RecipeError(
                f"train.warmup is {self.warmup} and train.warmup_steps {self.warmup_steps}: they "
                "say the same thing twice",
                next_step="leave one of them out",
            )
        if isinstance(self.frozen, int):
            _at_least("frozen", self.frozen, 0)
        if isinstance(self.class_weights, dict):
            for label, weight in self.class_weights.items():
                if not 0 <= weight < math.inf:
                    raise RecipeError(
                        f"train.class_weights.{label} must be 0 or more, not {weight}"
                    )

    def warmup_for(self, updates: int) -> int:
        """Updates in which the rate rises, of a training of `updates`.

        Raises:
            RecipeError: `warmup_steps` is longer than the training.
        """
        if self.warmup_steps > updates:
            raise RecipeError(
                f"train.warmup_steps is {self.warmup_steps:,}, and the training has {updates:,} "
                "steps: the rate would never be reached",
                next_step=f"--set train.warmup_steps={updates} at most, or --set train.warmup=0.1 "
                "for a tenth of any training",
            )
        return self.warmup_steps or round(self.warmup * updates)

    def length_for(self, model, length: int | None = None, usual: object = None) -> int:
        """Tokens of a row for this model: `length`, if it is given.

        Args:
            usual: the length that the task brings; rows are shorter where a model reads less.
        """
        longest = model.backbone.max_length
        if length is None and self.length == usual and longest is not None:
            length = min(self.length or 512, longest)
        length = length or self.length or min(longest or 256, 512)
        if longest is not None and length > longest:
            raise RecipeError(
                f"rows of {length} tokens are longer than the model's max_length {longest}",
                next_step=f"--set train.length={longest}, or a larger max_length",
            )
        return length


def train_options(recipe: Recipe) -> TrainOptions:
    """The recipe's `[train]` table, checked."""
    return TrainOptions(**validate_against(recipe, TrainOptions, table="train"))


def _at_least(key: str, value: float, least: int) -> None:
    if not value >= least:  # nor is NaN
        raise RecipeError(f"train.{key} must be at least {least}, not {value}")
