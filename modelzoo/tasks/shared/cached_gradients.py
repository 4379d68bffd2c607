"""Gradients of a large batch in the memory of a small one (Gao et al. 2021, GradCache).

A contrastive loss needs all embeddings of a batch, but what made each of them only once. So the
batch is embedded in chunks that keep nothing, the loss gives its gradient at the embeddings, and
each chunk is embedded again to carry its part of that gradient on to the weights. The gradients are
those of the whole batch; dropout falls as it did the first time.
"""

from __future__ import annotations

from typing import Any

import keras

from modelzoo.errors import ModelzooError
from modelzoo.signature import Tensor


def chunked_gradients(model, *arguments) -> Any:
    """One training step of a `ContrastiveModel`, `model.chunk_size` rows at a time.

    Args:
        arguments: those of `train_step` on the backend in use.

    Raises:
        ModelzooError: a backend that cannot.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _step_on_tensorflow(model, *arguments)
    if backend == "jax":
        return _step_on_jax(model, *arguments)
    raise ModelzooError(
        f"task_options.chunk_size works on TensorFlow and JAX, not on {backend}",
        next_step="leave it out, or set KERAS_BACKEND=jax",
    )


# === TensorFlow ===


def _step_on_tensorflow(model, data):
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    weights = model.trainable_weights
    loss, gradients = tensorflow_gradients(model, x, y, sample_weight)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync  # the tracker takes their mean
    model._loss_tracker.update_state(
        loss * replicas, sample_weight=tf.shape(tf.nest.flatten(x)[0])[0]
    )
    if model.optimizer is not None:
        # The optimizer takes the factor of mixed precision out again.
        factor = model.optimizer.scale_loss(tf.ones(()))
        gradients = [None if g is None else g * tf.cast(factor, g.dtype) for g in gradients]
    model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
    return model.compute_metrics(x, y, None, sample_weight=sample_weight)


def tensorflow_gradients(model, x, y, sample_weight=None) -> tuple[Tensor, list[Tensor | None]]:
    """The loss of a batch, and its gradient at each trainable weight (None where there is none)."""
    import tensorflow as tf

    weights = model.trainable_weights
    chunks = {key: _in_chunks(tf.convert_to_tensor(value), model) for key, value in x.items()}
    count = tf.shape(tf.nest.flatten(chunks)[0])[0]
    seeds = [generator.state for generator in _generators(model)]

    def chunk(i):
        return {key: value[i] for key, value in chunks.items()}

    # === All embeddings, and where the dice stood before each chunk ===
    kinds = [kind for kind in model.backbone.kinds if _reads(kind, x)]
    width = model.backbone.hidden_dim

    def embed(i, rows, states):
        states = [s.write(i, seed.value) for s, seed in zip(states, seeds, strict=True)]
        found = model(chunk(i), training=True)
        rows = [row.write(i, found[kind]) for row, kind in zip(rows, kinds, strict=True)]
        return i + 1, rows, states

    rows = [tf.TensorArray("float32", count, element_shape=(None, width)) for _ in kinds]
    states = [tf.TensorArray(seed.dtype, count, clear_after_read=False) for seed in seeds]
    _, rows, states = tf.while_loop(
        lambda i, *_: i < count, embed, (0, rows, states), parallel_iterations=1
    )
    vectors = {k: tf.stop_gradient(row.concat()) for k, row in zip(kinds, rows, strict=True)}
    after = [tf.identity(seed.value) for seed in seeds]

    # === The loss, its gradient at the embeddings and at the scale ===
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        loss = model.compute_loss(x, y, vectors, sample_weight, training=True)
    at_vectors, gradients = tape.gradient(loss, (vectors, weights))
    at_chunks = {kind: _in_chunks(value, model) for kind, value in at_vectors.items()}

    # === Each chunk again, with its part of the gradient ===
    known = [place for place, g in enumerate(gradients) if g is not None]
    towers = [place for place in range(len(weights)) if place not in known]

    def carry(i, sums):
        for seed, before in zip(seeds, states, strict=True):
            seed.assign(before.read(i))
        with tf.GradientTape() as tape:
            found = model(chunk(i), training=True)
            part = sum(tf.reduce_sum(found[kind] * at_chunks[kind][i]) for kind in kinds)
        own = tape.gradient(part, [weights[place] for place in towers])
        sums = [
            total if g is None else total + tf.convert_to_tensor(g)
            for total, g in zip(sums, own, strict=True)
        ]
        return i + 1, sums

    sums = [tf.zeros(weights[place].shape, weights[place].dtype) for place in towers]
    _, sums = tf.while_loop(lambda i, *_: i < count, carry, (0, sums), parallel_iterations=1)
    for seed, value in zip(seeds, after, strict=True):
        seed.assign(value)
    for place, total in zip(towers, sums, strict=True):
        gradients[place] = total
    return loss, gradients


def _generators(model) -> list:
    """The seed generators of all layers: what dropout draws from."""
    layers = model._flatten_layers(include_self=True, recursive=True)
    found = {}
    for layer in layers:
        for value in vars(layer).values():
            if isinstance(value, keras.random.SeedGenerator):
                found[id(value)] = value
    return list(found.values())


# === JAX ===


def _step_on_jax(model, state, data):
    import jax

    trainable, non_trainable, of_optimizer, of_metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

    def scaled(trainable, non_trainable):
        loss, after = jax_loss(model, trainable, non_trainable, x, y, sample_weight)
        mapping = list(zip(model.optimizer.variables, of_optimizer, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return model.optimizer.scale_loss(loss), (loss, after)

    find = jax.value_and_grad(scaled, has_aux=True)
    (_, (loss, non_trainable)), gradients = find(trainable, non_trainable)
    trainable, of_optimizer = model.optimizer.stateless_apply(of_optimizer, gradients, trainable)
    logs, of_metrics = model._update_metrics_variables(of_metrics, loss, x, y, None, sample_weight)
    return logs, (trainable, non_trainable, of_optimizer, of_metrics)


def jax_loss(model, trainable, non_trainable, x, y, sample_weight=None) -> tuple[Tensor, tuple]:
    """The loss of a batch, whose gradient JAX takes chunk by chunk, and the state after it."""
    import jax

    chunks = jax.tree.map(lambda value: _in_chunks(value, model), x)

    @jax.checkpoint  # nothing but the embeddings is kept; the rest is computed again
    def embed(non_trainable, chunk):
        found, after = model.stateless_call(trainable, non_trainable, chunk, training=True)
        return after, found

    after, found = jax.lax.scan(embed, non_trainable, chunks)
    vectors = {kind: value.reshape(-1, value.shape[-1]) for kind, value in found.items()}
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    values = [*trainable, *after]
    with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
        loss = model.compute_loss(x, y, vectors, sample_weight, training=True)
    return loss, after


# === Both ===


def _in_chunks(value, model):
    """(B, …) -> (chunks, chunk_size, …)."""
    size = model.chunk_size
    rows = value.shape[0]
    if rows is not None and rows % size:
        raise ModelzooError(
            f"a batch of {rows} rows does not divide into chunks of {size}",
            next_step="take a batch size that is a multiple of task_options.chunk_size",
        )
    return keras.ops.reshape(value, (-1, size, *value.shape[1:]))


def _reads(kind: str, x) -> bool:
    from modelzoo.backbones.contrastive import INPUTS

    return INPUTS[kind][0] in x
