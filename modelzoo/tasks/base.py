"""What tasks have in common.

A task is two things: a `Task`, plain values and functions (how data becomes batches, which loss,
which figures), and a `TaskModel`, the `keras.Model` with the task's head over a backbone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import keras

from modelzoo.errors import DataError, MissingDependencyError, ModelzooError, TokenizerError
from modelzoo.recipe import Recipe
from modelzoo.runtime.abilities.known import ABILITIES
from modelzoo.runtime.media.processing import completed
from modelzoo.tasks.profile import Profile, said
from modelzoo.tasks.shared.call_inputs import call_inputs
from modelzoo.tasks.shared.keras_habits import check_inputs, shapes_in_summary
from modelzoo.tasks.shared.saved_state import (
    KEPT,
    is_functional,
    kept_attributes,
    quantize_layers,
    quantized_layers,
)

if TYPE_CHECKING:
    from modelzoo.runtime.text.tokenizer import Tokenizer
    from modelzoo.weights.origin import Origin


class TaskModel(keras.Model):
    """A backbone and what a task puts on top of it.

    Attributes:
        backbone: the model without a head.
        recipe: what it was built from, or `None`.
        tokenizer: turns its text into ids and back, or `None`.
        chat_template: Jinja source that makes a conversation a text, or `None`.
        origin: where its weights come from, or `None`; see `weights.origin`.
    """

    def __init__(self, backbone: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.backbone = backbone
        self.recipe: Recipe | None = None
        self.tokenizer: Tokenizer | None = None
        self.chat_template: str | None = None
        self.origin: Origin | None = None
        self._compiled = {}

    def processing(self) -> dict:
        """How raw media become the model's inputs, as data: `{"image": {...}, "audio": {...}}`.

        Training, evaluation and a device all read it; `{}` for a model that reads text alone.

        Raises:
            ModelzooError: the backbone's is wrong; see `runtime.media.processing`.
        """
        return completed(getattr(self.backbone, "processing", None))

    def get_config(self) -> dict:
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        backbone = keras.saving.serialize_keras_object(self.backbone)
        config = {"backbone": backbone, "name": self.name, "dtype": policy}
        kept, quantized = kept_attributes(self.backbone), quantized_layers(self)
        config |= {"backbone_attributes": kept} if kept else {}
        return config | ({"quantized": quantized} if quantized else {})

    @classmethod
    def from_config(cls, config, custom_objects=None) -> Self:
        config = dict(config)
        backbone = keras.saving.deserialize_keras_object(
            config.pop("backbone"), custom_objects=custom_objects
        )
        for name, value in config.pop("backbone_attributes", {}).items():
            setattr(backbone, name, value)
        quantized = config.pop("quantized", {})
        model = cls(backbone, **config)
        quantize_layers(model, quantized)
        return model

    if not TYPE_CHECKING:  # an editor shows Keras' own signature

        @functools.wraps(keras.Model.fit)
        def fit(self, x=None, *args, class_weight=None, **kwargs) -> keras.callbacks.History:
            self._check_data("fit", x)
            # Our batches have sample weights, with which Keras takes no class weights.
            if class_weight is None or not hasattr(x, "class_weights"):
                return super().fit(x, *args, class_weight=class_weight, **kwargs)
            with x.class_weights(class_weight):
                return super().fit(x, *args, **kwargs)

        @functools.wraps(keras.Model.evaluate)
        def evaluate(self, x=None, *args, **kwargs) -> Any:
            self._check_data("evaluate", x)
            return super().evaluate(x, *args, **kwargs)

        @functools.wraps(keras.Model.predict)
        def predict(self, x, *args, **kwargs) -> Any:
            check_inputs("predict", x, self._able())
            if hasattr(x, "check_order"):
                x.check_order()
            return super().predict(x, *args, **kwargs)

        def __call__(self, *args, **kwargs):
            check_inputs("call", args[0] if args else None, self._able())
            return super().__call__(*args, **kwargs)

        @functools.wraps(keras.Model.summary)
        def summary(self, *args, **kwargs) -> None:
            with shapes_in_summary(self, self.call_inputs()):
                super().summary(*args, **kwargs)

        def __getattr__(self, name: str):
            if name in ABILITIES:
                raise AttributeError(
                    f"{type(self).__name__} cannot `{name}`; it can "
                    + ", ".join(f"`{able}`" for able in self._able())
                )
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}", name=name, obj=self)

    def _able(self) -> list[str]:
        recipe = self.__dict__.get("recipe")
        stated = None if recipe is None else said(recipe.task, "abilities")
        return [name for name in stated or ABILITIES if hasattr(type(self), name)]

    def _check_data(self, method: str, x: object) -> None:
        check_inputs(method, x)
        if hasattr(x, "check_labelled"):
            x.check_labelled(method)

    def __repr__(self) -> str:
        recipe, said = self.__dict__.get("recipe"), []
        if recipe is not None:
            said += [recipe.name, recipe.task]
        if self.built:
            said.append(f"{self.count_params():,} parameters")
        return f"<{type(self).__name__}: {', '.join(said)}>"

    def make_train_function(self, force: bool = False) -> Callable | None:
        # Keras would create the optimizer's variables one by one while it traces the first step,
        # and then trace it again without them.
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    # Of an optimizer that never ran a file has no state, and Keras would warn that it is missing.

    def get_compile_config(self) -> dict:
        config = super().get_compile_config()
        fresh = bool(config) and self.optimizer is not None and not self.optimizer.built
        return config | ({"fresh_optimizer": True} if fresh else {})

    def compile_from_config(self, config) -> None:
        config = dict(config)
        if config.pop("fresh_optimizer", False):
            self.compile(**keras.saving.deserialize_keras_object(config))
        else:
            super().compile_from_config(config)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None) -> None:
        # With replicas Keras learns shapes from a batch's mean over them, and masks have no mean.
        # One replica's part has the same shapes.
        if iterator is not None and self._distribute_strategy is not None:
            parts = self.distribute_strategy.experimental_local_results
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(lambda value: parts(value)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def call_inputs(self) -> dict[str, keras.InputSpec]:
        """What `call` takes: name -> shape and dtype, `None` for sizes that vary."""
        return call_inputs(self.backbone, self.processing())

    def export(
        self, filepath, format: str = "tf_saved_model", verbose=None, input_signature=None, **kwargs
    ) -> None:
        """Keras' own export of `call`, its inputs those of `call_inputs`; it verifies nothing.

        `modelzoo.export` writes the task's functions instead, and compares them with this model.

        Args:
            format: one that Keras has: "tf_saved_model", "onnx", "litert" (a path that ends with
                `.tflite`) and so on.
            input_signature: `[{name: keras.InputSpec}]`, where other or static shapes are wanted.

        Raises:
            MissingDependencyError: the packages of a format are not installed.

        Example:
            >>> model = modelzoo.build("gpt-tiny", num_layers=1, vocab_size=300)
            >>> model.export("served", verbose=False)
        """
        if input_signature is None:
            input_signature = [self.call_inputs()]
        try:
            super().export(filepath, format, verbose, input_signature, **kwargs)
        except ImportError as error:
            raise MissingDependencyError(
                f"Keras' export to {format} needs a package that is not here: {error}",
                next_step="pip install tf2onnx onnx" if format == "onnx" else "install it",
            ) from error

    @property
    def generation(self) -> dict:
        """What the recipe's checkpoint generates with; see `runtime.generation.defaults`."""
        options = {} if self.recipe is None else self.recipe.table("task_options")
        return options.get("generation") or {}

    def compile_once(self, key: str, make) -> Any:
        """`make()` the first time, what it made from then on."""
        if key not in self._compiled:
            self._compiled[key] = make()
        return self._compiled[key]

    def need_tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise TokenizerError(
                "the model has no tokenizer, so it can read and write token ids only",
                next_step="trained weights need the tokenizer they were trained with: "
                "modelzoo.load(DIR), or modelzoo.build(..., tokenizer='tokenizer.json'); for new "
                "weights modelzoo.dataset(model, 'corpus.txt') trains one",
            )
        return self.tokenizer


