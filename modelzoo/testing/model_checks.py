"""Does the model build, save, repeat itself, learn, and bear half precision?"""

from __future__ import annotations

import json

import numpy as np

from modelzoo.files import scratch
from modelzoo.testing import fresh
from modelzoo.testing.check import NotApplicable, fail, not_applicable
from modelzoo.testing.compare import check_equal, distance, outputs_of
from modelzoo.testing.seeds import kept_seeds
from modelzoo.testing.subject import Subject

STEPS = 8
# Of outputs in mixed precision to those in float32, least cosine: an activation of 8 bits keeps it.
COSINE = 0.98


def build(subject: Subject) -> None:
    """A small one builds, is a `keras.Model`, has all its weights, and gives numbers."""
    import keras

    subject.small  # noqa: B018  (may not apply)
    model = subject._model
    if isinstance(model, BaseException):
        raise model
    if not isinstance(model, keras.Model):
        fail(f"building {subject.name} gives {type(model).__name__}, not a keras.Model")
    before = [weight.path for weight in model.weights]
    try:
        x, _, _ = subject.batch()
    except NotApplicable as reason:
        not_applicable(f"it builds; it was not called, because {reason}")
    for name, value in outputs_of(model, x).items():
        if not np.isfinite(value).all():
            fail(
                f"a fresh {subject.name} gives no number (nan or infinite): {name}",
                next_step="look at the initial weights, and at masks that hide all of a row",
            )
    late = [weight.path for weight in model.weights if weight.path not in before]
    if late:
        fail(
            f"{subject.name} makes weights at its first call: {late[0]}",
            next_step="make them in the constructor or in build(): they are missing when it is "
            "counted, and when weights are loaded",
        )


def config_round_trip(subject: Subject) -> None:
    """What `get_config` says is JSON, and makes the same model again."""
    import keras

    model = subject.model
    way_on = "return every argument of the constructor from get_config()"
    config = keras.saving.serialize_keras_object(model)
    try:
        config = json.loads(json.dumps(config))
    except TypeError as error:
        fail(f"the configuration of {type(model).__name__} is not JSON: {error}", next_step=way_on)
    with kept_seeds():
        twin = keras.saving.deserialize_keras_object(config)
    ours, theirs = _shapes(model), _shapes(twin)
    if ours != theirs:
        first = next((pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]), None)
        what = f"{first[0]} became {first[1]}" if first else f"{len(ours)} became {len(theirs)}"
        fail(f"a model made from its own configuration has other weights: {what}", next_step=way_on)
    twin.set_weights(model.get_weights())
    x, _, _ = subject.batch()
    check_equal(
        outputs_of(twin, x),
        outputs_of(model, x),
        "a model made from its own configuration, with the same weights, answers differently",
        next_step=way_on,
    )


def file_round_trip(subject: Subject) -> None:
    """What is written here opens in a fresh process, and answers the same."""
    x, _, _ = subject.batch()
    with scratch() as home:
        path = subject.saved(home)
        found = fresh.outputs(path, subject.plugin.namespace, x, home)
    check_equal(
        found,
        outputs_of(subject.model, x),
        "the saved model answers differently in a fresh process",
        next_step="keep all that matters in weights and in get_config(), and register the classes "
        f"with keras.saving.register_keras_serializable({subject.plugin.namespace!r})",
    )


def seeded(subject: Subject) -> None:
    """The same seed gives the same weights, another seed gives others."""
    subject.model  # noqa: B018  (may not build; and what a first build imports is imported now)
    first, again, other = (subject.built(seed) for seed in (1, 1, 2))
    for a, b in zip(first.weights, again.weights, strict=True):
        if not np.array_equal(_numbers(a), _numbers(b)):
            fail(
                f"two builds after keras.utils.set_random_seed(1) differ in {a.path}",
                next_step="draw with keras.random or keras.initializers, not with a clock, "
                "os.urandom or a generator of your own",
            )
    pairs = zip(first.trainable_weights, other.trainable_weights, strict=True)
    drawn = [(a, b) for a, b in pairs if np.ptp(_numbers(a)) > 0]  # not all zeros or ones
    if drawn and all(np.array_equal(_numbers(a), _numbers(b)) for a, b in drawn):
        fail(
            "two builds after different seeds are the same: the seed is fixed somewhere",
            next_step="leave seed= out: keras.utils.set_random_seed is the user's",
        )


def fit(subject: Subject) -> None:
    """`fit` on one batch reports finite losses, the last one lower than the first."""
    if subject.task is None:
        not_applicable(f"{subject.name} has no task, so no loss")
    x, y, weight = subject.batch()
    with kept_seeds():
        model = subject.built()
        rows = len(_first(x))
        # An epoch reports the loss before its step.
        history = model.fit(
            x, y, sample_weight=weight, batch_size=rows, epochs=STEPS + 1, verbose=0, shuffle=False
        )
    losses = [float(loss) for loss in history.history["loss"]]
    for weights in model.weights:
        if not np.isfinite(_numbers(weights)).all():
            fail(
                f"after {STEPS} steps of fit, {weights.path} is not a number (nan or infinite)",
                next_step="look for a division by zero, a log of zero, a learning rate too high",
            )
    if not np.isfinite(losses).all():
        fail(f"fit reports a loss that is not a number: {losses}")
    if not losses[-1] < losses[0]:
        fail(
            f"{STEPS} steps of fit on one batch do not lower the loss that it reports: "
            f"{losses[0]:.6g} before, {losses[-1]:.6g} after",
            next_step="is every layer trainable, and is the loss that of the output it is given?",
        )


def mixed_precision(subject: Subject) -> None:
    """In mixed bfloat16 the weights stay float32, and the answers stay near."""
    import keras

    model = subject.model
    x, _, _ = subject.batch()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = subject.built()
        halved = [w.path for w in mixed.trainable_weights if w.dtype in ("bfloat16", "float16")]
        if halved:
            fail(
                f"in mixed_bfloat16 the weight {halved[0]} is not float32",
                next_step="add_weight(...) without dtype takes the policy's",
            )
        if _shapes(mixed) == _shapes(model):
            mixed.set_weights(model.get_weights())
        found = outputs_of(mixed, x)
    finally:
        keras.config.set_dtype_policy(before)
    for name, right in outputs_of(model, x).items():
        got = found[name]
        if not np.isfinite(got).all():
            fail(
                f"in mixed_bfloat16, {name} is not a number (nan or infinite)",
                next_step="a mask of -1e9 and an epsilon of 1e-12 do not fit half precision",
            )
        cosine = _cosine(got, right)
        if cosine < COSINE and distance(got, right) > 0.05:
            fail(
                f"in mixed_bfloat16, {name} is another answer than in float32: cosine {cosine:.4f}",
                next_step="keep positions and counts int32 or float32: bfloat16 holds no integer "
                "above 256",
            )


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel(), b.ravel()
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / size) if size else 1.0


def _first(x):
    import keras

    return keras.tree.flatten(x)[0]


def _numbers(weight) -> np.ndarray:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32")))


def _shapes(model) -> list[tuple[str, tuple[int, ...]]]:
    return [(weight.path.partition("/")[2], tuple(weight.shape)) for weight in model.weights]
