"""A decoder that reads an image as if it were text: LLaVA, SmolVLM.

B images, N vectors of the image part, P vectors that the decoder reads for an image, T tokens.
"""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import count_up
from modelzoo.backbones.fusion import Fusion, sequence_length, sequence_of
from modelzoo.errors import RecipeError
from modelzoo.layers.dense import projection
from modelzoo.layers.positions import sine_positions
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class PrefixDecoder(Fusion):
    """An image part, a projector, and a `Decoder` to whom P projected vectors are tokens.

    Args:
        image, decoder: backbones; the second is a `Decoder`.
        projector: `"linear"`, or `"mlp"` of two layers with a GELU between.
        projector_bias: whether its matrices have biases.
        pixel_shuffle: r: each r x r square of image vectors becomes one, r * r times as wide.
        image_token: the id that stands P times where an image belongs. `None`: an image comes
            before all tokens, which do not mention it.

    Call: `{"images": (B, H, W, 3), "token_ids": (B, T), "padding_mask": (B, T)}`, the mask
    optional -> hidden states (B, T, hidden_dim) of the tokens.

    Attributes:
        image_tokens: P, the positions of the window that an image takes.

    On a device `prefill_image` writes an image into the cache, and `step` goes on after it.
    """

    PARTS = ("image", "decoder")

    def __init__(
        self,
        image: keras.Model,
        decoder: keras.Model,
        projector: str = "linear",
        projector_bias: bool = True,
        pixel_shuffle: int = 1,
        image_token: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        policy, stddev = self.dtype_policy, decoder.config.initializer_range
        self.image, self.decoder = image, decoder
        self.config, self.hidden_dim = decoder.config, decoder.config.hidden_dim
        self.vocab_size, self.max_length = decoder.vocab_size, decoder.max_length
        self.processing = image.processing
        self.pixel_shuffle, self.image_token = pixel_shuffle, image_token
        self._grid, self.image_tokens = _grid(image, pixel_shuffle)
        if self.image_tokens >= self.max_length:
            raise RecipeError(
                f"an image takes {self.image_tokens} tokens, and the decoder's window has "
                f"{self.max_length}",
                next_step="raise model.decoder.model.max_length, or model.pixel_shuffle",
            )
        if image_token is not None and not 0 <= image_token < self.vocab_size:
            raise RecipeError(
                f"image_token {image_token} is outside the vocabulary of {self.vocab_size}"
            )

        # === Layers ===
        def dense(name, **options):
            return projection(
                self.hidden_dim,
                stddev,
                use_bias=projector_bias,
                dtype=policy,
                name=name,
                **options,
            )

        if projector == "mlp":
            self.projector = [dense("projector_in", activation="gelu"), dense("projector_out")]
        else:
            self.projector = [dense("projector")]
        self.build()

    def build(self, input_shape=None) -> None:
        width = self.image.hidden_dim * self.pixel_shuffle**2
        for layer in self.projector:
            layer.build((None, None, width))
            width = self.hidden_dim
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        token_ids, mask = inputs["token_ids"], inputs.get("padding_mask")
        vectors = self.vectors(inputs["images"], training)
        positions = count_up(token_ids)
        if self.image_token is not None:
            x = self.decoder.embedding(token_ids, positions, training=training)
            here = ops.equal(token_ids, self.image_token)
            number = ops.cumsum(ops.cast(here, "int32"), axis=1) - 1  # which vector stands here
            number = ops.expand_dims(ops.clip(number, 0, self.image_tokens - 1), -1)
            placed = self._placed(ops.take_along_axis(vectors, number, axis=1), positions)
            x = ops.where(ops.expand_dims(here, -1), placed, x)
            return self.decoder.stack(x, padding_mask=mask, training=training)
        own = count_up(vectors)
        text = self.decoder.embedding(token_ids, positions + self.image_tokens, training=training)
        x = ops.concatenate([self._placed(vectors, own), text], axis=1)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            seen = ops.ones_like(ops.repeat(mask[:, :1], self.image_tokens, axis=1))
            mask = ops.concatenate([seen, mask], axis=1)
        return self.decoder.stack(x, padding_mask=mask, training=training)[:, self.image_tokens :]

    def vectors(self, images, training=None) -> Tensor:
        """Images (B, H, W, 3) -> (B, P, hidden_dim), what the decoder reads for them."""
        x = sequence_of(self.image, images, training)
        if self.pixel_shuffle > 1:
            x = pixel_shuffle(x[:, x.shape[1] - self._grid[0] * self._grid[1] :], *self._grid,
                              self.pixel_shuffle)  # fmt: skip
        for layer in self.projector:
            x = layer(x)
        return x

    def _placed(self, vectors, positions):
        """Vectors (B, P, hidden_dim) where they stand, as `TextEmbedding` does it to tokens."""
        embedding = self.decoder.embedding
        if embedding.learned is not None:
            vectors = vectors + embedding.learned(positions)
        if embedding.sine:
            vectors = vectors + sine_positions(positions, self.hidden_dim, vectors.dtype)
        return vectors if embedding.norm is None else embedding.norm(vectors)

    def logits(self, hidden) -> Tensor:
        """(B, T, hidden_dim) -> (B, T, vocab_size)."""
        return self.decoder.logits(hidden)

    def init_cache(self, batch_size: int, max_length: int) -> dict:
        """An empty cache for `max_length` positions, those of the image among them."""
        return self.decoder.init_cache(batch_size, max_length)

    def prefill_image(self, images, positions, cache: dict) -> dict:
        """The cache with images (B, H, W, 3) in it, at consecutive `positions` (B, P)."""
        x = self._placed(self.vectors(images, False), positions)
        return self.decoder.stack.step(x, positions, cache)[1]

    def step(self, token_ids, positions, cache: dict) -> tuple:
        """Run T tokens at consecutive `positions`, both (B, T); see `Decoder.step`."""
        return self.decoder.step(token_ids, positions, cache)


def pixel_shuffle(x, height: int, width: int, r: int) -> Tensor:
    """(B, height * width, D) -> (B, height * width / r², D * r²): squares of r x r become one.

    Within a new vector the r rows come one after another, each from left to right (Shi et al.
    2016, space to depth).

    >>> x = ops.reshape(ops.arange(16), (1, 16, 1))
    >>> ops.convert_to_numpy(pixel_shuffle(x, 4, 4, 2))[0, 0].tolist()
    [0, 1, 4, 5]
    """
    depth = x.shape[-1]
    x = ops.reshape(x, (-1, height // r, r, width // r, r * depth))
    x = ops.transpose(x, (0, 1, 3, 2, 4))
    return ops.reshape(x, (-1, (height // r) * (width // r), r * r * depth))


def _grid(image: keras.Model, r: int) -> tuple[tuple[int, int], int]:
    """Rows and columns of an image part's vectors, and how many of them a decoder reads."""
    length = sequence_length(image)
    if r == 1:
        return (1, length), length
    height, width = image.processing["image"]["size"]
    patch = getattr(image, "patch_size", None)
    rows, columns = (height // patch, width // patch) if patch else (int(length**0.5),) * 2
    if rows % r or columns % r:
        raise RecipeError(
            f"pixel_shuffle {r} does not divide the {rows} x {columns} patches of the image"
        )
    return (rows, columns), rows * columns // r**2