class Task(Profile):
    """Base of the tasks. Its constructor's keywords are the recipe's `[task_options]`.

    A subclass says its `name` and offers:
        model(backbone) -> TaskModel
        losses() -> (loss, weighted_metrics), as `compile()` takes them
        batches(raw, tokenizer, *, length, batch_size, seed, shuffle, ...) -> data.Batches
        evaluate(model, batches) -> {figure: number}
        fields: of an example, as `data.read_examples` takes them
        best: the figure that early stopping watches, lower is better
        media: what its examples hold besides text, of "image", "audio" and "video"

    What it is to people, tokenizers, devices and checkpoints, `tasks.profile.Profile` says.
    """

    name = "task"
    fields = (("text",),)
    best = "loss"
    media: tuple[str, ...] = ()

    def batch_options(self, model, options, length: int | None = None) -> dict:
        """What `batches` must know of the model: `length` of a text, `processing` of media."""
        found = {}
        if self.reads_text:
            found["length"] = options.length_for(model, length, self.fine_tuning.get("length"))
        if self.media:
            found["processing"] = model.processing()
        return found

    def examples(self, raw, columns=None, *, problem_type: str | None = None) -> list[dict]:
        """Raw data as a list of examples with this task's fields.

        Args:
            columns: field -> the column that holds it, where they differ.
            problem_type: what a label is; see `data.read_examples`.

        Raises:
            DataError: missing, empty or malformed data.
        """
        from modelzoo.data import read_examples

        how = {"weighed": self.reads_weights, "problem_type": problem_type}
        found = list(read_examples(raw, columns, self.fields, **how))
        if not found:
            raise DataError("the data holds no example")
        return found

    def completed(self, recipe, examples) -> Recipe:
        """The recipe with what only the data can tell: the names of the classes, for example."""
        return recipe

    def settled(self, recipe, model, batches) -> Recipe:
        """The recipe with what only the trained model can tell, on validation data."""
        return recipe

    def of_device(self, outputs, x) -> Any:
        """What the Keras model gives for a batch, of what a bundle's `serve` gives.

        Args:
            outputs: name -> (B, …).
            x: the inputs of the batch.
        """
        return outputs["logits"]

    def check_backbone(self, backbone, needs: str) -> None:
        """Refuse a backbone that lacks the method `needs`."""
        if not hasattr(backbone, needs):
            raise ModelzooError(
                f"the task {self.name} needs a backbone with {needs}(), "
                f"and {type(backbone).__name__} has none",
                next_step="take another task, or another architecture",
            )
        if is_functional(backbone) and needs not in KEPT and not hasattr(type(backbone), needs):
            raise ModelzooError(
                f"{needs} was set on a functional model, which forgets it when it is saved",
                next_step=f"subclass keras.Model, and define {needs} in the class",
            )


def token_loss() -> keras.losses.Loss:
    """Cross-entropy, the mean over tokens that count."""
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )


def token_accuracy() -> keras.metrics.Metric:
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
