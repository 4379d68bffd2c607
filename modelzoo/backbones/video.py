"""Videos as frames: an image encoder for each, and what becomes of them in time."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import pooled_width, transformer_config
from modelzoo.backbones.fusion import Fusion
from modelzoo.errors import DataError, RecipeError, check_choice
from modelzoo.layers.attention_pooling import AttentionPooling
from modelzoo.layers.pooling import FRAME_POOLINGS
from modelzoo.layers.positions import LearnedPositions
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor

# What the image part gives is normalised; the place of a frame must be heard beside it.
_PLACE_RANGE = 0.5


@keras.saving.register_keras_serializable("modelzoo")
class VideoEncoder(Fusion):
    """One vector a frame, their order, some blocks over time, and one vector of all.

    The image part with `pooling="mean"` and no blocks is the average of frames, which knows no
    order; else each frame has a trained vector for its place (Bertasius et al. 2021; the factorised
    encoder of Arnab et al. 2021).

    Args:
        config: of the blocks over time; its `hidden_dim` is the image part's.
        num_frames: F, the most that the model sees.
        num_layers: blocks over time.
        pooling: `"mean"`, or what a trained query finds by `"attention"`.

    Call: `{"frames": (B, F, H, W, 3)}` or the frames alone, uint8 or float, 0 to 255, one frame or
    more -> `sequence` (B, F, hidden_dim) and `pooled` (B, hidden_dim).
    """

    PARTS = ("image",)

    def __init__(
        self,
        config,
        image: keras.Model,
        num_frames: int = 8,
        num_layers: int = 0,
        pooling: str = "attention",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy, width = self.dtype_policy, config.hidden_dim
        self._check(image, width, num_frames, num_layers, pooling)
        self.config, self.hidden_dim, self.max_length = config, width, None
        self.num_frames = num_frames
        self.processing = {
            "image": image.processing["image"],
            "video": {"num_frames": num_frames},
        }

        # === Layers ===
        self.image = image
        self.positions = self.stack = self.attention_pooling = None
        if num_layers or pooling == "attention":
            self.positions = LearnedPositions(
                num_frames,
                width,
                initializer_range=_PLACE_RANGE,
                dtype=policy,
                name="positions",
            )
        if num_layers:
            self.stack = TransformerStack(config, num_layers, dtype=policy, name="stack")
        if pooling == "attention":
            self.attention_pooling = AttentionPooling(
                config, dtype=policy, name="attention_pooling"
            )
        self.build()

    @staticmethod
    def _check(image, width, num_frames, num_layers, pooling) -> None:
        if frame_width(image) != width:
            raise RecipeError(f"model.image gives {image.hidden_dim} numbers, not {width}")
        if num_frames < 1 or num_layers < 0:
            raise RecipeError(f"there are no {num_frames} frames, or {num_layers} layers")
        check_choice("pooling", pooling, FRAME_POOLINGS)

    def build(self, input_shape=None) -> None:
        for layer in (self.positions, self.stack, self.attention_pooling):
            if layer is not None:
                layer.build((None, None, self.hidden_dim))
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        frames = inputs["frames"] if isinstance(inputs, dict) else inputs
        self._check_frames(tuple(frames.shape))
        count = frames.shape[1]
        x = ops.reshape(frames, (-1, *frames.shape[2:]))  # each frame is an image
        x = self.image(x, training=bool(training) and self.image.trainable)["pooled"]
        x = ops.reshape(x, (-1, count, self.hidden_dim))
        if self.positions is not None:
            x = x + self.positions(ops.expand_dims(ops.arange(count, dtype="int32"), 0))
        if self.stack is not None:
            x = self.stack(x, training=training)
        if self.attention_pooling is not None:
            pooled = self.attention_pooling(x, training=training)
        else:
            pooled = ops.mean(x, axis=1)
        return {"sequence": x, "pooled": pooled}

    def _check_frames(self, shape: tuple) -> None:
        if len(shape) != 5 or not shape[1]:
            raise DataError(
                f"the model takes frames (batch, frames, height, width, channels), not {shape}",
                next_step="modelzoo.runtime.media.videos.prepare_video makes them of a film",
            )
        if self.positions is not None and shape[1] > self.num_frames:
            raise DataError(
                f"the model sees {self.num_frames} frames, and these are {shape[1]}",
                next_step="choose some of them, or build it with a larger num_frames",
            )


def frame_width(image: keras.Model) -> int:
    """Numbers that a part makes of a frame.

    Raises:
        RecipeError: it reads no images.
    """
    if "image" not in (getattr(image, "processing", None) or {}):
        raise RecipeError(
            f"model.image reads no images: it is a {type(image).__name__}",
            next_step='name one that does, recipe = "vit-tiny"',
        )
    return pooled_width(image)
