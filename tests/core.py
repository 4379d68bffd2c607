"""Small models with weights that show every mistake, and the numpy that they are held against."""

from __future__ import annotations

import math
from functools import cache

import keras
import numpy as np
from keras import ops

from modelzoo import registry

VOCAB = 23


def number(tensor) -> np.ndarray:
    """Any tensor as float64 or integers of numpy."""
    array = np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))
    return array.astype(np.float64)


def assert_near(got, wanted, tolerance: float = 2e-5) -> None:
    got = got if isinstance(got, np.ndarray) else number(got)
    wanted = wanted if isinstance(wanted, np.ndarray) else number(wanted)
    assert got.shape == wanted.shape
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def randomise(model, seed: int = 0, scale: float = 0.2):
    """Gives every weight a value of its own: no bias is zero and no gain is one."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.path:
            continue
        gain = weight.path.endswith(("gamma", "scale"))
        weight.assign(rng.normal(float(gain), scale, weight.shape).astype("float32"))
    return model


def token_ids(rows: int, length: int, seed: int = 0, vocab: int = VOCAB) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocab, (rows, length)).astype("int32")


def run_steps(backbone, ids: np.ndarray, chunks, slots: int | None = None, *context):
    """The logits of `step` over consecutive chunks of ids (B, T), from an empty cache."""
    cache = backbone.init_cache(len(ids), slots or ids.shape[1])
    outputs, start = [], 0
    for size in chunks:
        positions = np.tile(np.arange(start, start + size, dtype="int32"), (len(ids), 1))
        logits, cache = backbone.step(
            ops.convert_to_tensor(ids[:, start : start + size]),
            ops.convert_to_tensor(positions),
            cache,
            *context,
        )
        outputs.append(number(logits))
        start += size
    assert start == ids.shape[1]
    return np.concatenate(outputs, axis=1)


# === The formulas, in numpy ===


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, gamma, beta, epsilon: float):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * gamma + beta


def rms_norm(x, gamma, epsilon: float):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * gamma


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + np.exp(-x))


def dense(layer, x):
    weights = [number(weight) for weight in layer.weights]
    return x @ weights[0] + (weights[1] if len(weights) > 1 else 0.0)


# === Small models of every kind ===

_GPT = {"vocab_size": VOCAB, "num_layers": 2, "hidden_dim": 16, "num_heads": 4, "max_length": 12}
_ONE = {**_GPT, "num_layers": 1}
_T5 = {**_GPT, "head_dim": 6, "ffn_dim": 20}
_PRE = {"norm_position": "pre", "embedding_norm": False, "scale_embedding": True}
_RNN = {"vocab_size": VOCAB, "embedding_dim": 8, "hidden_dims": (12, 8)}

DECODERS = {
    "gpt-2": ("gpt", _GPT),
    "gpt-1": ("gpt", {**_ONE, "norm_position": "post"}),
    "llama": (
        "gpt",
        {
            **_GPT,
            "num_kv_heads": 2,
            "head_dim": 6,
            "positions": "rotary",
            "norm": "rms",
            "activation": "silu",
            "gated": True,
            "attention_bias": False,
            "ffn_bias": False,
            "tie_embeddings": False,
        },
    ),
    "olmo 2": (
        "gpt",
        {
            **_ONE,
            "num_kv_heads": 2,
            "positions": "rotary",
            "rotary_fraction": 0.5,
            "norm": "rms",
            "norm_position": "output",
            "qk_norm": True,
            "qk_norm_heads": "joint",
            "residual_scale": 0.5,
            "logit_scale": 0.25,
        },
    ),
    "gpt-j": (
        "gpt",
        {
            **_ONE,
            "positions": "rotary",
            "rotary_fraction": 0.5,
            "parallel_residual": True,
            "shared_norm": True,
            "qk_norm": True,
            "qk_norm_heads": "separate",
            "qk_norm_bias": False,
            "tie_embeddings": False,
            "head_bias": True,
        },
    ),
    "opt": (
        "gpt",
        {**_ONE, "position_offset": 2, "embedding_dim": 12, "parallel_residual": True},
    ),
    "sine": ("gpt", {**_ONE, "positions": "sine", "num_kv_heads": 1}),
    "relative": ("gpt", {**_ONE, "positions": "relative"}),
}
RECURRENT = {
    "lstm": ("recurrent", _RNN),
    "lstm, tied": ("recurrent", {**_RNN, "tie_embeddings": True}),
    "gru": ("recurrent", {**_RNN, "cell": "gru"}),
    "gru, tied": ("recurrent", {**_RNN, "cell": "gru", "tie_embeddings": True}),
}
ENCODERS = {
    "bert": ("bert", _GPT),
    "distilbert": ("bert", {**_ONE, "num_segments": 0, "pooler": False}),
    "albert": ("bert", {**_GPT, "embedding_dim": 6, "share_layers": True}),
    "mpnet": ("bert", {**_ONE, "num_segments": 0, "relative_buckets": 8}),
}
ENCODER_DECODERS = {
    "t5": ("t5", _T5),
    "t5 v1.1": (
        "t5",
        {
            **_T5,
            "num_layers": 1,
            "gated": True,
            "activation": "gelu_tanh",
            "tie_embeddings": False,
        },
    ),
    "umt5": ("t5", {**_T5, "relative_each": True}),
    "bart": ("bart", {**_ONE, "num_decoder_layers": 2}),
    "pegasus": ("bart", {**_ONE, **_PRE, "positions": "sine_halves", "position_offset": 0}),
    "m2m-100": ("bart", {**_ONE, **_PRE, "positions": "sine_tensor2tensor"}),
    "marian": ("bart", {**_ONE, "embedding_norm": False, "logit_bias": True}),
    "transformer": ("transformer", {**_ONE, "ffn_dim": 20}),
}
FAMILIES = {**DECODERS, **RECURRENT, **ENCODERS, **ENCODER_DECODERS}


def fresh(name: str, **options):
    """A small backbone of a family, with its initial weights."""
    architecture, values = FAMILIES[name]
    return registry.architecture(architecture)(**{**values, **options})


def small(name: str, **options):
    """The same with random weights throughout. It is shared: leave it as it is."""
    return _small(name, keras.config.dtype_policy().name, tuple(options.items()))


@cache
def _small(name: str, policy: str, options: tuple):
    return randomise(fresh(name, **dict(options)))
