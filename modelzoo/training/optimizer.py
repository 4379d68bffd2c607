"""Optimizers and learning rates, and what `compile()` is given."""

from __future__ import annotations

import math

import keras
from keras import ops

from modelzoo.training.options import TrainOptions, train_options


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

    def get_config(self):
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "shape": self.shape,
            "accumulate": self.accumulate,
        }


@keras.saving.register_keras_serializable("modelzoo")
class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW (Loshchilov and Hutter 2019) with one fused update a variable on TensorFlow.

    The formula and the state are Keras'. Twenty small operations on every weight become one pass
    over memory, which also leaves fewer nodes to trace and to compile. And where a batch reads a
    row of an embedding twice, its two gradients are summed before they are squared.

    Vectors, which are norms and biases, do not decay (as in BERT and GPT). This is part of the
    class, because Keras does not save what `exclude_from_weight_decay` was told.
    """

    def _use_weight_decay(self, variable):
        return len(variable.shape) > 1 and super()._use_weight_decay(variable)

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            return super().update_step(gradient, variable, learning_rate)
        import tensorflow as tf

        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        handle = _resource(variable).handle
        tf.raw_ops.ResourceApplyAdam(
            var=handle,
            m=_resource(self._momentums[index]).handle,
            v=_resource(self._velocities[index]).handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )


def _resource(variable):
    """The TensorFlow variable itself, or the one behind a Keras variable."""
    return getattr(variable, "_value", variable)


def make_optimizer(options: TrainOptions, total_steps: int | None = None):
    """The optimizer of a `[train]` table. Without `total_steps` the learning rate is constant."""
    shape = options.schedule if total_steps else "constant"
    rate = options.learning_rate
    if shape != "constant" or options.warmup_steps:
        rate = WarmupDecay(rate, total_steps or 0, options.warmup_steps, shape, options.accumulate)
    common = {
        "learning_rate": rate,
        "global_clipnorm": options.clip_norm or None,
        "gradient_accumulation_steps": options.accumulate if options.accumulate > 1 else None,
    }
    if options.optimizer == "sgd":
        return keras.optimizers.SGD(weight_decay=options.weight_decay, **common)
    if options.optimizer == "adafactor":
        return keras.optimizers.Adafactor(weight_decay=options.weight_decay, **common)
    decay = options.weight_decay if options.optimizer == "adamw" else 0.0
    return AdamW(
        weight_decay=decay,
        beta_1=options.beta_1,
        beta_2=options.beta_2,
        epsilon=options.epsilon,
        **common,
    )


def compile_model(model, total_steps: int | None = None) -> None:
    """`model.compile` with the optimizer of its recipe and its task's loss and metrics."""
    from modelzoo.build import recipe_of, task_of

    recipe = recipe_of(model)
    options = train_options(recipe)
    loss, metrics = task_of(recipe).losses()
    jit = options.jit_compile
    if jit is None:
        jit = keras.backend.backend() != "tensorflow"
    model.compile(
        optimizer=make_optimizer(options, total_steps),
        loss=loss,
        weighted_metrics=metrics,
        jit_compile=jit,
    )
