"""An image as a sequence of vectors: one a patch, and where it stands.

B batch, H and W the image's sides, P a patch's, h = H // P and w = W // P, D width.
"""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.layers.dense import normal
from modelzoo.signature import Tensor


class PatchEmbedding(keras.layers.Layer):
    """A linear layer over each patch of an image (Dosovitskiy et al. 2021, equation 1).

    What is left of the image beside whole patches is not looked at, as in a convolution of that
    stride. The kernel is (P along W, P along H, channels, D): a checkpoint's, turned round.

    Args:
        patch_size: P.
        hidden_dim: D.
        frames: of a kernel that sees so many frames of a film at once; a still image counts as that
            many equal ones (ImageBind, Girdhar et al. 2023).

    Call: images (B, H, W, channels), H and W static -> (B, h * w, D), row by row.

    Example:
        >>> PatchEmbedding(4, 8)(ops.zeros((1, 9, 8, 3))).shape[1:]
        TensorShape([4, 8])
    """

    def __init__(
        self,
        patch_size: int,
        hidden_dim: int,
        use_bias: bool = True,
        channels: int = 3,
        frames: int = 1,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if patch_size < 1:
            raise RecipeError(f"patch_size must be at least 1, not {patch_size}")
        self.patch_size, self.hidden_dim, self.use_bias = patch_size, hidden_dim, use_bias
        self.channels, self.frames, self.initializer_range = channels, frames, initializer_range

    def build(self, input_shape=None) -> None:
        shape = (self.patch_size, self.patch_size, self.channels, self.hidden_dim)
        self.kernel = self.add_weight(
            shape=shape if self.frames == 1 else (self.frames, *shape),
            initializer=normal(self.initializer_range),
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.hidden_dim,), initializer="zeros", name="bias")
        self.built = True

    def call(self, images) -> Tensor:
        size, (height, width) = self.patch_size, images.shape[1:3]
        rows, columns = height // size, width // size
        numbers = size * size * self.channels
        x = images[:, : rows * size, : columns * size]
        # Four axes at most, which every device can transpose: (B h, P, w P, C) -> (B h, w P, P, C).
        x = ops.reshape(x, (-1, size, columns * size, self.channels))
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, rows * columns, numbers))
        kernel = ops.convert_to_tensor(self.kernel)
        if self.frames > 1:
            kernel = ops.sum(kernel, axis=0)
        kernel = ops.cast(ops.reshape(kernel, (numbers, self.hidden_dim)), self.compute_dtype)
        x = ops.matmul(x, kernel)
        return x if self.bias is None else x + ops.cast(self.bias, x.dtype)


class PatchPositions(keras.layers.Layer):
    """A class token before the patches, where there is one, and a trained vector for each place.

    Args:
        grid: (h, w).
        class_token: whether there is one, at place 0.

    Call: (B, h * w, D) -> (B, T, D), T = h * w and one more with a class token.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        hidden_dim: int,
        class_token: bool = True,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.grid, self.hidden_dim, self.has_class_token = tuple(grid), hidden_dim, class_token
        self.initializer_range = initializer_range

    @property
    def length(self) -> int:
        """T, the vectors of an image."""
        return self.grid[0] * self.grid[1] + self.has_class_token

    def build(self, input_shape=None) -> None:
        start, width = normal(self.initializer_range), self.hidden_dim
        self.class_token = None
        if self.has_class_token:
            self.class_token = self.add_weight(
                shape=(width,), initializer=start, name="class_token"
            )
        self.embeddings = self.add_weight(
            shape=(self.length, width), initializer=start, name="embeddings"
        )
        self.built = True

    def call(self, x) -> Tensor:
        if self.class_token is not None:
            token = ops.cast(ops.reshape(self.class_token, (1, 1, -1)), x.dtype)
            # Zeros of the patches' own shape, so that the batch need not be known.
            x = ops.concatenate([ops.zeros_like(x[:, :1]) + token, x], axis=1)
        return x + ops.cast(ops.expand_dims(self.embeddings, 0), x.dtype)
