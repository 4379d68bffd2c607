"""The checks of what leaves the process: a saved model, and the bundles of a device."""

from __future__ import annotations

import pytest

from modelzoo.registry import recipe
from modelzoo.testing import CheckFailure
from tests.testing import crowd as plugin

pytestmark = pytest.mark.slow

SIZE = "parameters = 9_000\n"

# In one register: what only `build` registers is unknown to a fresh process.
_HIDDEN = '''
"""A plugin's code."""


def build(*, width: int = 4) -> "keras.Model":
    """Build a net with a layer that only building it makes known.

    Returns: (batch, 4) -> (batch, width).
    """
    import keras

    @keras.saving.register_keras_serializable("modelzoo_hidden")
    class Plus(keras.layers.Layer):
        def call(self, x):
            return x + 1

    given = keras.Input((4,))
    return keras.Model(given, Plus()(keras.layers.Dense(width)(given)))
'''

# A trace keeps the first number; Keras goes on counting.
_NOISY = """
    def step(self, token_ids, positions, cache):
        logits, cache = super().step(token_ids, positions, cache)
        self.calls = getattr(self, "calls", 0) + 1
        return logits + 0.1 * self.calls, cache
"""
_SHAKY = """
    def step(self, token_ids, positions, cache):
        logits, cache = super().step(token_ids, positions, cache)
        q, _ = ops.qr(logits[0, :1, :3] + ops.ones((3, 3)))
        return logits + ops.sum(q) * 1e-9, cache
"""


def test_a_net_and_a_decoder_open_in_a_fresh_process_and_one_that_hides_its_layer_does_not(
    crowd, check
):
    plugin.net(crowd, "sound")
    assert check("sound", "saving") is None
    plugin.install(crowd, "hidden", {"net.py": _HIDDEN})
    assert check("hidden", "config") is None
    with pytest.raises(CheckFailure, match="does not open in a fresh process.*Plus") as caught:
        check("hidden", "saving")
    assert "register_keras_serializable" in caught.value.next_step


@pytest.fixture(scope="module")
def exported(crowd):
    """Three decoders, exported in one child process; a check of them finds its answer there."""
    from modelzoo.testing import device_checks

    for namespace, body in (("quiet", "    pass"), ("noisy", _NOISY), ("shaky", _SHAKY)):
        plugin.decoder(crowd, namespace, body, more=SIZE)
    return device_checks


@pytest.fixture
def device(check, exported, monkeypatch):
    """`device("quiet", "tflite")`, with subjects that are the same in each call."""
    from modelzoo.plugins import discovery
    from modelzoo.testing import plan, subject

    discovery._discover.cache_clear()
    discovery._metadata_folders.cache_clear()
    if not SUBJECTS:
        options = {"tiny": {}, "data": {}, "project": None, "limit": plan.LIMIT}
        for namespace in ("quiet", "noisy", "shaky"):
            found = plan._installed(namespace)
            name = f"{namespace}/tiny"
            SUBJECTS[namespace] = subject.Subject(name, recipe(name), found, **options)
        pairs = [(SUBJECTS[n], f) for n in ("quiet", "noisy") for f in ("savedmodel", "tflite")]
        exported.export_together([*pairs, (SUBJECTS["shaky"], "tflite")])
    monkeypatch.setattr(subject, "Subject", lambda name, *_, **__: SUBJECTS[name.split("/")[0]])
    return check


SUBJECTS: dict = {}


@pytest.mark.parametrize("rule", ["savedmodel", "builtins", "tflite"])
def test_a_sound_decoder_passes_on_the_device(device, rule):
    assert device("quiet", rule) is None


@pytest.mark.parametrize("rule", ["savedmodel", "tflite"])
def test_a_decoder_that_answers_differently_each_time_is_refused(device, rule):
    with pytest.raises(CheckFailure, match="does not answer as Keras does"):
        device("noisy", rule)
    assert device("noisy", "builtins").reason.startswith("there is no file")


def test_an_operation_that_litert_lacks_is_refused_by_name(device):
    with pytest.raises(CheckFailure, match="Qr"):
        device("shaky", "builtins")
    assert "see builtins:shaky/tiny" in device("shaky", "tflite").reason
