"""What backbones share whose decoder attends to a memory: of a source, a sound or an image."""

from __future__ import annotations

from modelzoo.backbones.base import Backbone
from modelzoo.signature import Tensor


class MemoryDecoder(Backbone):
    """A causal stack over a memory that `encode` gives, one step after another.

    Attributes that a subclass makes: `tokens`, `decoder_embedding`, `decoder`, and `head`, which is
    `None` where the token table is the head too.
    """

    def logits(self, hidden) -> Tensor:
        """(B, T, hidden_dim) -> (B, T, vocab_size)."""
        return self.tokens.logits(hidden) if self.head is None else self.head(hidden)

    def init_cache(self, batch_size: int, max_length: int) -> dict:
        """An empty cache for `max_length` tokens; see `TransformerStack.init_cache`."""
        return self.decoder.init_cache(batch_size, max_length)

    def step(self, token_ids, positions, cache: dict, memory: dict, memory_mask=None) -> tuple:
        """Run T tokens at consecutive `positions`, both (B, T), over `encode`'s memory.

        Args:
            memory_mask: (B, S), 1 for what is real. Default: the memory's own, if it has one.

        Returns: logits (B, T, vocab_size) and the new cache.
        """
        mask = memory.get("memory_mask") if memory_mask is None else memory_mask
        x = self.decoder_embedding(token_ids, positions, training=False)
        x, cache = self.decoder.step(x, positions, cache, memory, mask)
        return self.logits(x), cache
