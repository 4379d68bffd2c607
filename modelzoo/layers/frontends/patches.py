"""An image as a sequence of vectors: one a patch, and where it stands.

B batch, H and W the image's sides, P a patch's, h = H // P and w = W // P, D width.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.layers.backend.lookup import lookup
from modelzoo.layers.dense import normal
from modelzoo.layers.positions import relative_places
from modelzoo.signature import Tensor


class PatchEmbedding(keras.layers.Layer):
    """A linear layer over each patch of an image (Dosovitskiy et al. 2021, equation 1).

    What is left of the image beside whole patches is not looked at, as in a convolution of that
    stride. The kernel is (P along W, P along H, channels, D): a checkpoint's, turned round.

    Args:
        patch_size: P.
        hidden_dim: D.
        frames: of a film, that a kernel sees at once; a still image is repeated as often
            (ImageBind, Girdhar et al. 2023).

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
    """Trained tokens before the patches, where there are some, and a trained vector for each place.

    Args:
        grid: (h, w).
        class_token: whether there is one, at place 0.
        distillation_token: whether a second one follows it (DeiT).
        learned: whether places have vectors.

    Call: (B, h * w, D) -> (B, T, D), T = h * w and one more for each token.

    Attributes:
        num_tokens: the number of trained tokens, 0 to 2.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        hidden_dim: int,
        class_token: bool = True,
        initializer_range: float = 0.02,
        distillation_token: bool = False,
        learned: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.grid, self.hidden_dim, self.learned = tuple(grid), hidden_dim, learned
        self.has_class_token, self.has_distillation_token = class_token, distillation_token
        self.num_tokens = class_token + distillation_token
        self.initializer_range = initializer_range

    @property
    def length(self) -> int:
        """T, the vectors of an image."""
        return self.grid[0] * self.grid[1] + self.num_tokens

    def build(self, input_shape=None) -> None:
        width = self.hidden_dim

        def weight(wanted, name, shape=(width,)):
            start = normal(self.initializer_range)
            return self.add_weight(shape, start, name=name) if wanted else None

        self.class_token = weight(self.has_class_token, "class_token")
        self.distillation_token = weight(self.has_distillation_token, "distillation_token")
        self.embeddings = weight(self.learned, "embeddings", (self.length, width))
        self.built = True

    def call(self, x) -> Tensor:
        tokens = [t for t in (self.class_token, self.distillation_token) if t is not None]
        # Zeros of the patches' own shape, so that the batch need not be known.
        first = [
            ops.zeros_like(x[:, :1]) + ops.cast(ops.reshape(token, (1, 1, -1)), x.dtype)
            for token in tokens
        ]
        x = ops.concatenate([*first, x], axis=1) if first else x
        if self.embeddings is None:
            return x
        return x + ops.cast(ops.expand_dims(self.embeddings, 0), x.dtype)


class PatchBias(keras.layers.Layer):
    """A trained bias for each distance of two patches, and three for the class token (BEiT).

    The rows of its table are the distances, then class token to patch, patch to class token, and
    class token to itself (Bao et al. 2021, after T5).

    Args:
        grid: (h, w).
        num_heads: H.

    Call: tokens (B, T, D), T = h * w + 1, which are not read -> (1, H, T, T) float32.

    Example:
        >>> PatchBias((2, 3), 4)(ops.zeros((1, 7, 8))).shape
        TensorShape([1, 4, 7, 7])
    """

    def __init__(
        self, grid: tuple[int, int], num_heads: int, initializer_range: float = 0.02, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_heads, self.initializer_range = num_heads, initializer_range
        self.num_distances = (2 * grid[0] - 1) * (2 * grid[1] - 1)
        self._places = np.pad(relative_places(*grid), ((1, 0), (1, 0)))
        self._places[0], self._places[:, 0] = self.num_distances, self.num_distances + 1
        self._places[0, 0] = self.num_distances + 2

    def build(self, input_shape=None) -> None:
        shape, start = (self.num_distances + 3, self.num_heads), normal(self.initializer_range)
        self.table = self.add_weight(shape, start, name="table")
        self.built = True

    def call(self, x) -> Tensor:
        length = len(self._places)
        bias = lookup(self.table, ops.convert_to_tensor(self._places.reshape(-1)))
        bias = ops.reshape(bias, (length, length, self.num_heads))
        return ops.expand_dims(ops.cast(ops.transpose(bias, (2, 0, 1)), "float32"), 0)
