"""Activations turned, so that none of them stands out: online Hadamard rotations.

8 bits for all of a token's activations are few where one is far larger than the rest. An orthogonal
matrix before a product and its inverse in the weights change no answer, and spread every
activation over its whole block (Ashkboos et al. 2024, QuaRot). It costs a product with a matrix of
64 x 64, so it stands only where it pays: after a gate, whose product of two numbers makes the
largest activations of a transformer, and before the head.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelzoo.exporting.quantization.calibrate import blocks_of, is_dense, replace_method

__all__ = ["ROTATION", "hadamard", "rotate", "rotate_head"]

ROTATION = "hadamard_rotation"  # in the name of a rotation's output; it stays float32
_LARGEST, _SMALLEST = 64, 8


def hadamard(size: int) -> np.ndarray:
    """An orthogonal matrix (size, size) whose numbers are all equally large; size is a power of 2.

    Sylvester's construction with the signs of the rows drawn at random: activations of one sign
    would else add up in one place.

    Example:
        >>> matrix = hadamard(4)
        >>> bool(np.allclose(matrix @ matrix.T, np.eye(4))), set(np.abs(matrix).ravel().tolist())
        (True, {0.5})
    """
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (size, 1))
    return (signs * matrix / np.sqrt(size)).astype(np.float32)


def rotate(model, skip: Callable[[str], bool] = lambda path: False) -> list[str]:
    """Rotate what enters the `down` of gated feed-forwards, in place.

    Args:
        model: a task model with transformer blocks.
        skip: for a layer's path, whether it is left as it is.

    Returns: the paths of the layers that were changed.

    Example:
        >>> small = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "vocab_size": 300}
        >>> [path] = rotate(modelzoo.build("gpt-tiny", gated=True, **small))
        >>> path.endswith("block_0/ffn/down")
        True
    """
    dense = [block.ffn for block in blocks_of(model) if is_dense(block)]
    downs = [ffn.down for ffn in dense if ffn.gate is not None]
    return [down.path for down in dict.fromkeys(downs) if _turn_input(down, skip)]


def rotate_head(model, skip: Callable[[str], bool] = lambda path: False) -> list[str]:
    """Rotate what enters the language-model head, in place, if there is one; as `rotate`.

    A tied table is turned with it, and its rows turned back where ids are looked up.
    """
    from keras.layers import Dense

    from modelzoo.layers.embedding import TokenEmbedding

    backbone = getattr(model, "backbone", None)  # a plugin's task need have none
    decoder = getattr(backbone, "decoder", None)
    backbone = decoder if hasattr(decoder, "logits") else backbone
    head = getattr(backbone, "head", None) or getattr(backbone, "tokens", None)
    turn = {Dense: _turn_input, TokenEmbedding: _turn_table}.get(type(head))
    if turn is None or not hasattr(backbone, "logits"):
        return []
    return [head.path] if turn(head, skip) else []


def _turn_input(dense, skip) -> bool:
    """x W = (x H) (H^T W)."""
    kernel = np.asarray(dense.kernel)
    matrix = _matrix_for(dense, len(kernel), skip)
    if matrix is None:
        return False
    dense.kernel.assign(_turned(kernel.T, matrix).T)
    inner, turn = dense.call, _rotation(matrix)
    replace_method(dense, "call", lambda x, *args, **kwargs: inner(turn(x), *args, **kwargs))
    return True


def _turn_table(table, skip) -> bool:
    """Rows of E H, turned back where they are looked up; and x E^T = (x H) (E H)^T."""
    rows = np.asarray(table.embeddings)
    matrix = _matrix_for(table, rows.shape[1], skip)
    if matrix is None:
        return False
    table.embeddings.assign(_turned(rows, matrix))
    look_up, logits = table.call, table.logits
    turn, turn_back = _rotation(matrix), _rotation(matrix.T)
    replace_method(table, "call", lambda token_ids: turn_back(look_up(token_ids)))
    replace_method(table, "logits", lambda x: logits(turn(x)))
    return True


def _matrix_for(layer, width: int, skip) -> np.ndarray | None:
    size = min(_LARGEST, width & -width)  # the largest power of 2 in it
    return None if size < _SMALLEST or skip(layer.path) else hadamard(size)


def _rotation(matrix: np.ndarray) -> Callable:
    """x (..., n * size) -> each block of size numbers times the matrix."""
    import tensorflow as tf

    held = tf.Variable(matrix, name=ROTATION, trainable=False)

    def turn(x):
        shape = [-1 if size is None else size for size in x.shape]
        with tf.name_scope(ROTATION):
            blocks = tf.reshape(x, [-1, len(matrix)])
            return tf.reshape(tf.matmul(blocks, tf.cast(held, x.dtype)), shape)

    return turn


def _turned(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return (rows.reshape(-1, len(matrix)) @ matrix).reshape(rows.shape)
