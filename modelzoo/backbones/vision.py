"""Vision transformers: ViT, DeiT, DINOv2, BEiT, and the image towers of CLIP and SigLIP."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import Backbone, transformer_config
from modelzoo.backbones.image_inputs import image_input, image_processing, sides
from modelzoo.errors import RecipeError, check_choice
from modelzoo.layers.attention_pooling import AttentionPooling
from modelzoo.layers.frontends.images import HALF, ImageNormalization
from modelzoo.layers.frontends.patches import PatchBias, PatchEmbedding, PatchPositions
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
        pooling: what stands for the image: the class token, the mean of the patches (without
            trained tokens), or what a trained query finds (SigLIP); `"cls_mean"` is the first two
            side by side (DINOv2), `"cls_distillation"` both trained tokens (DeiT).
        norm: `"sequence"` normalises what leaves the last block, `"pooled"` only what is pooled of
            it (CLIP), `"none"` nothing.
        distillation_token: a second trained token after the class token (DeiT).
        positions: `"learned"`, a vector for each place, or `"none"`.
        relative_positions: a bias on attention by distance, `"shared"` by all layers or one for
            `"each"` (BEiT); see `PatchBias`.
        image_mean, image_std: of each channel, of pixels between 0 and 1.
        resize, resize_to, interpolation: how an image of another size is brought to this one; see
            `processing`.

    Call: `{"images": (B, H, W, 3)}` or the images alone, uint8 or float, 0 to 255 -> `sequence`
    (B, T, hidden_dim), T the patches row by row, the trained tokens first, and `pooled`
    (B, pooled_dim).

    Attributes:
        pooled_dim: `hidden_dim`, and twice that where two vectors stand side by side.
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
        distillation_token: bool = False,
        positions: str = "learned",
        relative_positions: str = "none",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy, width = self.dtype_policy, config.hidden_dim
        self.config, self.hidden_dim, self.max_length = config, width, None
        self.image_size, self.patch_size = sides(image_size), patch_size
        self.pooling, self.norm_place = pooling, norm
        self.pooled_dim = 2 * width if pooling in ("cls_mean", "cls_distillation") else width
        _check(pooling, cls_token, distillation_token, norm, positions, relative_positions)
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
            grid,
            width,
            cls_token,
            stddev,
            distillation_token,
            learned=positions == "learned",
            dtype=policy,
            name="positions",
        )
        each = [f"relative_bias_{i}" for i in range(num_layers)]
        names = {"none": [], "shared": ["relative_bias"], "each": each}[relative_positions]
        self.relative_biases = [
            PatchBias(grid, config.num_heads, stddev, dtype=policy, name=name) for name in names
        ]
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
        for bias in self.relative_biases:
            bias.build()
        for layer in (self.embedding_norm, self.stack, self.attention_pooling):
            if layer is not None:
                layer.build((None, None, self.hidden_dim))
        if self.pooled_norm is not None:
            self.pooled_norm.build((None, self.pooled_dim))
        self.built = True

    def call(self, inputs, training=None) -> dict[str, Tensor]:
        images = image_input(inputs, self.image_size)
        x = self.positions(self.patches(self.normalization(images)))
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        biases = [bias(x) for bias in self.relative_biases]
        x = self.stack(self.dropout(x, training=training), biases=biases, training=training)
        pooled = self._pool(x, training)
        if self.pooled_norm is not None:
            pooled = self.pooled_norm(pooled)
        return {"sequence": x, "pooled": pooled}

    def _pool(self, x, training):
        if self.pooling == "attention":
            return self.attention_pooling(x, training=training)
        if self.pooling == "cls":
            return x[:, 0]
        if self.pooling == "cls_distillation":
            return ops.concatenate([x[:, 0], x[:, 1]], axis=-1)
        mean = ops.mean(x[:, self.positions.num_tokens :], axis=1)
        return mean if self.pooling == "mean" else ops.concatenate([x[:, 0], mean], axis=-1)


# === What other backbones that see share ===


def _check(pooling, cls_token, distillation_token, norm, positions, relative_positions) -> None:
    check_choice("pooling", pooling, IMAGE_POOLINGS)
    check_choice("positions", positions, ("learned", "none"))
    check_choice("relative_positions", relative_positions, ("none", "shared", "each"))
    needed = {
        f'pooling "{pooling}"': pooling.startswith("cls"),
        f'relative_positions "{relative_positions}"': relative_positions != "none",
        "a distillation token": distillation_token,
    }
    for what, needs_token in needed.items():
        if needs_token and not cls_token:
            raise RecipeError(
                f"{what} needs a class token",
                next_step='set cls_token = true, or pooling = "mean"',
            )
    if distillation_token and relative_positions != "none":
        raise RecipeError("relative_positions have no place for a distillation token")
    if pooling == "cls_distillation" and not distillation_token:
        raise RecipeError(
            'pooling "cls_distillation" needs a distillation token',
            next_step='set distillation_token = true, or pooling = "cls"',
        )
    if norm not in ("sequence", "pooled", "none"):
        raise RecipeError(f"norm {norm!r} is not one of sequence, pooled, none")
