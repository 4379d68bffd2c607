"""A decoder that looks at an image while it writes: image encoder and cross-attention."""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.backbones.base import count_up, transformer_config
from modelzoo.backbones.fusion import Fusion, sequence_length, sequence_of
from modelzoo.backbones.memory_decoder import MemoryDecoder
from modelzoo.layers.dense import projection
from modelzoo.layers.embedding import TextEmbedding, TokenEmbedding
from modelzoo.layers.positions import LearnedPositions
from modelzoo.layers.stack import TransformerStack
from modelzoo.signature import Tensor


@keras.saving.register_keras_serializable("modelzoo")
class Captioner(MemoryDecoder, Fusion):
    """An image part, and a causal stack whose blocks each attend to its vectors.

    Call: `{"images": (B, H, W, 3), "token_ids": (B, T), "padding_mask": (B, T)}`, the mask
    optional -> hidden states (B, T, hidden_dim); `logits` turns those into (B, T, vocab_size).

    Args (the others as in `architectures.captioner.build`):
        image: a backbone whose `sequence` (B, P, D) the text attends to.
        image_positions: add a trained vector to each of the P places.
        image_summary: number of further vectors, each made of all places side by side.

    Attributes:
        image_vectors: S, the number of the image's vectors that the text attends to.

    On a device `encode` reads the image once, and `step` runs tokens over what came of it.
    """

    PARTS = ("image",)
    image_tokens = 0  # positions of the text's window that an image takes

    def __init__(
        self,
        config,
        image: keras.Model,
        vocab_size: int,
        num_layers: int,
        max_length: int,
        positions: str = "learned",
        final_norm: bool = True,
        tie_embeddings: bool = True,
        image_positions: bool = False,
        image_summary: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy, stddev = self.dtype_policy, config.initializer_range
        self.config, self.vocab_size, self.max_length = config, vocab_size, max_length
        self.hidden_dim, self.processing = config.hidden_dim, image.processing

        # === Layers ===
        self.image, self.places = image, sequence_length(image)
        self.image_summary, self.image_vectors = image_summary, self.places + image_summary
        self.bridge = self.places_embedding = self.summary = None
        if image_positions:
            self.places_embedding = LearnedPositions(
                self.places,
                config.hidden_dim,
                initializer_range=stddev,
                dtype=policy,
                name="image_positions",
            )
        if image_summary:
            self.summary = projection(
                image_summary * config.hidden_dim, stddev, dtype=policy, name="image_summary"
            )
        if image.hidden_dim != config.hidden_dim:
            self.bridge = projection(config.hidden_dim, stddev, dtype=policy, name="bridge")
        self.tokens = TokenEmbedding(
            vocab_size, config.hidden_dim, stddev, dtype=policy, name="tokens"
        )
        self.decoder_embedding = TextEmbedding(
            config, self.tokens, positions, max_length, dtype=policy, name="embedding"
        )
        self.decoder = TransformerStack(
            config,
            num_layers,
            causal=True,
            cross_attention=True,
            final_norm=final_norm,
            dtype=policy,
            name="decoder",
        )
        self.head = None
        if not tie_embeddings:
            self.head = projection(vocab_size, stddev, use_bias=False, dtype=policy, name="head")
        self.build()

    def build(self, input_shape=None) -> None:
        if self.bridge is not None:
            self.bridge.build((None, None, self.image.hidden_dim))
        if self.places_embedding is not None:
            self.places_embedding.build()
        if self.summary is not None:
            self.summary.build((None, self.places * self.image.hidden_dim))
        self.decoder_embedding.build()
        self.decoder.build()
        if self.head is not None:
            self.head.build((None, None, self.hidden_dim))
        self.built = True

    def call(self, inputs, training=None) -> Tensor:
        token_ids = inputs["token_ids"]
        x = self.decoder_embedding(token_ids, count_up(token_ids), training=training)
        return self.decoder(
            x,
            padding_mask=inputs.get("padding_mask"),
            encoded=self._see(inputs["images"], training),
            training=training,
        )

    def _see(self, images, training=None):
        """(B, H, W, 3) -> (B, S, hidden_dim), what the text attends to."""
        places = x = sequence_of(self.image, images, training)
        if self.bridge is not None:
            x = self.bridge(x)
        if self.places_embedding is not None:
            x = x + self.places_embedding(count_up(x))
        if self.summary is not None:
            flat = ops.reshape(places, (-1, self.places * self.image.hidden_dim))
            summary = ops.reshape(self.summary(flat), (-1, self.image_summary, self.hidden_dim))
            x = ops.concatenate([summary, x], axis=1)
        return x

    def encode(self, images) -> dict:
        """Images (B, H, W, 3) as cross-attention keys and values: cross_k_i, cross_v_i."""
        return self.decoder.project_memory(self._see(images, False))
