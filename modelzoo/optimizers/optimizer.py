"""Optimizers and learning rates, and what `compile()` is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from modelzoo.errors import RecipeError, nearest
from modelzoo.optimizers.accumulation import sum_losses
from modelzoo.recipe.train_options import TrainOptions, train_options

# What to do for a learning rate that something else sets: a callback, for example.
SETTABLE = 'train.schedule = "constant" leaves the rate, after its warm-up, to others'


@keras.saving.register_keras_serializable("modelzoo")
class WarmupDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise to `peak`, then a half cosine, a line, or nothing, down to a tenth of it.

    Args:
        total_steps, warmup_steps: updates of the weights.
        shape: `"cosine"`, `"linear"` or `"constant"`.
        accumulate: batches of an update, which all have its learning rate.

    Call: the number of batches so far, which is what Keras counts -> learning rate.
    """

    FLOOR = 0.1

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_steps: int = 0,
        shape: str = "cosine",
        accumulate: int = 1,
    ):
        self.peak, self.total_steps = peak, total_steps
        self.warmup_steps, self.shape, self.accumulate = warmup_steps, shape, accumulate

    def __call__(self, step):
        step = ops.floor(ops.cast(step, "float32") / self.accumulate)
        rise = ops.minimum((step + 1.0) / max(self.warmup_steps, 1), 1.0)
        span = max(self.total_steps - self.warmup_steps, 1)
        done = ops.clip((step - self.warmup_steps) / span, 0.0, 1.0)
        left = {
            "cosine": 0.5 * (1.0 + ops.cos(math.pi * done)),
            "linear": 1.0 - done,
            "constant": ops.ones_like(done),
        }[self.shape]
        decayed = self.FLOOR + (1.0 - self.FLOOR) * left
        return self.peak * (rise if self.warmup_steps else 1.0) * decayed

    def get_config(self) -> dict:
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "shape": self.shape,
            "accumulate": self.accumulate,
        }


class Ours:
    """Mixed into an optimizer: a warm-up that a set rate ends, and no decay of vectors.

    `learning_rate` is the rate after the warm-up: a variable that Keras' callbacks set. As long as
    nobody sets another, the rate that is applied rises to it in a line.

    Args:
        warmup_steps: updates of the weights until the rate is `warmup_rate`.
        warmup_rate: the rate that has a warm-up. Default: `learning_rate`, which must be a number.
    """

    def __init__(
        self, *args, warmup_steps: int = 0, warmup_rate: float | None = None, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.warmup_steps, self._applying = warmup_steps, False
        self.warmup_rate = warmup_rate
        if warmup_steps and warmup_rate is None:
            self.warmup_rate = float(ops.convert_to_numpy(self._learning_rate))

    def get_config(self) -> dict:
        config = super().get_config()
        if not self.warmup_steps:
            return config
        return {**config, "warmup_steps": self.warmup_steps, "warmup_rate": self.warmup_rate}

    def apply(self, *args, **kwargs) -> None:
        self._applying = True
        try:
            super().apply(*args, **kwargs)
        finally:
            self._applying = False

    @property
    def learning_rate(self) -> Any:
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, rate) -> None:
        if not callable(rate) and callable(self._learning_rate):
            raise RecipeError(
                "the learning rate follows train.schedule, and something else sets it too",
                next_step=SETTABLE,
            )
        keras.optimizers.Optimizer.learning_rate.fset(self, rate)

    @property
    def applied_rate(self) -> Any:
        """The rate of the next update: `learning_rate`, or a part of it during its warm-up."""
        rate = self.learning_rate
        return self._risen(rate) if self.warmup_steps else rate

    def _get_current_learning_rate(self):
        rate = super()._get_current_learning_rate()
        return self._risen(rate) if self.warmup_steps and self._applying else rate

    def _risen(self, rate):
        """What an update applies: a part of the rate during its warm-up."""
        updates = ops.cast(self.iterations, "float32")  # and not batches, where several make one
        rise = ops.minimum((updates + 1.0) / self.warmup_steps, 1.0)
        rate = ops.convert_to_tensor(rate)
        as_it_was = ops.equal(rate, ops.cast(self.warmup_rate, rate.dtype))
        return ops.where(as_it_was, rate * ops.cast(rise, rate.dtype), rate)

    # Vectors, which are norms and biases, do not decay (as in BERT and GPT). A part of the class,
    # because Keras does not save the arguments of `exclude_from_weight_decay`.

    def _use_weight_decay(self, variable):
        return len(variable.shape) > 1 and super()._use_weight_decay(variable)


@keras.saving.register_keras_serializable("modelzoo")
class SGD(Ours, keras.optimizers.SGD):
    """Keras' SGD."""


@keras.saving.register_keras_serializable("modelzoo")
class Adafactor(Ours, keras.optimizers.Adafactor):
    """Keras' Adafactor (Shazeer and Stern 2018)."""


