"""Activations made ready for 8 bits, from what a model computes over a sample of text.

On a device each token's activations share one 8-bit scale, so a channel far larger than
the others leaves them nothing. `smooth` moves it into the next weights, which changes no output
(Xiao et al. 2022, SmoothQuant; here by the channels' energy and not by their largest numbers, which
a single token decides).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["blocks_of", "is_dense", "replace_method", "replaced_call", "smooth"]

_TINY = 1e-5  # below any weight or activation that matters; keeps silent channels finite


def blocks_of(model) -> list:
    """The transformer blocks of a model, in the order of its layers, each once."""
    from modelzoo.layers.block import TransformerBlock

    return [layer for layer in model._flatten_layers() if isinstance(layer, TransformerBlock)]


def is_dense(block) -> bool:
    """Whether a block's feed-forward is not split into experts."""
    from modelzoo.layers.feed_forward import FeedForward

    return isinstance(block.ffn, FeedForward)


def replace_method(layer, name: str, function: Callable) -> None:
    """For this one layer; past Keras' own `__setattr__`, which would track it."""
    object.__setattr__(layer, name, function)


@contextmanager
def replaced_call(layers, make: Callable) -> Iterator[None]:
    """Within it, a layer's `call` is `make(layer, call)`.

    Example:
        >>> from keras.layers import Dense
        >>> dense = Dense(1, kernel_initializer="ones")
        >>> with replaced_call([dense], lambda layer, call: lambda x: 2 * call(x)):
        ...     float(dense(np.ones((1, 3)))[0, 0])
        6.0
    """
    for layer in layers:
        replace_method(layer, "call", make(layer, layer.call))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def smooth(model, inputs, strength: float = 0.5) -> int:
    """Even out the channels that feed the matrices of every transformer block, in place.

    A channel's factor leaves its matrix's rows for what comes before: the norm (queries, keys and
    values; up and gate), the values (the output projection), and `up` of a gated feed-forward
    (`down`). Outputs stay what they were, up to rounding in float32.

    Args:
        model: a task model with a `backbone`.
        inputs: what the backbone is called with, such as token ids (B, T) int32; or a function that
            runs the model over a sample.
        strength: 0 evens out the weights alone, 1 the activations alone.

    Returns: how many groups of matrices were changed.

    Example:
        >>> smooth(modelzoo.load("my-gpt"), np.array([[5, 6, 7]]))
        3
    """
    blocks = blocks_of(model)
    matrices = [dense for block in blocks for dense in _matrices(block)]
    energy: dict[int, np.ndarray] = {}

    def record(dense, call):
        def recording(x, *args, **kwargs):
            seen = np.square(np.asarray(x)).reshape(-1, x.shape[-1]).sum(axis=0)
            energy[id(dense)] = energy.get(id(dense), 0) + seen
            return call(x, *args, **kwargs)

        return recording

    with replaced_call(matrices, record):
        inputs() if callable(inputs) else model.backbone(inputs, training=False)
    changed = 0
    for block in blocks:
        for source, targets in _groups(block):
            if id(targets[0]) in energy:
                seen = energy.pop(id(targets[0]))  # a block that occurs twice is changed once
                _even_out(source, targets, seen, strength, block.config.size_per_head)
                changed += 1
    return changed


def _matrices(block) -> list:
    attention = block.attention
    first = [attention.query, attention.output_projection]
    if is_dense(block):
        first += [block.ffn.up, block.ffn.down]
    if block.cross_attention is not None:
        first.append(block.cross_attention.output_projection)
    return first


def _groups(block) -> Iterator[tuple]:
    """(layer whose outputs are scaled, dense layers that read them), the latter by their input."""
    attention, ffn = block.attention, block.ffn
    if block.config.norm_position != "post":  # there the norm's output is the residual as well
        first = [attention.query, attention.key, attention.value]
        second = [ffn.up, ffn.gate] if is_dense(block) else []
        second = [dense for dense in second if dense is not None]
        first += second if block.config.shared_norm else []
        for norm, dense in ((block.attention_norm, first), (block.ffn_norm, second)):
            # The factors go into the gain, which all that reads the norm must make up for.
            shared = block.config.shared_norm and not is_dense(block)
            if norm is not None and dense and block.config.norm_scale and not shared:
                yield norm, dense
    yield attention.value, [attention.output_projection]
    if block.cross_attention is not None:
        yield block.cross_attention.value, [block.cross_attention.output_projection]
    if is_dense(block) and ffn.gate is not None:
        yield ffn.up, [ffn.down]


def _even_out(source, targets, energy, strength, head_dim) -> None:
    """Divide the source's outputs by a factor a channel, and multiply the targets' rows by it.

    Where H query heads share K value heads, a channel of the source has H/K rows.

    Args:
        energy: of each row's activations, the sum of squares.
    """
    from modelzoo.layers.norms import UnitOffsetRMSNormalization

    kernels = [np.asarray(dense.kernel) for dense in targets]
    rows, width = kernels[0].shape[0], source.weights[0].shape[-1]
    of_channel = np.arange(rows)[None]
    if rows != width:
        of_channel = np.arange(rows).reshape(width // head_dim, rows // width, head_dim)
        of_channel = of_channel.transpose(1, 0, 2).reshape(-1, width)
    weights = sum(np.square(kernel).sum(axis=1) for kernel in kernels)
    weights, seen = (
        np.maximum(np.sqrt(each[of_channel].sum(axis=0)), _TINY) for each in (weights, energy)
    )
    factors = seen**strength / weights ** (1 - strength)
    factors = (factors / np.exp(np.log(factors).mean())).astype(np.float32)

    offset = 1.0 if isinstance(source, UnitOffsetRMSNormalization) else 0.0
    for weight in source.weights:
        weight.assign((np.asarray(weight) + offset) / factors - offset)
    spread = np.empty(rows, np.float32)
    spread[of_channel] = factors
    for dense, kernel in zip(targets, kernels, strict=True):
        dense.kernel.assign(kernel * spread[:, None])
