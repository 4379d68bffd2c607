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

from modelzoo.building.memory import machine_bytes
from modelzoo.data.batches import Batches
from modelzoo.errors import RecipeError
from modelzoo.layers.stack import TransformerStack
from modelzoo.recipe.train_options import TrainOptions
from modelzoo.registry.of_recipe import task_of
from modelzoo.tasks.profile import said

__all__ = ["Plan", "fitted"]

# Values that a step of training holds for each token: of a block, this number of vectors of each
# width and of rows of attention scores, without and with dropout on them; and of rows of logits.
# And what it holds for each weight: its gradient, the optimizer's two numbers, some in passing.
# Fitted to measured peaks of BERT tiny, MiniLM-L6 and GPT tiny at ten sizes, within 7 % of each.
HIDDEN, FFN, SCORES, LOGITS, WEIGHTS = 13, 8, (1.9, 4.2), 3.7, 4.7


@dataclass(frozen=True)
class Plan:
    """A training before it begins.

    Attributes:
        rows, held_out: rows to train on and to validate on.
        updates: of the weights.
        needed: bytes of memory, or `None` for models of which it is not estimated.
    """

    model: keras.Model
    options: TrainOptions
    batches: Batches
    held_out: int
    updates: int
    needed: float | None

    def __str__(self) -> str:
        """Two lines for people."""
        recipe, options = self.model.recipe, self.options
        shape = [f"{self.batches.batch_size:,}"]
        shape += [f"{options.accumulate:,}"] if options.accumulate > 1 else []
        length = _lengths(self.batches)
        size = " x ".join([*reversed(shape), *([f"{length} tokens"] if length else [])])
        warmup = options.warmup_for(self.updates)
        rate = f"learning rate {options.learning_rate:g}"
        rate += f", {options.schedule}" if options.schedule != "constant" or warmup else ""
        rate += f" after {warmup:,} of warm-up" if warmup else ""
        trained = sum(math.prod(one.shape) for one in self.model.trainable_variables)
        count = self.model.count_params()
        lines = [
            f"{recipe.name} as {recipe.task}: {self.batches.num_rows:,} rows to train on, "
            f"{self.held_out:,} to validate on; {self.updates:,} steps of {size}",
            rate
            + (f"; {trained:,} of {count:,} parameters are trained" if options.frozen else "")
            + ("; rows have weights" if self.batches.row_weights is not None else "")
            + (f"; about {self.needed / 1e9:.1f} GB of memory" if self.needed else ""),
        ]
        return "\n".join(lines)

    def check_memory(self) -> None:
        """
        Raises:
            RecipeError: this machine has not enough, with the batch that fits.
        """
        most = machine_bytes()
        if self.needed is None or self.needed <= most:
            return
        rows, accumulate = self.batches.batch_size, self.options.accumulate
        fixed, each = _bytes(self.model, self.batches)
        room = int((most - fixed) // each)
        if room < 1:
            step = f"--set train.length={max(_lengths(self.batches) // 2, 1)}, or a smaller model"
        else:
            parts = math.ceil(rows / room)
            step = f"--batch-size {math.ceil(rows / parts)}"
            step += (
                ", which is another training: its loss compares the rows of a batch"
                if said(self.model.recipe.task, "compares_rows")
                else f" --set train.accumulate={accumulate * parts}, which trains the same"
            )
        raise RecipeError(
            f"a batch of {rows:,} x {_lengths(self.batches)} tokens needs about "
            f"{self.needed / 1e9:,.1f} GB of memory, and this machine has {most / 1e9:,.1f}",
            where="train.batch_size",
            next_step=step,
        )


def plan(model, options: TrainOptions, batches: Batches, held_out: int, updates: int) -> Plan:
    """The plan of a model that is compiled.

    Raises:
        RecipeError: the rise of the learning rate is longer than the training.
    """
    options.warmup_for(updates)
    needed = _bytes(model, batches)
    total = None if needed is None else needed[0] + needed[1] * batches.batch_size
    return Plan(model, options, batches, held_out, updates, total)


def fitted(batches: Batches) -> str | None:
    """Cut the batch to the number of rows, if it is larger; returns what to say of it."""
    asked, batches.batch_size = batches.batch_size, min(batches.batch_size, batches.num_rows)
    if batches.batch_size == asked:
        return None
    return f"the batch of {asked:,} is cut to {batches.num_rows:,}, for there are no more rows"


# === Memory ===


def _lengths(batches: Batches) -> int | None:
    """Tokens of a row; `None` where the rows are no text."""
    ids = _ids(batches)
    return None if ids is None else ids.shape[-1]


def _ids(batches: Batches) -> np.ndarray | None:
    x = batches.batch(0)[0]
    return x.get("token_ids") if isinstance(x, dict) else x


def _bytes(model, batches: Batches) -> tuple[float, float] | None:
    """Bytes whatever the batch, and of each row, of a transformer that reads text on a CPU."""
    stacks = list(_stacks(model))
    on_cpu = all(name.startswith("cpu") for name in keras.distribution.list_devices())
    if task_of(model.recipe).media or not stacks or not on_cpu:
        return None
    x, y, _ = batches.batch(0)
    ids = x["token_ids"] if isinstance(x, dict) else x
    length, tokens = ids.shape[-1], ids[0].size
    values = 0.0
    for stack in stacks:
        config = stack.config
        block = HIDDEN * config.hidden_dim + FFN * config.ffn_dim
        block += SCORES[config.attention_dropout > 0] * config.num_heads * length
        values += (len(stack.blocks) + 1) * block * tokens  # the embeddings are like a block
    answers = y.values() if isinstance(y, dict) else [y]
    vocabulary = getattr(model.backbone, "vocab_size", None) or 0
    values += sum(LOGITS * vocabulary * one[0].size for one in answers if np.ndim(one) > 1)
    width = 2 if "16" in model.compute_dtype else 4
    trained = sum(math.prod(one.shape) for one in model.trainable_variables)
    return _resident() + WEIGHTS * 4 * trained, values * width  # the weights are there already


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
