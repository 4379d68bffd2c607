"""A film as a sequence of vectors: the patches of each frame, one frame after another.

B batch, F frames, H and W their sides, P patches of a frame, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from modelzoo.errors import DataError, RecipeError
from modelzoo.layers.frontends.images import HALF, ImageNormalization
from modelzoo.layers.frontends.patches import PatchEmbedding, PatchPositions
from modelzoo.layers.positions import LearnedPositions
from modelzoo.signature import Tensor


class FrameEmbedding(keras.layers.Layer):
    """Normalised patches, plus a trained vector for their place and one for their frame's number.

    Args:
        size: (H, W).
        patch_size: a patch's side; the last pixels that fill no patch are not read.
        num_frames: the most frames.
        hidden_dim: D.
        use_bias: of the linear layer over the patches.
        mean, std: of red, green and blue, between 0 and 1.

    Call: frames (B, F, H, W, 3), 0 to 255, H and W static; F may be 0 -> (B, F * P, D).

    Attributes:
        patches_per_frame: P.

    Raises:
        RecipeError: a frame without a patch, or no frame.
        DataError: frames of another size, or more than `num_frames`.

    Example:
        >>> FrameEmbedding((8, 8), 4, 2, 16)(ops.zeros((1, 2, 8, 8, 3), "uint8")).shape
        TensorShape([1, 8, 16])
    """

    def __init__(
        self,
        size: tuple[int, int],
        patch_size: int,
        num_frames: int,
        hidden_dim: int,
        use_bias: bool = True,
        mean: Sequence[float] = HALF,
        std: Sequence[float] = HALF,
        initializer_range: float = 0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 1 <= patch_size <= min(size):
            raise RecipeError(
                f"a frame of {size[0]} x {size[1]} has no patch of {patch_size} x {patch_size}",
                next_step="choose a smaller patch_size, or a larger image_size",
            )
        if num_frames < 1:
            raise RecipeError(f"num_frames must be at least 1, not {num_frames}")
        self.size, self.num_frames, self.hidden_dim = tuple(size), num_frames, hidden_dim
        policy, grid = self.dtype_policy, tuple(side // patch_size for side in size)
        self.patches_per_frame = grid[0] * grid[1]
        self.normalization = ImageNormalization(mean, std, dtype=policy, name="normalization")
        self.patches = PatchEmbedding(
            patch_size,
            hidden_dim,
            use_bias,
            initializer_range=initializer_range,
            dtype=policy,
            name="patches",
        )
        self.places = PatchPositions(
            grid, hidden_dim, False, initializer_range, dtype=policy, name="places"
        )
        self.numbers = LearnedPositions(
            num_frames, hidden_dim, 0, initializer_range, dtype=policy, name="numbers"
        )

    def build(self, input_shape=None) -> None:
        for layer in (self.patches, self.places, self.numbers):
            layer.build()
        self.built = True

    def call(self, frames) -> Tensor:
        self._check(tuple(frames.shape))
        rows, count = ops.shape(frames)[:2]  # never -1: F may be 0
        x = self.normalization(ops.reshape(frames, (-1, *self.size, 3)))
        x = ops.reshape(
            self.places(self.patches(x)), (rows, count, self.patches_per_frame, self.hidden_dim)
        )
        numbers = self.numbers(ops.expand_dims(ops.arange(count, dtype="int32"), 0))
        x = x + ops.expand_dims(numbers, 2)
        return ops.reshape(x, (rows, count * self.patches_per_frame, self.hidden_dim))

    def _check(self, shape: tuple) -> None:
        if len(shape) != 5 or shape[2:] != (*self.size, 3):
            raise DataError(
                f"expected frames (batch, frames, {self.size[0]}, {self.size[1]}, 3), got {shape}",
                next_step="modelzoo.runtime.media.videos.prepare_video makes them of a video; an "
                "image is a video of one frame",
            )
        if shape[1] is not None and shape[1] > self.num_frames:
            raise DataError(
                f"expected at most {self.num_frames} frames, got {shape[1]}",
                next_step="choose some of them, or build the model with a larger num_frames",
            )
