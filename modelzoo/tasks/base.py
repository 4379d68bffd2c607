"""What tasks have in common.

A task is two things: a `Task`, plain values and functions (how data becomes batches, which loss,
which figures), and a `TaskModel`, the `keras.Model` with the task's head over a backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras

from modelzoo import registry
from modelzoo.errors import DataError, ModelzooError, TokenizerError
from modelzoo.tasks.shared.checkpoints import config_of_labels

# What a tokenizer for encoders knows besides words, in the order of the ids.
ENCODER_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class TaskModel(keras.Model):
    """A backbone and what a task puts on top of it.

    Attributes:
        backbone: the model without a head.
        recipe: what it was built from, or `None`.
        tokenizer: turns its text into ids and back, or `None`.
        chat_template: Jinja source that makes a conversation a text, or `None`.
    """

    def __init__(self, backbone: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.backbone = backbone
        self.recipe = None
        self.tokenizer = None
        self.chat_template = None
        self._compiled = {}

    def processing(self) -> dict:
        """How raw media become the model's inputs, as data: `{"image": {...}, "audio": {...}}`.

        Training, evaluation and a device all read it; `{}` for a model that reads text alone.
        """
        return dict(getattr(self.backbone, "processing", {}))

    def get_config(self):
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {"backbone": backbone, "name": self.name, "dtype": policy}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        backbone = keras.saving.deserialize_keras_object(
            config.pop("backbone"), custom_objects=custom_objects
        )
        return cls(backbone, **config)

    def make_train_function(self, force: bool = False):
        # Keras would create the optimizer's variables one by one while it traces the first step,
        # and then trace it again without them.
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def compile_once(self, key: str, make):
        """`make()` the first time, what it made from then on."""
        if key not in self._compiled:
            self._compiled[key] = make()
        return self._compiled[key]

    def need_tokenizer(self):
        if self.tokenizer is None:
            raise TokenizerError(
                "the model has no tokenizer, so it can read and write token ids only",
                next_step="modelzoo.dataset(model, 'corpus.txt') trains one, "
                "modelzoo.build(..., tokenizer='tokenizer.json') takes one along",
            )
        return self.tokenizer


class Task:
    """Base of the tasks. Its constructor's keywords are the recipe's `[task_options]`.

    A subclass says its `name` and offers:
        model(backbone) -> TaskModel
        losses() -> (loss, weighted_metrics), as `compile()` takes them
        batches(raw, tokenizer, *, length, batch_size, seed, shuffle, ...) -> data.Batches
        evaluate(model, batches) -> {figure: number}
        fields: of an example, as `data.read_examples` takes them
        best: the figure that early stopping watches, lower is better
        reads_text: whether it needs a tokenizer
        media: what its examples hold besides text, of "image", "audio" and "video"

    What it is to people, tokenizers, devices and checkpoints. Every room asks through `said`, so a
    task that does not subclass this one has these defaults:
        does: what a model of it does, in the third person: "writes down what is said"
        special_tokens: control tokens of a tokenizer that is trained for it, in the order of ids
        example: a line of Python for a bundle's README, which uses `model`; or a function that
            gives one for the abilities of a bundle. It is left out where the bundle lacks the
            ability that it calls, and may use `np`
        abilities: the methods of `runtime.Model` that its bundles offer, as far as their
            signatures allow; `None` for all that these allow
        options_of_config, options_of_extras: `[task_options]` of a checkpoint
        config_of, extras_of: what a checkpoint says of a model
    """

    name = "task"
    fields = (("text",),)
    best = "loss"
    reads_text = True
    media: tuple[str, ...] = ()

    does = ""
    special_tokens: tuple[str, ...] = ("<pad>", "</s>", "<unk>", "<mask>")
    example: str | Callable[[tuple[str, ...]], str] = ""
    abilities: tuple[str, ...] | None = None

    # === Checkpoints in Hugging Face's layout; what a table's head says holds in any case ===

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
    def config_of(cls, model: TaskModel, classes: tuple[str, ...]) -> dict:
        """What `config.json` says of a model besides its sizes, class and token ids.

        Args:
            classes: those of the table's head; `{"architectures": [...]}` takes another than the
                first.

        Returns: its labels, where the task's options have any.
        """
        return config_of_labels(model.recipe.table("task_options"))

    @classmethod
    def extras_of(cls, model: TaskModel, config: Mapping) -> dict[str, object]:
        """The other small JSON files of a model's checkpoint, by name."""
        return {}

    # === Data ===

    def batch_options(self, model, options, length: int | None = None) -> dict:
        """What `batches` must know of the model: `length` of a text, `processing` of media."""
        found = {}
        if self.reads_text:
            found["length"] = options.length_for(model, length)
        if self.media:
            found["processing"] = model.processing()
        return found

    def examples(self, raw) -> list[dict]:
        """Raw data as a list of examples with this task's fields.

        Raises:
            DataError: missing, empty or malformed data.
        """
        from modelzoo.data import read_examples

        found = list(read_examples(raw, fields=self.fields))
        if not found:
            raise DataError("the data holds no example")
        return found

    def completed(self, recipe, examples):
        """The recipe with what only the data can tell: the names of the classes, for one."""
        return recipe

    def check_backbone(self, backbone, needs: str) -> None:
        """Refuse a backbone that lacks the method `needs`."""
        if not hasattr(backbone, needs):
            raise ModelzooError(
                f"the task {self.name} needs a backbone with {needs}(), "
                f"and {type(backbone).__name__} has none",
                next_step="take another task, or another architecture",
            )


def said(task: str | object, attribute: str):
    """What a task says under one of the attributes of `Task`, or `Task`'s default.

    Args:
        task: a name, a class, or an object; it need not be a `Task`.

    Raises: as `registry.task`.

    Example:
        >>> said("causal-lm", "special_tokens")
        ('<|endoftext|>',)
    """
    found = registry.task(task) if isinstance(task, str) else task
    return getattr(found, attribute, getattr(Task, attribute))


def token_loss():
    """Cross-entropy, the mean over tokens that count."""
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )


def token_accuracy():
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
