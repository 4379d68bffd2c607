"""Learning rates against a hand computation, and AdamW against Keras' own."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import modelzoo
from modelzoo.errors import RecipeError
from modelzoo.optimizers.optimizer import AdamW, WarmupDecay, make_optimizer
from modelzoo.recipe.train_options import TrainOptions
from tests import small

# === Learning rates ===


def by_hand(update: int, peak: float, total: int, warmup: int, shape: str) -> float:
    rise = min((update + 1) / warmup, 1.0) if warmup else 1.0
    done = min(max((update - warmup) / max(total - warmup, 1), 0.0), 1.0)
    left = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
    return peak * rise * (0.1 + 0.9 * left[shape])


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("total", "warmup"), [(10, 0), (10, 4), (1, 0), (3, 5)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_learning_rate_is_the_one_computed_by_hand(shape, total, warmup, accumulate):
    options = TrainOptions(
        learning_rate=2e-3, schedule=shape, warmup_steps=warmup, accumulate=accumulate
    )
    optimizer = make_optimizer(options, total)
    for batch in range((total + 2) * accumulate):
        optimizer._iterations.assign(batch)
        wanted = by_hand(batch // accumulate, 2e-3, total, warmup, shape)
        assert float(optimizer.applied_rate) == pytest.approx(wanted, rel=1e-5)


def test_a_schedule_passes_through_the_values_that_one_expects():
    rates = [float(WarmupDecay(1.0, 104, 4)(step)) for step in (0, 1, 3, 4, 54, 104, 500)]
    assert rates == pytest.approx([0.25, 0.5, 1.0, 1.0, 0.55, 0.1, 0.1])


def steps_of(optimizer, weight, times: int = 1) -> list[float]:
    """How far each update moves a weight whose gradient is 1: the rate, with plain SGD."""
    moved = []
    for _ in range(times):
        before = float(np.asarray(weight)[0])
        optimizer.apply([keras.ops.ones((1,))])
        moved.append(before - float(np.asarray(weight)[0]))
    return moved


def plain_sgd(start=(0.0,), **options):
    options = {"optimizer": "sgd", "weight_decay": 0, "clip_norm": 0, **options}
    optimizer, weight = (
        make_optimizer(TrainOptions(**options)),
        keras.Variable(np.array(start, "float32")),
    )
    optimizer.build([weight])
    return optimizer, weight


def test_without_a_number_of_steps_the_rate_rises_and_stays():
    optimizer, weight = plain_sgd(learning_rate=0.5, warmup_steps=4)
    assert steps_of(optimizer, weight, 6) == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
    assert float(optimizer.learning_rate) == 0.5


def test_a_rise_counts_updates_and_not_batches():
    optimizer, weight = plain_sgd(learning_rate=0.5, warmup_steps=2, accumulate=2)
    assert steps_of(optimizer, weight, 6) == pytest.approx([0, 0.25, 0, 0.5, 0, 0.5])


def test_a_rate_that_is_set_ends_the_rise():
    optimizer, weight = plain_sgd(learning_rate=0.5, warmup_steps=4)
    optimizer.learning_rate = 0.5  # as `LearningRateScheduler` does that keeps what there is
    assert steps_of(optimizer, weight, 2) == pytest.approx([0.125, 0.25])
    optimizer.learning_rate = 2.0
    assert float(optimizer.learning_rate) == 2.0
    again = type(optimizer).from_config(optimizer.get_config())  # knows what had a warm-up
    again.build([weight])
    assert steps_of(optimizer, weight) + steps_of(again, weight) == pytest.approx([2.0, 2.0])


def test_a_rate_over_a_schedule_is_refused_with_the_next_step():
    """H9."""
    optimizer = make_optimizer(TrainOptions(), total_steps=10)
    with pytest.raises(RecipeError, match="learning rate follows train.schedule") as caught:
        optimizer.learning_rate = 1e-3
    assert 'train.schedule = "constant"' in caught.value.next_step
    optimizer.learning_rate = WarmupDecay(1.0, 10)  # one schedule for another
    assert float(optimizer.applied_rate) == 1.0


def test_decay_follows_the_rise():
    """Adafactor and SGD on every backend, AdamW where it is not fused, leave decay to Keras."""
    options = {"learning_rate": 0.5, "warmup_steps": 4, "weight_decay": 0.5}
    optimizer, matrix = plain_sgd([[1.0]], **options)
    optimizer.apply([keras.ops.zeros((1, 1))])
    assert float(np.asarray(matrix)[0, 0]) == pytest.approx(1 - 0.125 * 0.5)


def test_a_schedule_survives_its_config():
    schedule = WarmupDecay(1e-3, 50, 5, "linear", 4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [float(again(i)) for i in range(60)] == [float(schedule(i)) for i in range(60)]


# === AdamW ===


def network() -> keras.Model:
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(4), keras.layers.LayerNormalization(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    model.build((None, 5))
    for weight in model.weights:  # no bias is zero, so that decay would show
        weight.assign(weight + 0.5)
    return model


def optimizers(**options):
    ours = AdamW(**options)
    theirs = keras.optimizers.AdamW(**options)
    theirs.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return ours, theirs


def fitted(model, optimizer, steps: int):
    """`steps` batches more; compiles only what is not compiled yet."""
    if optimizer is not None:
        model.compile(optimizer=optimizer, loss="mse")
    generator = np.random.default_rng(int(model.optimizer._iterations.numpy()))
    for _ in range(steps):
        x, y = generator.normal(size=(4, 5)), generator.normal(size=(4, 3))
        model.train_on_batch(x.astype("float32"), y.astype("float32"))
    return model


def assert_equal_weights(one, other, tolerance=0.0):
    assert len(one.weights) == len(other.weights)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.1, "beta_2": 0.95, "epsilon": 1e-8},
        {"weight_decay": 0.0, "global_clipnorm": 0.1},
        {"weight_decay": 0.01, "gradient_accumulation_steps": 2},
    ],
)
def test_the_fused_update_is_keras_adamw(options):
    ours, theirs = optimizers(learning_rate=1e-2, **options)
    assert_equal_weights(fitted(network(), ours, 5), fitted(network(), theirs, 5), 1e-6)
    assert [v.shape for v in ours.variables] == [v.shape for v in theirs.variables]


def test_the_gradients_of_a_row_that_is_read_twice_are_summed():
    ours, theirs = optimizers(learning_rate=1e-2, weight_decay=0.0)
    gradient = tf.constant([[1.0, 2.0], [0.5, -1.0]])
    sparse = tf.IndexedSlices(gradient, tf.constant([1, 1]), tf.constant([3, 2]))
    tables = [keras.Variable(np.ones((3, 2)), name="table") for _ in range(2)]
    for _ in range(3):
        ours.apply([sparse], tables[:1])
        theirs.apply([tf.convert_to_tensor(sparse)], tables[1:])
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-6)


def test_rows_that_are_read_twice_are_clipped_by_their_sum():
    ours, _ = optimizers(learning_rate=1e-2, weight_decay=0.0, global_clipnorm=1.0)
    sparse = tf.IndexedSlices(
        tf.constant([[3.0], [-3.0]]), tf.constant([1, 1]), tf.constant([2, 1])
    )
    clipped = ours._clip_gradients([sparse, tf.constant([0.5])])
    assert [float(np.abs(one).max()) for one in clipped] == [0.0, 0.5]


def test_a_saved_optimizer_goes_on_as_if_it_had_not_been_saved(tmp_path):
    ours, theirs = optimizers(learning_rate=1e-2, weight_decay=0.1)
    model = fitted(network(), ours, 3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is AdamW
    assert_equal_weights(fitted(again, None, 3), fitted(model, None, 3))
    # That biases do not decay is not lost by saving either.
    assert_equal_weights(again, fitted(fitted(network(), theirs, 3), None, 3), 1e-6)


# === What `[train]` says ===


def test_the_table_decides_the_optimizer():
    kinds = {
        name: type(make_optimizer(TrainOptions(optimizer=name))).__name__
        for name in ("adamw", "adam", "sgd", "adafactor")
    }
    assert kinds == {"adamw": "AdamW", "adam": "AdamW", "sgd": "SGD", "adafactor": "Adafactor"}
    assert make_optimizer(TrainOptions(optimizer="adam")).weight_decay == 0.0
    assert make_optimizer(TrainOptions(clip_norm=0)).global_clipnorm is None


SGD = {"train.optimizer": "sgd", "train.learning_rate": 1.0, "train.weight_decay": 0.0}


def test_clip_norm_bounds_the_norm_of_all_gradients_together():
    model = small.build(**SGD, **{"train.clip_norm": 0.01})
    data = modelzoo.dataset(model, small.TEXTS)
    before = model.get_weights()
    model.train_on_batch(*data[0])
    moved = [a - b for a, b in zip(before, model.get_weights(), strict=True)]
    assert math.sqrt(sum((part**2).sum() for part in moved)) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("changes", [SGD, {"train.epsilon": 1e-3, "train.learning_rate": 1e-2}])
def test_two_batches_of_four_make_the_update_of_one_batch_of_eight(changes):
    def updated(accumulate):
        keras.utils.set_random_seed(4)
        model = small.build(**changes, **{"train.accumulate": accumulate})
        x, y, weight = modelzoo.dataset(model, small.TEXTS, batch_size=8, seed=1)[0]
        assert weight.all()  # rows are full, so the mean of two means is the mean
        for rows in np.split(np.arange(8), accumulate):
            model.train_on_batch({k: v[rows] for k, v in x.items()}, y[rows], weight[rows])
        assert int(model.optimizer.iterations) == 1
        return model

    assert_equal_weights(updated(2), updated(1), 1e-5)
