"""A decoder that looks at an image while it writes: image encoder and cross-attention."""

from __future__ import annotations

import keras

from modelzoo.backbones.base import count_up, transformer_config
from modelzoo.backbones.fusion import Fusion, sequence_length, sequence_of
from modelzoo.layers.embedding import TextEmbedding, TokenEmbedding
from modelzoo.layers.projection import projection
from modelzoo.layers.stack import TransformerStack


@keras.saving.register_keras_serializable("modelzoo")
class Captioner(Fusion):
    """An image part, and a causal stack whose blocks each attend to its vectors.

    Call: `{"images": (B, H, W, 3), "token_ids": (B, T), "padding_mask": (B, T)}`, the mask
    optional -> hidden states (B, T, hidden_dim); `logits` turns those into (B, T, vocab_size).

    Attributes:
        image_vectors: S, so many vectors of the image the text attends to.

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
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._remember(locals())
        config = transformer_config(config)
        policy, stddev = self.dtype_policy, config.initializer_range
        self.config, self.vocab_size, self.max_length = config, vocab_size, max_length
        self.hidden_dim, self.processing = config.hidden_dim, image.processing

        # === Layers ===
        self.image, self.image_vectors = image, sequence_length(image)
        self.bridge = None
        if image.hidden_dim != config.hidden_dim:
            self.bridge = projection(config.hidden_dim, stddev, dtype=policy, name="bridge")
        self.tokens = TokenEmbedding(
            vocab_size, config.hidden_dim, stddev, dtype=policy, name="tokens"
        )
        self.embedding = TextEmbedding(
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

    def build(self, input_shape=None):
        if self.bridge is not None:
            self.bridge.build((None, None, self.image.hidden_dim))
        self.embedding.build()
        self.decoder.build()
        if self.head is not None:
            self.head.build((None, None, self.hidden_dim))
        self.built = True

    def call(self, inputs, training=None):
        token_ids = inputs["token_ids"]
        x = self.embedding(token_ids, count_up(token_ids), training=training)
        return self.decoder(
            x,
            padding_mask=inputs.get("padding_mask"),
            encoded=self._see(inputs["images"], training),
            training=training,
        )

    def _see(self, images, training=None):
        """(B, H, W, 3) -> (B, S, hidden_dim), what the text attends to."""
        x = sequence_of(self.image, images, training)
        return x if self.bridge is None else self.bridge(x)

    def logits(self, hidden):
        """(B, T, hidden_dim) -> (B, T, vocab_size)."""
        return self.tokens.logits(hidden) if self.head is None else self.head(hidden)

    def encode(self, images) -> dict:
        """Images (B, H, W, 3) as cross-attention keys and values: cross_k_i, cross_v_i."""
        return self.decoder.project_memory(self._see(images, False))

    def init_cache(self, batch_size: int, max_length: int) -> dict:
        """An empty cache for `max_length` tokens; see `TransformerStack.init_cache`."""
        return self.decoder.init_cache(batch_size, max_length)

    def step(self, token_ids, positions, cache: dict, memory: dict) -> tuple:
        """Run T tokens at consecutive `positions`, both (B, T), over `encode`'s memory.

        Returns: logits (B, T, vocab_size) and the new cache.
        """
        x = self.embedding(token_ids, positions, training=False)
        x, cache = self.decoder.step(x, positions, cache, memory)
        return self.logits(x), cache
