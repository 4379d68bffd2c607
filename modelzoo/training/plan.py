"""What a training is going to do and to need, told before its first step."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from modelzoo.building.memory import free_bytes, machine_bytes
from modelzoo.data.batches import Batch, Batches
from modelzoo.errors import RecipeError
from modelzoo.layers.stack import TransformerStack
from modelzoo.recipe.train_options import TrainOptions
from modelzoo.registry.of_recipe import task_of
from modelzoo.tasks.profile import said

__all__ = ["Plan", "fit_batch", "plan"]

# Values that a step of training holds for each token: of a block, this number of vectors of each
# width and of rows of attention scores, without and with dropout on them; and of rows of logits.
# And what it holds for each weight: its gradient, the optimizer's two numbers, some in passing.
# Fitted to measured peaks of BERT tiny, MiniLM-L6 and GPT tiny at ten sizes, within 7 % of each.
HIDDEN, FFN, SCORES, LOGITS, WEIGHTS = 13, 8, (1.9, 4.2), 3.7, 4.7


@dataclass(frozen=True)
class Plan:
    """A training before it begins; as text, two lines for people.

    Attributes:
        model: compiled.
        batches: those of the updates.
        held_out: rows to validate on.
        updates: of the weights.
        length: tokens of a row, or `None` where rows are no text.
        fixed, each: bytes of memory that it needs whatever the batch, and for each of its rows;
            `None` where it is not estimated.
    """

    model: keras.Model
    options: TrainOptions
    batches: Batches
    held_out: int
    updates: int
    length: int | None
    fixed: float | None
    each: float | None

    @property
    def rows(self) -> int:
        """Rows of a step, of which `train.accumulate` make the batch of an update."""
        return self.batches.batch_size // self.options.accumulate

    @property
    def needed(self) -> float | None:
        """Bytes of memory, or `None`."""
        return None if self.fixed is None else self.fixed + self.each * self.rows

    def __str__(self) -> str:
        recipe, options, batches = self.model.recipe, self.options, self.batches
        size = [f"{options.accumulate:,}"] if options.accumulate > 1 else []
        size += [f"{self.rows:,}", *([f"{self.length} tokens"] if self.length else [])]
        warmup = options.warmup_for(self.updates)
        how = f"learning rate {options.learning_rate:g}"
        how += f", {options.schedule}" if options.schedule != "constant" or warmup else ""
        how += f" after {warmup:,} of warm-up" if warmup else ""
        if options.frozen:
            trained = sum(math.prod(one.shape) for one in self.model.trainable_variables)
            how += f"; {trained:,} of {self.model.count_params():,} parameters are trained"
        how += "; rows have weights" if batches.row_weights is not None else ""
        if self.needed is not None:
            more, free = self.needed - _resident(), free_bytes()
            how += f"; about {self.needed / 1e9:.1f} GB of memory"
            how += f", and only {free / 1e9:.1f} more are free now" if more > free else ""
        rows = f"{batches.num_rows:,} rows to train on, {self.held_out:,} to validate on"
        what = f"{recipe.name} as {recipe.task}: {rows}"
        return f"{what}; steps: {self.updates:,} of {' x '.join(size)}\n{how}"

    def check_memory(self) -> None:
        """
        Raises:
            RecipeError: this machine has not enough; the next step is the batch that fits.
        """
        most = machine_bytes()
        if self.needed is None or self.needed <= most:
            return
        rows, room = self.rows, int((most - self.fixed) // self.each)
        if room < 1:
            step = f"--set train.length={max(self.length // 2, 1)}, or a smaller model"
        else:
            parts = math.ceil(rows / room)
            step = f"--batch-size {math.ceil(rows / parts)}"
            step += (
                ", which is another training: its loss compares the rows of a batch"
                if said(self.model.recipe.task, "compares_rows")
                else f" --set train.accumulate={self.options.accumulate * parts}, which trains "
                "the same"
            )
        raise RecipeError(
            f"a batch of {rows:,} x {self.length} tokens needs about {self.needed / 1e9:,.1f} GB "
            f"of memory, and this machine has {most / 1e9:,.1f}",
            where="train.batch_size",
            next_step=step,
        )


def plan(model, options: TrainOptions, batches: Batches, held_out: int, updates: int) -> Plan:
    """The plan of a training.

    Raises:
        RecipeError: the rise of the learning rate is longer than the training.
    """
    options.warmup_for(updates)
    sample = batches.batch(0)
    ids = _token_ids(sample)
    length = None if ids is None else ids.shape[-1]
    return Plan(model, options, batches, held_out, updates, length, *_bytes(model, sample))


def fit_batch(batches: Batches, accumulate: int) -> str | None:
    """Make the batch that of an update, and cut it where there are fewer rows.

    Returns: what to say of the cut.
    """
    asked = batches.batch_size
    rows = min(asked, max(batches.num_rows // accumulate, 1))
    batches.batch_size = rows * accumulate
    if rows == asked:
        return None
    return f"the batch of {asked:,} is cut to {rows:,}: rows of the data: {batches.num_rows:,}"


# === Memory ===


def _bytes(model, sample: Batch) -> tuple[float, float] | tuple[None, None]:
    """Bytes whatever the batch, and of each row, of a transformer that reads text on a CPU."""
    stacks, ids = list(_stacks(model)), _token_ids(sample)
    on_cpu = all(name.startswith("cpu") for name in keras.distribution.list_devices())
    if ids is None or task_of(model.recipe).media or not stacks or not on_cpu:
        return None, None
    values = 0.0
    for stack in stacks:
        config = stack.config
        block = HIDDEN * config.hidden_dim + FFN * config.ffn_dim
        block += SCORES[config.attention_dropout > 0] * config.num_heads * ids.shape[-1]
        values += (len(stack.blocks) + 1) * block * ids[0].size  # embeddings are like a block
    answers = sample[1].values() if isinstance(sample[1], dict) else [sample[1]]
    vocabulary = getattr(model.backbone, "vocab_size", None) or 0
    values += sum(LOGITS * vocabulary * one[0].size for one in answers if np.ndim(one) > 1)
    trained = sum(math.prod(one.shape) for one in model.trainable_variables)
    width = 2 if "16" in model.compute_dtype else 4
    return _resident() + WEIGHTS * 4 * trained, values * width  # the weights are there already


def _token_ids(sample: Batch) -> np.ndarray | None:
    x = sample[0]
    return x.get("token_ids") if isinstance(x, dict) else x


def _stacks(model) -> Iterator[TransformerStack]:
    layers = model._flatten_layers(include_self=False, recursive=True)
    return (layer for layer in layers if isinstance(layer, TransformerStack))


def _resident() -> float:
    """Bytes of memory that this process has; its peak so far where the system tells no other."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.8e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
