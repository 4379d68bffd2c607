"""Each check of a model lets a sound plugin pass, and refuses one that breaks its rule."""

from __future__ import annotations

import pytest

from modelzoo.testing import CheckFailure
from tests.testing import crowd as plugin

RULES = ("build", "config", "seed", "precision", "batch", "padding", "length")


@pytest.mark.parametrize("rule", RULES)
def test_a_sound_net_passes(crowd, check, rule):
    plugin.net(crowd, "sound")
    assert check("sound", rule) is None


@pytest.mark.parametrize("rule", ["build", "config", "seed", "fit", "decode", "precision"])
def test_a_sound_decoder_passes(crowd, check, rule):
    plugin.decoder(crowd, "sound-decoder", "    pass", more="parameters = 9_000\n")
    assert check("sound-decoder", rule) is None


# rule -> what the net does wrong, what the failure says
BREAKERS = {
    "build-nan": ("build", {"mixed": "x / (m * 0)"}, "gives no number"),
    "build-text": ("build", {"end": "return 'a net'"}, "returns a str, not a keras.Model"),
    "build-raise": ("build", {"end": "raise KeyError('x')"}, r"raises KeyError: 'x'"),
    "build-exit": ("build", {"end": "raise SystemExit(3)"}, "raises SystemExit: 3"),
    "config-lost": ("config", {"config": ""}, "own configuration"),
    "config-odd": ("config", {"config": '"factor": object()'}, "object"),
    "seed-clock": (
        "seed",
        {
            "build": "import numpy as np; self.w = self.add_weight(shape=(8,), initializer="
            "lambda shape, dtype=None: np.random.default_rng().normal(size=shape))",
            "mixed": "x + self.w",
        },
        r"set_random_seed\(1\) differ in .*mix",
    ),
    "seed-own": (
        "seed",
        {
            "embedding": ", embeddings_initializer=keras.initializers.RandomNormal(seed=0)",
            "dense": ", kernel_initializer=keras.initializers.RandomNormal(seed=0)",
        },
        "the seed is fixed",
    ),
    "precision-half": (
        "precision",
        {
            "build": "self.w = self.add_weight(shape=(8,), dtype=self.compute_dtype)",
            "mixed": "x + self.w",
        },
        "is not float32",
    ),
    "precision-count": (
        "precision",
        {"mixed": "x + ops.sin(ops.cast(ops.arange(24) + 3000, x.dtype))[None, :, None] * 9"},
        "another answer than in float32",
    ),
    "batch-mean": ("batch", {"mixed": "x - ops.mean(x, 0, keepdims=True)"}, "another answer alone"),
    "padding-read": (
        "padding",
        {"mixed": "x + ops.mean(x, 1, keepdims=True) + ops.sum(m) * 0"},
        "under the padding mask change",
    ),
    "length-divided": (
        "length",
        {"mixed": "x + ops.sum(x * m, 1, keepdims=True) / ops.cast(ops.shape(x)[1], x.dtype) * 9"},
        "padding a batch further changes",
    ),
}


@pytest.mark.parametrize("namespace", BREAKERS)
def test_a_net_that_breaks_one_rule_is_refused_by_its_check(crowd, check, namespace):
    rule, changes, says = BREAKERS[namespace]
    plugin.net(crowd, namespace, **changes)
    with pytest.raises(CheckFailure, match=says) as caught:
        check(namespace, rule)
    assert f"modelzoo-{namespace} 0.2.1" in caught.value.where


_SUBCLASS = '''
"""A plugin's code."""


def build(*, width: int = 8) -> "keras.Model":
    """Build a net whose layers are built late.

    Returns: inputs `token_ids` (batch, time); output (batch, time, width).
    """
    import keras

    class Late(keras.Model):
        vocab_size, max_length = 9, 32

        def __init__(self):
            super().__init__()
            self.embedding = keras.layers.Embedding(9, 8)

        def call(self, inputs, training=None):
            return self.embedding(inputs["token_ids"])

    model = Late()
    model.built = True
    return model
'''


def test_weights_that_come_at_the_first_call_are_refused(crowd, check):
    plugin.install(crowd, "late", {"net.py": _SUBCLASS})
    with pytest.raises(CheckFailure, match="makes weights at its first call"):
        check("late", "build")


_SHIFTED = """
    def step(self, token_ids, positions, cache):
        return super().step(token_ids, positions + 1, cache)
"""
_STUCK = """
    def logits(self, x):
        return super().logits(x) * 0.0
"""
_INFINITE = """
    def logits(self, x):
        return super().logits(x) / 0.0
"""
SIZE = "parameters = 9_000\n"


@pytest.mark.parametrize(
    ("namespace", "body", "rule", "says"),
    [
        ("shifted", _SHIFTED, "decode", "does not give the logits of the whole text"),
        ("stuck", _STUCK, "fit", "do not lower the loss that it reports"),
        ("infinite", _INFINITE, "fit", "not a number"),
    ],
)
def test_a_decoder_that_breaks_one_rule_is_refused_by_its_check(
    crowd, check, namespace, body, rule, says
):
    plugin.decoder(crowd, namespace, body, more=SIZE)
    with pytest.raises(CheckFailure, match=says):
        check(namespace, rule)


def test_what_does_not_apply_says_why(crowd, check):
    plugin.net(crowd, "sound")
    assert "has no task, so no loss" in check("sound", "fit").reason
    assert "has no export_signatures()" in check("sound", "tflite").reason
    assert "states no parameters" in check("sound", "parameters").reason
    assert (
        "the project of modelzoo-sound 0.2.1 is not to be found" in check("sound", "wheel").reason
    )


def test_a_model_that_does_not_build_fails_once_and_is_skipped_elsewhere(crowd, check):
    plugin.net(crowd, "build-raise", end="raise KeyError('x')")
    assert "see build:build-raise/tiny" in check("build-raise", "seed").reason


def test_a_large_recipe_is_cut_down_by_the_words_that_all_share(crowd, check):
    plugin.decoder(crowd, "huge", "    pass", more="parameters = 90_000_000\n")
    path = crowd.path / "modelzoo_huge" / "recipes" / "tiny.toml"
    path.write_text(path.read_text() + "[model]\nvocab_size = 500_000\nmax_length = 90_000\n")
    assert check("huge", "build") is None


def test_one_that_only_its_author_can_cut_says_how(crowd, check):
    plugin.net(crowd, "wide")
    reason = check("wide", "build", limit=50).reason
    assert "wide/tiny has 144 parameters, over the limit of 50" in reason
    assert "tiny={'wide/tiny':" in reason
    assert check("wide", "build", limit=100, tiny={"wide/net": {"width": 4}}) is None
