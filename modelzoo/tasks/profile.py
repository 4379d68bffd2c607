"""What a task is to people, tokenizers, devices and checkpoints.

Every room asks through `said`, so that no room but the task's own knows its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelzoo import registry
from modelzoo.tasks.shared.checkpoints import config_of_labels

__all__ = ["ENCODER_TOKENS", "Profile", "said"]

# What a tokenizer for encoders knows besides words, in the order of the ids.
ENCODER_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Profile:
    """What `modelzoo.tasks.base.Task` says by default, and so does a task that is not a subclass.

    Attributes:
        does: what a model of it does, in the third person: "writes down what is said".
        pipeline_tag: what the Hugging Face hub calls it, in a checkpoint's card; "" for nothing.
        reads_text: whether it needs a tokenizer.
        reads_weights: whether a column `weight` says what an example counts in training.
        named_data: whether raw data is a table, name -> raw data, as a mixture's is. Then
            `training_data(raw)` gives that of a training, or says what is missing.
        fine_tuning: `[train]` of a model that is changed to this task, as a literal: what differs
            from `recipe.train_options.FINE_TUNING`.
        trims: whether `batches(..., trim=True)` cuts padding that no example needs.
        compares_rows: whether its loss compares the rows of a batch with each other, so that
            `accumulate` is not the same as a larger batch.
        reads_unlabelled: whether `batches(..., unlabelled=True)` takes examples without a label.
        label_problem: what its labels are, where the options do not say; see
            `data.read_examples`.
        special_tokens: control tokens of a tokenizer that is trained for it, in the order of ids.
        frame: what stands around the texts that it reads, where the tokenizer does not say: "pair"
            ([CLS] a [SEP] b [SEP]), "source" ([bos] text eos), or "" for nothing.
        example: a line of Python for a bundle's README, which uses `model` and may use `np`; or a
            static method that gives one for the abilities of a bundle. It is left out where the
            bundle lacks the ability that it calls.
        abilities: the methods of `runtime.Model` that its bundles offer, as far as their
            signatures allow; `None` for all that these allow.
    """

    does = ""
    pipeline_tag = ""
    reads_text = True
    reads_unlabelled = False
    named_data = False
    label_problem: str | None = None
    reads_weights = False
    fine_tuning: Mapping[str, object] = {}
    trims = False
    compares_rows = False
    special_tokens: tuple[str, ...] = ("<pad>", "</s>", "<unk>", "<mask>")
    frame: str = ""
    example: str | Callable[[tuple[str, ...]], str] = ""
    abilities: tuple[str, ...] | None = None

    # === Checkpoints in Hugging Face's layout; what a table's head says holds in any case ===

    @classmethod
    def claims(cls, config: Mapping) -> bool:
        """Whether a checkpoint with a class of this task's is of this task, and not of another
        with the same class."""
        return True

    @classmethod
    def options_of_config(cls, config: Mapping, names: frozenset[str]) -> dict:
        """`[task_options]` of a checkpoint with a head for this task.

        Args:
            config: its `config.json`, under its `generation_config.json`.
            names: of its tensors.
        """
        return {}

    @classmethod
    def options_of_extras(cls, extras: Mapping[str, object]) -> dict | None:
        """`[task_options]`, where small files beside `config.json` say that it is of this task.

        Args:
            extras: parsed JSON files by their path, as in `weights.checkpoint.Checkpoint`.

        Returns: `None` where they say nothing of it: the class in `config.json` decides then.
        """
        return None

    @classmethod
    def config_of(cls, model, classes: tuple[str, ...]) -> dict:
        """What `config.json` says of a model besides its sizes, class and token ids.

        Args:
            classes: those of the table's head; `{"architectures": [...]}` takes another than the
                first.

        Returns: its labels, where the task's options have any.
        """
        return config_of_labels(model.recipe.table("task_options"))

    @classmethod
    def extras_of(cls, model, config: Mapping) -> dict[str, object]:
        """The other small JSON files of a model's checkpoint, by name."""
        return {}


def said(task: str | object, attribute: str) -> Any:
    """What a task says under one of the attributes of `Profile`, or the default there.

    Args:
        task: a name, a class, or an object; it need not subclass `Task`.

    Raises: as `registry.task`.

    Example:
        >>> said("causal-lm", "special_tokens")
        ('<|endoftext|>',)
    """
    found = registry.task(task) if isinstance(task, str) else task
    return getattr(found, attribute, getattr(Profile, attribute))
