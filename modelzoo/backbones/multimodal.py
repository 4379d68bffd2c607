"""An encoder that reads images, videos and text as one sequence, and a decoder that writes.

B batch, F frames, P patches of a frame, S tokens of the source, T tokens of the target.
"""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import count_up
from modelzoo.backbones.encoder_decoder import EncoderDecoder
from modelzoo.backbones.image_inputs import image_processing, sides
from modelzoo.errors import DataError
from modelzoo.layers.embedding import TokenEmbedding
from modelzoo.layers.frontends.frames import FrameEmbedding
from modelzoo.layers.frontends.images import HALF

# Rows of the type embedding: what a vector of the encoder's sequence comes from.
_TEXT, _IMAGE, _VIDEO = range(3)


@keras.saving.register_keras_serializable("modelzoo")
class MultimodalEncoderDecoder(EncoderDecoder):
    """An `EncoderDecoder` whose source may begin with the patches of an image or a video.

    The encoder reads the patches of all frames, then the tokens, which keep positions of their own.
    A trained vector for its type is added to each: text, image or video. An image is a video of one
    frame; see `FrameEmbedding` for the other vectors of a patch.

    Args (the others as in `EncoderDecoder`):
        image_size: a side of a frame in pixels, or (H, W).
        patch_size: a patch's side.
        num_frames: the most frames of a video.
        image_mean, image_std: of each channel, of pixels between 0 and 1.
        resize, resize_to, interpolation: how an image of another size is brought to this one.

    Call: `{"token_ids": (B, S), "padding_mask": (B, S), "frames": (B, F, H, W, 3), "frame_mask":
    (B, F), "decoder_token_ids": (B, T), "decoder_padding_mask": (B, T)}` -> hidden states
    (B, T, hidden_dim). Masks are optional. Without `frames`, or with F = 0, the source is text
    alone. Frames whose mask is 0 change nothing.

    Attributes:
        processing: `{"image": {...}, "video": {"num_frames": ...}}`.
        patches_per_frame: P.

    Raises:
        RecipeError: a frame without a patch, or no frame.
        DataError: frames of another size, more frames than `num_frames`, or an image in the place
            of tokens.

    Example:
        >>> from modelzoo.architectures.multimodal import build
        >>> model = build(num_layers=1, hidden_dim=32, num_heads=2, vocab_size=99, image_size=32)
        >>> frames = ops.zeros((1, 1, 32, 32, 3), "uint8")
        >>> memory = model.encode(ops.zeros((1, 5), "int32"), frames=frames)
        >>> model.patches_per_frame, memory["memory_mask"].shape
        (4, TensorShape([1, 9]))
    """

    def __init__(
        self,
        *args,
        image_size=224,
        patch_size: int = 16,
        num_frames: int = 8,
        image_mean=HALF,
        image_std=HALF,
        resize: str = "squash",
        resize_to: int | None = None,
        interpolation: str = "bicubic",
        **kwargs,
    ):
        # Before the constructor of `EncoderDecoder`, which calls `build`.
        self._seen = {
            "image_size": image_size,
            "patch_size": patch_size,
            "num_frames": num_frames,
            "image_mean": image_mean,
            "image_std": image_std,
            "resize": resize,
            "resize_to": resize_to,
            "interpolation": interpolation,
        }
        super().__init__(*args, **kwargs)
        self._options = {**self._options, **self._seen}
        image = image_processing(sides(image_size), resize, resize_to, interpolation)
        self.processing = {"image": image, "video": {"num_frames": num_frames}}
        self.num_frames, self.patches_per_frame = num_frames, self.frames.patches_per_frame

    def build(self, input_shape=None) -> None:
        config, policy, seen = self.config, self.dtype_policy, self._seen
        self.frames = FrameEmbedding(
            sides(seen["image_size"]),
            seen["patch_size"],
            seen["num_frames"],
            config.hidden_dim,
            config.ffn_bias,
            seen["image_mean"],
            seen["image_std"],
            config.initializer_range,
            dtype=policy,
            name="frames",
        )
        self.types = TokenEmbedding(
            3, config.hidden_dim, config.initializer_range, dtype=policy, name="types"
        )
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.frames.build()
        self.types.build()
        super().build()

    def _read(self, inputs, training) -> tuple:
        token_ids, mask = inputs["token_ids"], inputs.get("padding_mask")
        for name in ("token_ids", "decoder_token_ids"):
            if name in inputs and len(inputs[name].shape) != 2:
                raise DataError(
                    f"expected {name} (batch, tokens), got {tuple(inputs[name].shape)}",
                    next_step="images and videos are `frames` of the source; a target is text",
                )
        mask = ops.ones_like(token_ids) if mask is None else mask
        mask, kind = ops.cast(mask, "bool"), ops.full((1, 1), _TEXT, "int32")
        x = self.encoder_embedding(token_ids, count_up(token_ids), training=training)
        x = x + self.types(kind)
        frames = inputs.get("frames")
        if frames is not None:
            patches, seen = self._patches(frames, inputs.get("frame_mask"), training)
            x, mask = ops.concatenate([patches, x], 1), ops.concatenate([seen, mask], 1)
        return self.encoder(x, padding_mask=mask, training=training), mask

    def _patches(self, frames, mask, training) -> tuple:
        """Frames (B, F, H, W, 3) as vectors (B, F * P, hidden_dim), and a mask (B, F * P)."""
        x = self.frames(frames)
        mask = ops.ones_like(frames[:, :, 0, 0, 0]) if mask is None else mask
        counted = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
        x = x + self.types(ops.where(counted > 1, _VIDEO, _IMAGE))
        seen = ops.repeat(ops.cast(mask, "bool"), self.patches_per_frame, axis=1)
        return self.dropout(x, training=training), seen

    def encode(self, token_ids, padding_mask=None, frames=None, frame_mask=None) -> dict:
        """A source as cross-attention keys and values, and `memory_mask` (B, F * P + S) int32.

        Args: as in a call.
        """
        given = {"token_ids": token_ids, "padding_mask": padding_mask}
        given |= {"frames": frames, "frame_mask": frame_mask}
        encoded, mask = self._read(given, False)
        return {**self.decoder.project_memory(encoded), "memory_mask": ops.cast(mask, "int32")}