@keras.saving.register_keras_serializable("modelzoo")
class AdamW(Ours, keras.optimizers.AdamW):
    """Keras' AdamW (Loshchilov and Hutter 2019) with one fused update a variable on TensorFlow.

    The formula and the state are Keras'. Some thirty small operations on every weight become three
    passes over memory, which also halves the graph that is to be traced and optimized. And where a
    batch reads a row of an embedding twice, its two gradients are summed before they are squared.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._scalars = None

    # === On TensorFlow: one pass over memory for the norm, one for the decay, one for the rest ===

    def _fused(self) -> bool:
        return keras.backend.backend() == "tensorflow" and not self.amsgrad

    def _clip_gradients(self, grads):
        if not self._fused() or not self.global_clipnorm or self.clipnorm:
            return super()._clip_gradients(grads)
        import tensorflow as tf

        # Dense first: rows of an embedding that are read twice count in the norm by their sum.
        return tf.clip_by_global_norm(
            [tf.convert_to_tensor(gradient) for gradient in grads], self.global_clipnorm
        )[0]

    def _apply_weight_decay(self, variables):
        if not self._fused():
            super()._apply_weight_decay(variables)  # else `update_step` does it

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if self._fused():
            # Once, and not once a variable: the schedule alone would be half of the graph.
            rate = ops.cast(learning_rate, "float32")
            step = ops.cast(self.iterations + 1, "float32")
            self._scalars = {
                "lr": rate,
                "beta1_power": ops.power(self.beta_1, step),
                "beta2_power": ops.power(self.beta_2, step),
                "beta1": ops.convert_to_tensor(self.beta_1, "float32"),
                "beta2": ops.convert_to_tensor(self.beta_2, "float32"),
                "epsilon": ops.convert_to_tensor(self.epsilon, "float32"),
            }
            self._decay = rate * (self.weight_decay or 0.0)
        super()._backend_update_step(grads, trainable_variables, learning_rate)
        self._scalars = self._decay = None  # they belong to the graph that was just traced

    def update_step(self, gradient, variable, learning_rate) -> None:
        if not self._fused():
            return super().update_step(gradient, variable, learning_rate)
        import tensorflow as tf

        dtype, index = variable.dtype, self._get_variable_index(variable)
        if self.weight_decay and self._use_weight_decay(variable):
            variable.assign_sub(variable * tf.cast(self._decay, dtype))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
            **{name: tf.cast(value, dtype) for name, value in self._scalars.items()},
        )


def make_optimizer(
    options: TrainOptions, total_steps: int | None = None
) -> keras.optimizers.Optimizer:
    """The optimizer of a `[train]` table.

    Its learning rate is a schedule over `total_steps`. Without them, and where `schedule` is
    "constant", it is a number that may be set, and the rate rises to it in the warm-up.
    """
    rate, shape, warmup = float(options.learning_rate), options.schedule, options.warmup_steps
    if total_steps:
        warmup = warmup or options.warmup_for(total_steps)
    if total_steps and shape != "constant":
        rate = WarmupDecay(rate, total_steps, warmup, shape, options.accumulate)
        warmup = 0
    common = {
        "learning_rate": rate,
        "warmup_steps": warmup,
        "global_clipnorm": options.clip_norm or None,
        "gradient_accumulation_steps": options.accumulate if options.accumulate > 1 else None,
    }
    if options.optimizer == "sgd":
        return SGD(weight_decay=options.weight_decay, **common)
    if options.optimizer == "adafactor":
        return Adafactor(weight_decay=options.weight_decay, **common)
    decay = options.weight_decay if options.optimizer == "adamw" else 0.0
    return AdamW(
        weight_decay=decay,
        beta_1=options.beta_1,
        beta_2=options.beta_2,
        epsilon=options.epsilon,
        **common,
    )


def freeze(model, frozen: Sequence[str] | int | None) -> None:
    """Leave parts of a model out of its training.

    Args:
        frozen: `train.frozen`: names of parts, `backbone.embedding`; or N, for all of the backbone
            but what comes after its first N blocks.

    Raises:
        RecipeError: no such part, or no blocks; nothing would be left to train.
    """
    if not frozen:
        return
    parts = _first(model, frozen) if isinstance(frozen, int) else [_part(model, x) for x in frozen]
    for part in parts:
        part.trainable = False
    if not model.trainable_variables:
        raise RecipeError(
            f"train.frozen = {frozen} leaves nothing to train",
            next_step='leave a part out, as train.frozen = ["backbone"] leaves a head',
        )


def _part(model, name: str) -> keras.layers.Layer:
    found = model
    for word in name.split("."):
        parts = _layers(found)
        if word not in parts:
            raise RecipeError(
                f"train.frozen names {name!r}, and {type(found).__name__} has no part {word!r}",
                did_you_mean=nearest(word, parts),
                next_step=f"it has {', '.join(sorted(parts)) or 'no parts'}",
            )
        found = parts[word]
    return found


def _first(model, count: int) -> list[keras.layers.Layer]:
    """All layers of the backbone that come before its block number `count`."""
    stack = getattr(model.backbone, "stack", None)
    blocks = getattr(stack, "blocks", ())
    if count > len({id(block) for block in blocks}):
        raise RecipeError(
            f"train.frozen = {count}: the backbone has {len(blocks) or 'no'} blocks in a row",
            next_step='name parts instead: train.frozen = ["backbone"]',
        )
    before = [
        layer for name, layer in _layers(model.backbone).items() if name not in ("stack", "pooler")
    ]
    return [*before, *blocks[:count]]


def _layers(of) -> dict[str, keras.layers.Layer]:
    return {
        name: value
        for name, value in vars(of).items()
        if isinstance(value, keras.layers.Layer) and not name.startswith("_")
    }


def compile_model(model, total_steps: int | None = None) -> None:
    """`model.compile` with the optimizer of its recipe and its task's loss and metrics."""
    from modelzoo.registry.of_recipe import recipe_of, task_of

    recipe = recipe_of(model)
    options = train_options(recipe)
    freeze(model, options.frozen)
    loss, metrics = task_of(recipe).losses()
    if total_steps and options.accumulate > 1:
        sum_losses(loss)
    jit = options.jit_compile
    if jit is None:
        jit = keras.backend.backend() != "tensorflow"
    model.compile(
        optimizer=make_optimizer(options, total_steps),
        loss=loss,
        weighted_metrics=metrics,
        jit_compile=jit,
    )
