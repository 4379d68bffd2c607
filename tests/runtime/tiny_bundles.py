"""Writes tiny TFLite models whose mathematics the numpy models of conftest.py share.

Run in a child process (`python tiny_bundles.py WEIGHTS.npz DIRECTORY`), because the converter leaks
memory and the tests themselves must do without TensorFlow.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.python.xla import dynamic_update_slice

WINDOW, SOURCE, TEXT = 16, 6, 12
# Named so that only shapes tell which is which.
SIZES = {"serve": (1, TEXT), "serve_b": (1, 5), "serve_a": (2, 5), "serve_c": (4, 12)}


class Decoder(tf.Module):
    """AttentionModel with its keys (1, 1, S, W) and values (1, 1, W, S) as state."""

    def __init__(self, weights):
        super().__init__()
        self.embedding, self.position, self.head = (
            tf.Variable(weights[name], dtype=tf.float32)
            for name in ("embedding", "position", "head")
        )
        self.layers = tf.Variable(weights["layers"], dtype=tf.float32)
        self.vocab_size, self.width = self.embedding.shape

    def state_specs(self, window=WINDOW):
        shapes = {"k": (1, 1, window, self.width), "v": (1, 1, self.width, window)}
        return {
            f"kv_cache_{kind}_{layer}": tf.TensorSpec(shape, tf.float32, f"kv_cache_{kind}_{layer}")
            for layer in range(2)
            for kind, shape in shapes.items()
        }

    def step(self, token_ids, positions, context=None, **state):
        x = tf.gather(self.embedding, tf.maximum(token_ids, 0)) + tf.gather(
            self.position, positions
        )
        if context is not None:
            x += context
        start, outputs = positions[0, 0], {}
        window = state["kv_cache_k_0"].shape[2]
        for layer in range(2):
            q, k, v = (x @ self.layers[layer, n] for n in range(3))  # (1, T, W)
            names = f"kv_cache_k_{layer}", f"kv_cache_v_{layer}"
            keys = dynamic_update_slice(state[names[0]], k[:, tf.newaxis], [0, 0, start, 0])
            values = dynamic_update_slice(
                state[names[1]], tf.transpose(v, [0, 2, 1])[:, tf.newaxis], [0, 0, 0, start]
            )
            outputs.update(zip(names, (keys, values), strict=True))
            scores = q @ tf.transpose(keys[:, 0], [0, 2, 1]) / self.width**0.5
            visible = tf.range(window)[tf.newaxis, tf.newaxis] <= positions[..., tf.newaxis]
            weights = tf.nn.softmax(scores + tf.where(visible, 0.0, -1e9))
            x += weights @ tf.transpose(values[:, 0], [0, 2, 1])
        return tf.tanh(x) @ self.head, outputs

    def signatures(self):
        def prefill(token_ids, positions, **state):
            return self.step(token_ids, positions, **state)[1]

        def decode(token_ids, positions, **state):
            logits, state = self.step(token_ids, positions, **state)
            return {"logits": logits, **state}

        return {
            "prefill_4": (prefill, tokens(4) | self.state_specs()),
            "prefill_4_8": (prefill, tokens(4) | self.state_specs(8)),
            "prefill_8": (prefill, tokens(8) | self.state_specs()),
            "decode": (decode, tokens(1) | self.state_specs()),
            "decode_8": (decode, tokens(1) | self.state_specs(8)),
        }


class Drafts(Decoder):
    """The decoder, with signatures that check drafts."""

    def signatures(self):
        known = super().signatures()
        decode, _ = known["decode"]
        return known | {
            "verify_4": (decode, tokens(4) | self.state_specs()),
            "verify_4_8": (decode, tokens(4) | self.state_specs(8)),
        }


class Scores(Decoder):
    """The decoder, with signatures that score tokens."""

    def signatures(self):
        def score(token_ids, positions, target_ids, **state):
            logits, state = self.step(token_ids, positions, **state)
            targets = tf.maximum(target_ids, 0)
            chosen = tf.gather(tf.nn.log_softmax(logits), targets, batch_dims=2)
            best = tf.reduce_max(tf.nn.log_softmax(logits), -1)
            return {"log_probs": chosen, "gap": best - chosen, **state}

        spec = {"target_ids": tf.TensorSpec((1, 4), tf.int32, "target_ids")}
        return super().signatures() | {
            "score_4": (score, tokens(4) | spec | self.state_specs()),
            "score_4_8": (score, tokens(4) | spec | self.state_specs(8)),
        }


class Seq2Seq(Decoder):
    """The decoder, with the mean of the source's embeddings added to its input."""

    def signatures(self):
        source = {
            "token_ids": tf.TensorSpec((1, SOURCE), tf.int32, "token_ids"),
            "padding_mask": tf.TensorSpec((1, SOURCE), tf.int32, "padding_mask"),
        }
        memory = {
            "cross_k_0": tf.TensorSpec((1, SOURCE, self.width), tf.float32, "cross_k_0"),
            "padding_mask": source["padding_mask"],
        }

        def encode(token_ids, padding_mask):
            return {"cross_k_0": tf.gather(self.embedding, token_ids)}

        def run(token_ids, positions, cross_k_0, padding_mask, **state):
            mask = tf.cast(padding_mask, tf.float32)[..., tf.newaxis]
            context = tf.reduce_sum(cross_k_0 * mask, 1, keepdims=True) / tf.reduce_sum(mask)
            return self.step(token_ids, positions, context=context, **state)

        def prefill(**inputs):
            return run(**inputs)[1]

        def decode(**inputs):
            logits, state = run(**inputs)
            return {"logits": logits, **state}

        state = self.state_specs()
        return {
            "encode": (encode, source),
            "prefill": (prefill, tokens(4) | memory | state),
            "decode": (decode, tokens(1) | memory | state),
        }


