"""Norms, feed-forward layers and the order in which a block puts them together."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from modelzoo.errors import RecipeError
from modelzoo.layers.block import TransformerBlock
from modelzoo.layers.config import ACTIVATIONS, TransformerConfig
from modelzoo.layers.embedding import TextEmbedding, TokenEmbedding
from modelzoo.layers.feed_forward import FeedForward, activation
from modelzoo.layers.norms import make_norm
from tests import core
from tests.core import assert_near, dense, layer_norm, number, randomise, rms_norm

X = np.random.default_rng(0).normal(2.0, 3.0, size=(2, 4, 8))
FORMULAS = {
    "gelu": core.gelu,
    "gelu_tanh": core.gelu_tanh,
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: np.maximum(x, 0),
    "silu": core.silu,
}


def config(**options) -> TransformerConfig:
    return TransformerConfig(**{"hidden_dim": 8, "num_heads": 2, "ffn_dim": 12, **options})


def tensor(x):
    return ops.cast(x, "float32")


# === Norms and activations ===


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_norms_are_their_formulas(kind):
    layer = make_norm(config(norm=kind, norm_epsilon=0.1))
    layer.build((None, None, 8))
    randomise(layer)
    weights = [number(weight) for weight in layer.weights]
    assert len(weights) == (2 if kind == "layer" else 1)
    wanted = layer_norm(X, *weights, 0.1) if kind == "layer" else rms_norm(X, *weights, 0.1)
    assert_near(layer(tensor(X)), wanted)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_formulas(name):
    x = np.linspace(-6, 6, 241)
    np.testing.assert_allclose(number(activation(name)(tensor(x))), FORMULAS[name](x), atol=2e-6)


def test_exact_gelu_is_not_its_approximation():
    exact, approximate = (float(number(activation(n)(tensor(2.0)))) for n in ("gelu", "gelu_tanh"))
    assert exact == pytest.approx(1.9544997, abs=1e-6)
    assert approximate == pytest.approx(1.9545977, abs=1e-6)


# === Feed-forward ===


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_feed_forward_is_its_formula(gated, bias):
    layer = FeedForward(config(activation="silu", gated=gated, ffn_bias=bias))
    layer.build()
    randomise(layer)
    assert len(layer.weights) == (2 + gated) * (1 + bias)
    hidden = core.silu(dense(layer.gate if gated else layer.up, X))
    hidden = hidden * dense(layer.up, X) if gated else hidden
    assert_near(layer(tensor(X)), dense(layer.down, hidden))


# === The block ===


@pytest.mark.parametrize("where", ["pre", "post"])
def test_a_block_normalises_what_enters_a_sublayer_or_what_leaves_the_sum(where):
    block = TransformerBlock(config(norm_position=where), cross_attention=True)
    block.build()
    randomise(block)
    memory = block.cross_attention.project_memory(tensor(X[:, :3]))

    def run(layer, x, **options):
        return number(layer(tensor(x), **options))

    x = X
    for norm, layer, options in (
        (block.attention_norm, block.attention, {}),
        (block.cross_attention_norm, block.cross_attention, {"memory": memory}),
        (block.ffn_norm, block.ffn, {}),
    ):
        if where == "pre":
            x = x + run(layer, run(norm, x), **options)
        else:
            x = run(norm, x + run(layer, x, **options))
    assert_near(block(tensor(X), memory=memory), x, 1e-4)


def test_a_block_normalises_only_what_leaves_a_sublayer_and_scales_it():
    block = TransformerBlock(config(norm_position="output", norm="rms", residual_scale=0.25))
    block.build()
    randomise(block)
    assert block.attention_norm is block.ffn_norm is None
    x = X
    for norm, layer in (
        (block.attention_post_norm, block.attention),
        (block.ffn_post_norm, block.ffn),
    ):
        x = x + 0.25 * number(norm(layer(tensor(x))))
    assert_near(block(tensor(X)), x, 1e-4)


@pytest.mark.parametrize("shared", [False, True])
def test_both_sublayers_of_a_parallel_block_read_the_same_input(shared):
    block = TransformerBlock(config(parallel_residual=True, shared_norm=shared))
    block.build()
    randomise(block)
    assert (block.ffn_norm is None) == shared
    normed = [norm(tensor(X)) for norm in (block.attention_norm, block.ffn_norm) if norm]
    wanted = X + number(block.attention(normed[0])) + number(block.ffn(normed[-1]))
    assert_near(block(tensor(X)), wanted, 1e-4)


def test_a_norm_without_weights_still_normalises():
    layer = make_norm(config(norm_bias=False, norm_scale=False, norm_epsilon=0.1))
    layer.build((None, None, 8))
    assert not layer.weights
    assert_near(layer(tensor(X)), layer_norm(X, 1.0, 0.0, 0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parallel_residual": True}, "no parallel_residual"),
        ({"norm_position": "output"}, "no norm_position 'output'"),
    ],
)
def test_a_block_with_cross_attention_names_what_it_has_not(options, message):
    with pytest.raises(RecipeError, match=message):
        TransformerBlock(config(**options), cross_attention=True)


def test_a_layer_scale_multiplies_what_a_sublayer_adds():
    block = TransformerBlock(config(layer_scale=0.1))
    block.build()
    assert_near(block.ffn_layer_scale, np.full(8, 0.1))
    randomise(block)
    x = X + number(block.attention_layer_scale) * number(
        block.attention(tensor(number(block.attention_norm(tensor(X)))))
    )
    wanted = x + number(block.ffn_layer_scale) * number(block.ffn(block.ffn_norm(tensor(x))))
    assert_near(block(tensor(X)), wanted, 1e-4)


def test_residual_weights_start_smaller_where_the_config_says_so():
    block = TransformerBlock(
        TransformerConfig(hidden_dim=64, num_heads=2, ffn_dim=256, residual_init_scale=0.25)
    )
    block.build()
    for layer, wanted in (
        (block.attention.query, 0.02),
        (block.attention.output_projection, 0.005),
        (block.ffn.up, 0.02),
        (block.ffn.down, 0.005),
    ):
        assert number(layer.kernel).std() == pytest.approx(wanted, rel=0.05)


def test_dropout_acts_in_training_alone():
    block = TransformerBlock(config(dropout=0.5, attention_dropout=0.5))
    block.build()
    randomise(block)
    x = tensor(X)
    assert_near(block(x, training=False), number(block(x)), 0)
    assert np.abs(number(block(x, training=True)) - number(block(x))).max() > 0.1


# === The config ===


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "hidden_dim 8 is not a multiple of num_heads 3"),
        ({"num_heads": 4, "num_kv_heads": 3}, "not a multiple of num_kv_heads 3"),
        ({"norm": "lyer"}, "norm 'lyer' is not one of layer, rms"),
        ({"norm_position": "mid"}, "norm_position 'mid'"),
        ({"activation": "tanh"}, "activation 'tanh'"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), not 1.0"),
        ({"num_heads": 8, "rotary_theta": 1e4}, "an even head_dim, not 1"),
        ({"ffn_dim": 0}, "ffn_dim must be at least 1"),
        ({"qk_norm_heads": "own"}, "qk_norm_heads 'own' is not one of shared, separate, joint"),
        ({"qk_norm": True, "qk_norm_heads": "separate"}, "needs norm 'layer' and no bias"),
        ({"norm": "rms", "norm_scale": False}, "norm 'rms' has a gain"),
        ({"parallel_residual": True, "norm_position": "post"}, "needs norm_position 'pre'"),
        ({"shared_norm": True}, "shared_norm needs parallel_residual"),
    ],
)
def test_a_config_that_cannot_be_is_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        config(**options)


def test_a_wrong_choice_suggests_the_near_one():
    with pytest.raises(RecipeError) as caught:
        config(activation="gelu_tan")
    assert caught.value.did_you_mean == "gelu_tanh"


# === Embeddings ===


def test_one_table_reads_tokens_and_writes_logits():
    layer = TokenEmbedding(5, 8)
    layer.build()
    randomise(layer)
    table = number(layer.embeddings)
    ids = np.array([[4, 0], [-1, 2]], "int32")
    assert_near(layer(ops.convert_to_tensor(ids)), table[np.maximum(ids, 0)])
    assert_near(layer.logits(tensor(X)), X @ table.T)


def test_an_embedding_is_the_sum_of_its_parts_normalised():
    tokens = TokenEmbedding(5, 8)
    layer = TextEmbedding(config(), tokens, "learned", 6, 1, num_segments=2, norm=True, scale=3.0)
    layer.build()
    randomise(layer)
    ids, segments = np.array([[4, 0, 1]]), np.array([[0, 1, 1]])
    where = np.array([[2, 3, 4]])
    total = 3.0 * number(tokens.embeddings)[ids] + number(layer.learned.embeddings)[where + 1]
    total = total + number(layer.segments.embeddings)[segments]
    wanted = layer_norm(total, number(layer.norm.gamma), number(layer.norm.beta), 1e-5)
    got = layer(*(ops.convert_to_tensor(a.astype("int32")) for a in (ids, where, segments)))
    assert_near(got, wanted)
