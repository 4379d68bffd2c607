"""The calls of a verification: what a signature reads was written by those before it."""

from __future__ import annotations

import numpy as np

from modelzoo.exporting.verification.samples import Samples, signature_calls
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo


def signature(tokens: int, slots: int) -> SignatureInfo:
    state = {
        "kv_cache_k_0": TensorInfo((1, 2, slots, 3), "float32"),
        "kv_cache_v_0": TensorInfo((1, 2, 3, slots), "float32"),
    }
    taken = {name: TensorInfo((1, tokens), "int32") for name in ("token_ids", "positions")}
    return SignatureInfo({**taken, **state}, state)


def test_a_larger_window_goes_on_with_the_state_of_a_smaller_one():
    """An empty state before a late token is nothing that a model was trained on."""
    infos = {"prefill_8_16": signature(8, 16), "decode_16": signature(1, 16)}
    infos |= {"prefill_8": signature(8, 32), "decode": signature(1, 32)}
    calls = signature_calls(infos, Samples(None, 100))
    name, arrays = next(calls)
    for number in range(1, 2 * len(infos)):
        before = {key: arrays[key] for key in infos[name].outputs}
        written = {key: np.full(value.shape, number, np.float32) for key, value in before.items()}
        last = name
        name, arrays = calls.send(written)
        if name == "prefill_8_16":  # the next round
            assert not any(arrays[key].any() for key in written)
            continue
        slots = infos[last].inputs["kv_cache_k_0"].shape[2]
        keys, values = arrays["kv_cache_k_0"], arrays["kv_cache_v_0"]
        assert (keys[:, :, :slots] == number).all() and not keys[:, :, slots:].any()
        assert (values[..., :slots] == number).all() and not values[..., slots:].any()