class Recurrent(tf.Module):
    """RecurrentStepper."""

    def __init__(self, weights):
        super().__init__()
        self.embedding, self.recurrent, self.head = (
            tf.Variable(weights[f"recurrent_{name}"], dtype=tf.float32)
            for name in ("embedding", "recurrent", "head")
        )

    def signatures(self):
        def step(token_ids, positions, state_h_0):
            for t in range(token_ids.shape[1]):
                token = token_ids[:, t]
                x = tf.gather(self.embedding, tf.maximum(token, 0))
                new = tf.tanh(state_h_0 @ self.recurrent + x)
                state_h_0 = tf.where(token[:, tf.newaxis] >= 0, new, state_h_0)
            return state_h_0

        def prefill(token_ids, positions, state_h_0):
            return {"state_h_0": step(token_ids, positions, state_h_0)}

        def decode(token_ids, positions, state_h_0):
            state = step(token_ids, positions, state_h_0)
            return {"logits": (state @ self.head)[:, tf.newaxis], "state_h_0": state}

        width = self.recurrent.shape[0]
        state = {"state_h_0": tf.TensorSpec((1, width), tf.float32, "state_h_0")}
        return {"prefill": (prefill, tokens(3) | state), "decode": (decode, tokens(1) | state)}


class Encoder(tf.Module):
    """`serve`: masked mean of embeddings as `embedding`, or logits of a text or its tokens.

    Args:
        sizes: {signature: (rows, tokens)}.
    """

    def __init__(self, weights, output, sizes):
        super().__init__()
        self.embedding = tf.Variable(weights["embedding"], dtype=tf.float32)
        self.head = tf.Variable(weights["head"], dtype=tf.float32)
        self.output, self.sizes = output, sizes

    def signatures(self):
        def serve(token_ids, padding_mask):
            mask = tf.cast(padding_mask, tf.float32)[..., tf.newaxis]
            x = tf.gather(self.embedding, token_ids)
            mean = tf.reduce_sum(x * mask, 1) / tf.reduce_sum(mask, 1)
            if self.output == "embedding":
                return {"embedding": mean}
            if self.output == "classes":
                return {"logits": mean @ self.head[:, :3]}
            return {"logits": (x + mean[:, tf.newaxis]) @ self.head}

        names = ("token_ids", "padding_mask")
        return {
            signature: (serve, {name: tf.TensorSpec(shape, tf.int32, name) for name in names})
            for signature, shape in self.sizes.items()
        }


def tokens(length):
    names = ("token_ids", "positions")
    return {name: tf.TensorSpec((1, length), tf.int32, name) for name in names}


def save(module, directory):
    functions = {
        name: tf.function(function).get_concrete_function(**inputs)
        for name, (function, inputs) in module.signatures().items()
    }
    tf.saved_model.save(module, str(directory), signatures=functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(directory), signature_keys=list(functions)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    Path(f"{directory}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    weights, directory = dict(np.load(sys.argv[1])), Path(sys.argv[2])
    save(Decoder(weights), directory / "decoder")
    save(Drafts(weights), directory / "drafts")
    save(Scores(weights), directory / "scores")
    save(Seq2Seq(weights), directory / "seq2seq")
    save(Recurrent(weights), directory / "recurrent")
    for output in ("embedding", "classes", "tokens"):
        save(Encoder(weights, output, {"serve": (1, TEXT)}), directory / output)
        save(Encoder(weights, output, SIZES), directory / f"{output}_sizes")
