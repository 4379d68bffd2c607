"""A tower of transformer blocks: the core that encoders and decoders share.

B batch, T tokens, S slots of the cache or tokens of the memory.
"""

from __future__ import annotations

import keras
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.layers.backend.shared_trace import shared_trace
from modelzoo.layers.block import TransformerBlock
from modelzoo.layers.cache import LayerCache, cache_names
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.masks import add_biases, causal_bias, padding_bias, window_bias
from modelzoo.layers.norms import make_norm
from modelzoo.layers.positions import (
    RelativeBias,
    rotary_angles,
    rotary_attention_factor,
    rotary_rates,
)
from modelzoo.signature import Tensor


class TransformerStack(keras.layers.Layer):
    """`num_layers` blocks, their masks and positions, and a final norm.

    Args:
        config: the shape of every block.
        num_layers: how many.
        causal: a token sees itself and what is before it.
        cross_attention: each block also attends to a memory (an encoder's output).
        relative_buckets: T5's relative positions, this number of buckets; 0 for none.
        relative_each: each block has relative positions of its own (UMT5, Chung et al. 2023).
        share_layers: one block, run `num_layers` times (ALBERT, Lan et al. 2020).
        final_norm: normalise what leaves the last block.
        max_length: tokens of the longest sequence, which some scalings of rotary positions need.

    Attributes:
        blocks: a block for each layer: the same one in all places where layers are shared.

    The two ways through it are one code path: `call` runs whole sequences, `step` runs T tokens
    at given positions over a cache. Their outputs agree.
    """

    def __init__(
        self,
        config: TransformerConfig,
        num_layers: int,
        causal: bool = False,
        cross_attention: bool = False,
        relative_buckets: int = 0,
        relative_max_distance: int = 128,
        relative_each: bool = False,
        share_layers: bool = False,
        final_norm: bool = True,
        max_length: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_layers < 1:
            raise RecipeError(f"a stack needs one layer or more, not {num_layers}")
        policy = self.dtype_policy
        self.config, self.causal, self.max_length = config, causal, max_length
        if config.rotary_theta is not None:
            self._rates(config.rotary_theta, config.rotary_scaling)  # raises where it cannot
        self.blocks = [
            TransformerBlock(
                config,
                cross_attention,
                attention_norm=config.first_attention_norm or i > 0,
                experts=config.has_experts(i),
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(1 if share_layers else num_layers)
        ] * (num_layers if share_layers else 1)

        def relative_bias(name):
            return RelativeBias(
                config.num_heads,
                relative_buckets,
                relative_max_distance,
                bidirectional=not causal,
                stddev=config.initializer_range,
                dtype=policy,
                name=name,
            )

        self.relative_bias, self.relative_biases = None, []
        if relative_buckets and relative_each:
            names = (f"relative_bias_{i}" for i in range(num_layers))
            self.relative_biases = [relative_bias(name) for name in names]
        elif relative_buckets:
            self.relative_bias = relative_bias("relative_bias")
        self.final_norm = make_norm(config, dtype=policy, name="final_norm") if final_norm else None

    def build(self, input_shape=None) -> None:
        shape = (None, None, self.config.hidden_dim)
        for layer in (*self.blocks, *self.relative_biases, self.relative_bias, self.final_norm):
            if layer is not None and not layer.built:
                layer.build(shape)
        self.built = True

    def call(
        self,
        x,
        padding_mask=None,
        encoded=None,
        encoded_mask=None,
        biases=(),
        every: bool = False,
        training=None,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """x (B, T, hidden_dim) -> like x, and with `every` also a list of hidden states.

        Args:
            padding_mask, encoded_mask: (B, T) and (B, S), True for real tokens.
            biases: on the scores, (1, H, T, T): one for all layers, or one for each.
            every: return what enters the first block, and what leaves each, too.
        """
        length = x.shape[1] if x.shape[1] is not None else ops.shape(x)[1]
        positions = ops.expand_dims(ops.arange(length, dtype="int32"), 0)
        bias = add_biases(
            causal_bias(positions, length) if self.causal else None,
            padding_bias(padding_mask) if padding_mask is not None else None,
        )
        memory = None if encoded is None else self.project_memory(encoded)
        hidden: list = []
        x, _ = self._run(
            x,
            positions,
            length,
            bias,
            None,
            memory,
            encoded_mask,
            training,
            biases,
            hidden,
            padding_mask,
        )
        return (x, hidden) if every else x

    def init_cache(self, batch_size: int, max_length: int) -> dict:
        """Zeros for `max_length` slots: kv_cache_k_i (B, K, S, D) and kv_cache_v_i (B, K, D, S)."""
        heads, width = self.config.kv_heads, self.config.size_per_head
        cache = {}
        for layer in range(len(self.blocks)):
            cache |= LayerCache(
                ops.zeros((batch_size, heads, max_length, width), self.compute_dtype),
                ops.zeros((batch_size, heads, width, max_length), self.compute_dtype),
            ).named(layer)
        return cache

    def project_memory(self, encoded) -> dict:
        """Cross-attention keys and values of an encoder's output, computed once a source."""
        memory = {}
        for layer, block in enumerate(self.blocks):
            key, value = block.cross_attention.project_memory(encoded)
            memory[f"cross_k_{layer}"], memory[f"cross_v_{layer}"] = key, value
        return memory

    def step(
        self, x, positions, cache: dict, memory: dict | None = None, memory_mask=None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """T tokens at consecutive `positions` (B, T) -> x (B, T, hidden_dim) and the new cache."""
        num_slots = cache[cache_names(0)[0]].shape[2]
        bias = causal_bias(positions, num_slots)
        return self._run(x, positions, num_slots, bias, cache, memory, memory_mask, False)

    def _run(
        self,
        x,
        positions,
        num_keys,
        bias,
        cache,
        memory,
        memory_mask,
        training,
        own=(),
        hidden=None,
        padding_mask=None,
    ):
        config = self.config
        if self.relative_bias is not None:
            bias = add_biases(bias, self.relative_bias(positions, num_keys=num_keys))
        biases, rotary = {"global": bias, "local": None}, {"global": None, "local": None}
        if "local" in config.attention_pattern:
            near = window_bias(positions, num_keys, config.sliding_window, self.causal)
            biases["local"] = add_biases(bias, near)
        if config.rotary_theta is not None:
            factor = rotary_attention_factor(config.rotary_scaling)
            rates = self._rates(config.rotary_theta, config.rotary_scaling)
            far = near = rotary_angles(positions, rates, factor)
            if config.rotary_local_theta is not None:
                near = rotary_angles(positions, self._rates(config.rotary_local_theta))
            rotary = {"global": far, "local": near}
        memory_bias = None if memory_mask is None else padding_bias(memory_mask)

        new_cache = {}
        call = shared_trace() if training and not cache else TransformerBlock.__call__
        hidden = [] if hidden is None else hidden
        hidden.append(x)
        for layer, block in enumerate(self.blocks):
            kind = config.kind_of(layer)
            bias = add_biases(biases[kind], own[layer % len(own)] if own else None)
            if self.relative_biases:
                bias = add_biases(bias, self.relative_biases[layer](positions, num_keys=num_keys))
            output = call(
                block,
                x,
                bias=bias,
                rotary=rotary[kind] if config.has_rotary(layer) else None,
                memory=memory and (memory[f"cross_k_{layer}"], memory[f"cross_v_{layer}"]),
                memory_bias=memory_bias,
                cache=cache and LayerCache.of(cache, layer),
                start=cache and positions[:, 0],
                padding_mask=padding_mask if config.has_experts(layer) else None,
                training=training,
            )
            if cache:
                x, written = output
                new_cache |= written.named(layer)
            else:
                x = output
            hidden.append(x)
        if self.final_norm is not None:
            x = self.final_norm(x)
        return x, new_cache

    def _rates(self, theta, scaling=None):
        config = self.config
        return rotary_rates(
            config.size_per_head, theta, scaling, config.rotary_fraction, self.max_length
        )
