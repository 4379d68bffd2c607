"""The feed-forward layer as a mixture of experts.

N tokens, E experts, K experts a token, P = N * K pairs of a token and an expert, D hidden_dim,
F the width of an expert, C the most tokens that an expert processes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import keras
from keras import ops

from modelzoo.layers.backend.lookup import is_for_device
from modelzoo.layers.backend.segments import segment_map, sizes_may_vary
from modelzoo.layers.config import TransformerConfig
from modelzoo.layers.dense import normal, projection
from modelzoo.layers.feed_forward import FeedForward, activation
from modelzoo.signature import Tensor


class Experts(keras.layers.Layer):
    """Each token through the experts that a router chooses; see `ExpertsConfig`.

    Call: x (B, T, hidden_dim), and `padding_mask` (B, T), True for real tokens -> like x. Padding
    takes no room in an expert and does not count in the losses. In training the layer adds its
    balance loss and z-loss.

    The pairs of a token and an expert are sorted by expert, so that an expert multiplies its own
    tokens alone. A few tokens, as in a step of generation, and a device multiply the matrices of
    their experts alone.
    """

    def __init__(self, config: TransformerConfig, **kwargs):
        super().__init__(**kwargs)
        self.config, self.experts = config, config.experts
        self.width = self.experts.ffn_dim or config.ffn_dim
        if keras.backend.backend() == "tensorflow" and self.experts.capacity is None:
            self.supports_jit = False  # XLA has no `tf.split` into sizes that vary
        self.activation = activation(config.activation)
        policy, stddev = self.dtype_policy, config.initializer_range
        self.router = projection(
            self.experts.count, stddev, use_bias=False, dtype="float32", name="router"
        )
        self.router.keep_float32 = True  # on a device too: a rounded logit chooses another expert
        self.shared = self.shared_gate = None
        if self.experts.shared_dim is not None:
            shared = replace(config, ffn_dim=self.experts.shared_dim, experts=None)
            self.shared = FeedForward(shared, dtype=policy, name="shared")
        if self.experts.shared_gate:
            self.shared_gate = projection(1, stddev, use_bias=False, dtype=policy, name="gating")
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.seeds = keras.random.SeedGenerator() if self.experts.jitter else None

    def build(self, input_shape=None) -> None:
        shape = (None, None, self.config.hidden_dim)
        for layer in (self.router, self.shared, self.shared_gate):
            if layer is not None:
                layer.build(shape)
        stddev = self.config.initializer_range
        self.up = self._matrices("up", stddev)
        self.gate = self._matrices("gate", stddev) if self.config.gated else None
        self.down = self._matrices("down", stddev * self.config.residual_init_scale)
        self.built = True

    def _matrices(self, name, stddev):
        """(E, F, D): those of `up` and `gate` transposed, so that a row is a unit of an expert."""
        shape = (self.experts.count, self.width, self.config.hidden_dim)
        return self.add_weight(shape, normal(stddev), name=name)

    def call(self, x, padding_mask=None, training=None) -> Tensor:
        shape = ops.shape(x)
        tokens = ops.reshape(x, (-1, self.config.hidden_dim))
        real = None if padding_mask is None else ops.reshape(padding_mask, (-1,))
        logits = self.router(self._jittered(ops.cast(tokens, "float32"), training))
        probabilities = ops.softmax(logits, axis=-1)
        weights, chosen = ops.top_k(probabilities, self.experts.top_k)  # (N, K)
        chosen = ops.cast(chosen, "int32")
        if training:
            self._add_losses(logits, probabilities, chosen, real)
        if self.experts.normalize:
            weights = weights / ops.sum(weights, axis=-1, keepdims=True)
        if real is not None:  # so that padding becomes zeros, whichever way the tokens go
            weights = weights * ops.expand_dims(ops.cast(real, weights.dtype), 1)
        weights = ops.cast(weights, tokens.dtype)
        pairs = None if tokens.shape[0] is None else tokens.shape[0] * self.experts.top_k
        if is_for_device():
            mixed = self._one_by_one(tokens, weights, chosen)
        elif not training and pairs is not None and pairs <= self.experts.count:
            mixed = self._chosen_alone(tokens, weights, chosen)
        else:
            mixed = self._sorted(tokens, weights, chosen, real, training)
        output = ops.reshape(mixed, shape)
        if self.shared is None:
            return output
        shared = self.shared(x, training=training)
        if self.shared_gate is not None:
            shared = ops.sigmoid(self.shared_gate(x)) * shared
        return output + shared

    def _jittered(self, tokens, training):
        if not training or self.seeds is None:
            return tokens
        low, high = 1 - self.experts.jitter, 1 + self.experts.jitter
        return tokens * keras.random.uniform(ops.shape(tokens), low, high, seed=self.seeds)

    # === Losses ===

    def _add_losses(self, logits, probabilities, chosen, real) -> None:
        """The balance loss and the z-loss, in float32, over the tokens that are not padding."""
        experts = self.experts
        counted = ops.ones_like(logits[:, 0]) if real is None else ops.cast(real, "float32")
        tokens = ops.maximum(ops.sum(counted), 1.0)
        if experts.balance_loss:
            choices = ops.sum(ops.one_hot(chosen, experts.count, dtype="float32"), axis=1)
            share = ops.matmul(counted, choices) / (tokens * experts.top_k)
            mean = ops.matmul(counted, probabilities) / tokens
            balance = experts.count * ops.sum(ops.stop_gradient(share) * mean)
            self.add_loss(experts.balance_loss * balance)
        if experts.z_loss:
            squared = ops.square(ops.logsumexp(logits, axis=-1))
            self.add_loss(experts.z_loss * ops.sum(counted * squared) / tokens)

    # === Many tokens ===

    def _sorted(self, tokens, weights, chosen, real, training):
        """Every expert multiplies the tokens that chose it, (N, D) -> (N, D)."""
        count, top_k = self.experts.count, self.experts.top_k
        # First choices come first, and then tokens in their order: what capacity drops is last.
        expert = ops.reshape(ops.transpose(chosen), (-1,))
        weight = ops.reshape(ops.transpose(weights), (-1,))
        if real is not None:  # padding goes to an expert that does not exist
            expert = ops.where(ops.tile(ops.cast(real, "bool"), (top_k,)), expert, count)
        order = ops.cast(ops.argsort(expert), "int32")  # the pair of each sorted row
        ends = ops.arange(count + 1, dtype="int32")
        starts = ops.cast(ops.searchsorted(ops.take(expert, order), ends), "int32")
        sizes = starts[1:] - starts[:-1]
        num_tokens = ops.shape(tokens)[0]
        room = self._room(num_tokens * top_k) if training else None
        kept = sizes if room is None else ops.minimum(sizes, room)

        def through(x, *matrices, times=ops.matmul):
            return self._network(x, matrices, times, training)

        matrices = self._all_matrices(tokens.dtype)
        if room is None or sizes_may_vary():
            fed = ops.take(tokens, order % num_tokens, axis=0)
            output = segment_map(through, fed, matrices, sizes, kept)
        else:  # the rows of an expert are as many as it has room for
            place = ops.expand_dims(ops.arange(room, dtype="int32"), 0)
            is_in = place < ops.expand_dims(kept, 1)
            row = ops.where(is_in, ops.expand_dims(starts[:-1], 1) + place, 0)
            order = ops.take(order, ops.reshape(row, (-1,)))
            fed = ops.take(tokens, order % num_tokens, axis=0)
            fed = ops.reshape(fed, (count, room, self.config.hidden_dim))
            output = ops.where(ops.expand_dims(is_in, 2), through(fed, *matrices), 0)
            output = ops.reshape(output, (-1, self.config.hidden_dim))
        output = output * ops.expand_dims(ops.take(weight, order), 1)
        return ops.segment_sum(output, order % num_tokens, num_tokens)

    def _room(self, pairs):
        """C, or `None` where no token is dropped; a tensor where `pairs` is one."""
        factor = self.experts.capacity
        if factor is None:
            return None
        if isinstance(pairs, int):
            return min(pairs, max(1, math.ceil(pairs * factor / self.experts.count)))
        share = ops.cast(pairs, "float32") * (factor / self.experts.count)
        return ops.minimum(pairs, ops.maximum(1, ops.cast(ops.ceil(share), "int32")))

    def _all_matrices(self, dtype):
        """`up`, `down` and, of a gated network, `gate`, each (E, F, D)."""
        of_all = [self.up, self.down] if self.gate is None else [self.up, self.down, self.gate]
        return [ops.cast(matrices, dtype) for matrices in of_all]

    def _network(self, x, matrices, times=ops.matmul, training=None):
        """x (…, R, D) through experts whose matrices are (…, F, D), in `_all_matrices`' order."""
        up, down, *gate = matrices
        hidden = times(x, ops.swapaxes(up, -1, -2))
        if gate:
            hidden = self.activation(times(x, ops.swapaxes(gate[0], -1, -2))) * hidden
        else:
            hidden = self.activation(hidden)
        return times(self.dropout(hidden, training=training), down)

    # === Few tokens, and devices ===

    def _chosen_alone(self, tokens, weights, chosen):
        """Gather the matrices of the chosen experts: no other is read."""
        top_k, hidden_dim = self.experts.top_k, self.config.hidden_dim
        ids = ops.reshape(chosen, (-1,))
        matrices = [ops.take(one, ids, axis=0) for one in self._all_matrices(tokens.dtype)]
        x = ops.reshape(ops.repeat(tokens, top_k, axis=0), (-1, 1, hidden_dim))  # (P, 1, D)
        output = ops.reshape(self._network(x, matrices), (-1, top_k, hidden_dim))
        return ops.sum(output * ops.expand_dims(weights, 2), axis=1)

    def _one_by_one(self, tokens, weights, chosen):
        """All tokens through each expert that one of them chose; a device reads no other expert.

        Its graph knows no sizes that vary, but a branch that is not taken costs nothing, and the
        matrices in it are those of a dense layer to quantizers.
        """
        total = ops.zeros_like(tokens)
        for expert in range(self.experts.count):
            is_chosen = ops.equal(chosen, expert)

            def added(total=total, expert=expert, is_chosen=is_chosen):
                weight = ops.sum(ops.where(is_chosen, weights, 0.0), axis=1, keepdims=True)
                # Cut out in here: a branch holds its own constants, and is given all other values.
                matrices = [one[expert] for one in self._all_matrices(tokens.dtype)]
                return total + self._network(tokens, matrices) * weight

            total = ops.cond(ops.any(is_chosen), added, lambda total=total: total)
        return total
