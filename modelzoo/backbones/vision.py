"""Vision transformers: ViT, and the image towers of CLIP and SigLIP."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import Backbone, transformer_config
from modelzoo.backbones.image_inputs import image_input, image_processing, sides
from modelzoo.errors import RecipeError, check_choice
from modelzoo.layers.attention_pooling import AttentionPooling
from modelzoo.layers.frontends.images import HALF, ImageNormalization
from modelzoo.layers.frontends.patches import PatchEmbedding, PatchPositions
from modelzoo.layers.norms import make_norm
from modelzoo.layers.pooling import IMAGE_POOLINGS
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class VisionEncoder(Backbone):
    """Patches of an image as tokens of a bidirectional transformer (Dosovitskiy et al. 2021).

    Args:
        image_size: a side, or (H, W).
        cls_token: a trained token before the patches.
        patch_bias: of the linear layer over the patches.
        patch_frames: see `PatchEmbedding`.
        embedding_norm: normalise what enters the first block (CLIP).
        pooling: what stands for the image: the class token, the mean of the patches (without the
            class token), or what a trained query finds (SigLIP).
        norm: `"sequence"` normalises what leaves the last block, `"pooled"` only what is pooled of
            it (CLIP), `"none"` nothing.
        image_mean, image_std: of each channel, of pixels between 0 and 1.
        resize, resize_to, interpolation: how an image of another size is brought to this one; see
            `processing`.

    Call: `{"images": (B, H, W, 3)}` or the images alone, uint8 or float, 0 to 255 -> `sequence`
    (B, T, hidden_dim), T the patches row by row, the class token first, and `pooled`
    (B, hidden_dim).

    Attributes:
        processing: `{"image": {...}}`, as `runtime.media.images.prepare_image` takes it.
    """

    def __init__(
        self,
        config,
        num_layers: int,
        image_size=224,
        patch_size: int = 16,
        cls_token: bool = True,
        patch_bias: bool = True,
        patch_frames: int = 1,
        embedding_norm: bool = False,
        pooling: str = "cls",
        norm: str = "sequence",
        image_mean=HALF,
        image_std=HALF,
        resize: str = "squash",
        resize_to: int | None = None,
        interpolation: str = "bicubic",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy, width = self.dtype_policy, config.hidden_dim
        self.config, self.hidden_dim, self.max_length = config, width, None
        self.image_size, self.patch_size = sides(image_size), patch_size
        self.pooling, self.norm_place = pooling, norm
        _check(pooling, cls_token, norm)
        self.processing = {
            "image": image_processing(self.image_size, resize, resize_to, interpolation)
        }
        if patch_size < 1 or min(self.image_size) < patch_size:
            raise RecipeError(
                f"an image of {self.image_size[0]} x {self.image_size[1]} holds no patch of "
                f"{patch_size} x {patch_size}",
                next_step="take a smaller patch_size, or a larger image_size",
            )

        # === Layers ===
        stddev = config.initializer_range
        self.normalization = ImageNormalization(
            image_mean, image_std, dtype=policy, name="normalization"
        )
        self.patches = PatchEmbedding(
            patch_size,
            width,
            use_bias=patch_bias,
            channels=len(image_mean),
            frames=patch_frames,
            initializer_range=stddev,
            dtype=policy,
            name="patches",
        )
        grid = tuple(side // patch_size for side in self.image_size)
        self.positions = PatchPositions(
            grid, width, cls_token, stddev, dtype=policy, name="positions"
        )
        self.embedding_norm = self.pooled_norm = self.attention_pooling = None
        if embedding_norm:
            self.embedding_norm = make_norm(config, dtype=policy, name="embedding_norm")
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.stack = TransformerStack(
            config, num_layers, final_norm=norm == "sequence", dtype=policy, name="stack"
        )
        if pooling == "attention":
            self.attention_pooling = AttentionPooling(
                config, dtype=policy, name="attention_pooling"
            )
        if norm == "pooled":
            self.pooled_norm = make_norm(config, dtype=policy, name="pooled_norm")
        self.build()

    def build(self, input_shape=None) -> None:
        self.patches.build()
        self.positions.build()
        for layer in (self.embedding_norm, self.stack, self.attention_pooling):
            if layer is not None:
                layer.build((None, None, self.hidden_dim))
        if self.pooled_norm is not None:
            self.pooled_norm.build((None, self.hidden_dim))
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        images = image_input(inputs, self.image_size)
        x = self.positions(self.patches(self.normalization(images)))
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        x = self.stack(self.dropout(x, training=training), training=training)
        pooled = self._pool(x, training)
        if self.pooled_norm is not None:
            pooled = self.pooled_norm(pooled)
        return {"sequence": x, "pooled": pooled}

    def _pool(self, x, training):
        if self.pooling == "attention":
            return self.attention_pooling(x, training=training)
        if self.pooling == "cls":
            return x[:, 0]
        return ops.mean(x[:, 1:] if self.positions.has_class_token else x, axis=1)


# === What other backbones that see share ===


def _check(pooling: str, cls_token: bool, norm: str) -> None:
    check_choice("pooling", pooling, IMAGE_POOLINGS)
    if pooling == "cls" and not cls_token:
        raise RecipeError(
            'pooling "cls" needs a class token',
            next_step='set cls_token = true, or pooling = "mean"',
        )
    if norm not in ("sequence", "pooled", "none"):
        raise RecipeError(f"norm {norm!r} is not one of sequence, pooled, none")
