"""One code path, two ways through it: tokens step by step over a state, and all at once."""

from __future__ import annotations

from itertools import cycle, product

import numpy as np
import pytest
from keras import ops

from modelzoo.architectures import gpt
from tests.core import (
    DECODERS,
    ENCODER_DECODERS,
    RECURRENT,
    VOCAB,
    assert_near,
    number,
    randomise,
    run_steps,
    small,
    token_ids,
)

LENGTH = 5
ONE_BY_ONE, CHUNKS = [1] * LENGTH, [2, 1, 2]


def combinations():
    """Positions x norm position x grouping in full; the other options take turns in them."""
    turns = zip(
        cycle(["layer", "rms", "rms"]),
        cycle([None, 6, 6]),
        cycle([True, True, False, False]),
        cycle([False, False, True, True, True]),
        strict=False,
    )
    choices = product(("learned", "sine", "rotary", "relative", "none"), ("pre", "post"), (None, 2))
    for (positions, where, kv_heads), (norm, head_dim, tied, gated) in zip(
        choices, turns, strict=False
    ):
        yield pytest.param(
            {
                "positions": positions,
                "norm_position": where,
                "num_kv_heads": kv_heads,
                "norm": norm,
                "head_dim": head_dim,
                "tie_embeddings": tied,
                "gated": gated,
            },
            id=f"{positions}-{where}-{norm}-kv{kv_heads}-head{head_dim}-tied{tied:d}-gated{gated:d}",
        )


@pytest.mark.parametrize("options", list(combinations()))
def test_a_decoder_over_its_cache_gives_the_logits_of_the_full_pass(options):
    sizes = {"vocab_size": VOCAB, "num_layers": 1, "hidden_dim": 16, "num_heads": 4}
    model = randomise(gpt.build(**sizes, max_length=12, **options))
    ids = token_ids(2, LENGTH)
    full = number(model.logits(model(ids)))
    assert_near(run_steps(model, ids, ONE_BY_ONE), full, 1e-4)
    assert_near(run_steps(model, ids, CHUNKS, slots=8), full, 1e-4)
    assert_near(run_steps(model, ids[:1], [LENGTH]), full[:1], 1e-4)  # one row writes another way


@pytest.mark.parametrize("name", ["olmo 2", "gpt-j", "opt"])
def test_a_decoder_of_another_shape_over_its_cache_gives_the_logits_of_the_full_pass(name):
    model, ids = small(name), token_ids(2, LENGTH)
    full = number(model.logits(model(ids)))
    assert_near(run_steps(model, ids, ONE_BY_ONE), full, 1e-4)
    assert_near(run_steps(model, ids, CHUNKS, slots=8), full, 1e-4)


def test_windows_part_turned_heads_and_layers_without_positions_step_as_in_the_full_pass():
    """With all that a decoder's rotary positions can be, over a cache longer than the window."""
    longrope = {"type": "longrope", "factor": 2, "original_max_length": 6}
    longrope |= {"short_factor": [1.0, 1.5, 2.0], "long_factor": [2.0, 4.0, 8.0]}
    options = {"positions": "rotary", "rotary_fraction": 0.75, "rotary_pattern": (True, False)}
    options |= {"attention_pattern": ("local", "global", "local"), "sliding_window": 3}
    options |= {"attention_softcap": 2.0, "logit_softcap": 3.0, "head_dim": 8, "num_kv_heads": 2}
    sizes = {"vocab_size": VOCAB, "num_layers": 3, "hidden_dim": 16, "num_heads": 4}
    ids, found = token_ids(2, 6), []
    for length in (6, 12):  # turned by the short factors, and by the long ones
        model = gpt.build(**sizes, **options, rotary_scaling=longrope, max_length=length)
        model = randomise(model)
        found.append(number(model.logits(model(ids))))
        assert_near(run_steps(model, ids, [1] * 6), found[-1], 1e-4)
        assert_near(run_steps(model, ids, [3, 1, 2], slots=10), found[-1], 1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    with_all = gpt.build(**sizes, **{**options, "rotary_pattern": (True,)}, max_length=12)
    with_all.set_weights(model.get_weights())
    assert np.abs(number(with_all.logits(with_all(ids))) - found[1]).max() > 1e-3


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_network_step_by_step_gives_the_logits_of_the_full_pass(name):
    model, ids = small(name), token_ids(2, LENGTH)
    full = number(model.logits(model(ids)))
    assert_near(run_steps(model, ids, ONE_BY_ONE), full, 1e-4)
    assert_near(run_steps(model, ids, CHUNKS), full, 1e-4)


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_over_a_memory_made_once_the_target_steps_as_in_the_full_pass(name):
    model, source, target = small(name), token_ids(2, 5, seed=1), token_ids(2, LENGTH)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], "int32")
    inputs = {"token_ids": source, "padding_mask": mask, "decoder_token_ids": target}
    full = number(model.logits(model(inputs)))
    context = model.encode(source, mask), ops.convert_to_tensor(mask)
    assert_near(run_steps(model, target, ONE_BY_ONE, LENGTH, *context), full, 1e-4)
    assert_near(run_steps(model, target, CHUNKS, 8, *context), full, 1e-4)


@pytest.mark.parametrize("name", ["gpt-2", "llama", "relative", "lstm", "gru"])
def test_rows_of_unequal_length_step_at_their_own_positions(name):
    """Prefill pads the short row with -1; then each goes on where its own text ended."""
    model, (long, short), follow = small(name), (6, 2), token_ids(2, 3, seed=5)
    ids = token_ids(2, long)
    padded = ids.copy()
    padded[1, short:] = -1
    positions = np.tile(np.arange(long, dtype="int32"), (2, 1))
    tensors = [ops.convert_to_tensor(a) for a in (padded, positions)]
    _, cache = model.step(*tensors, model.init_cache(2, 12))
    got = []
    for t in range(3):
        where = np.array([[long + t], [short + t]], "int32")
        logits, cache = model.step(
            ops.convert_to_tensor(follow[:, t : t + 1]), ops.convert_to_tensor(where), cache
        )
        got.append(number(logits))
    got = np.concatenate(got, axis=1)
    for row, length in enumerate((long, short)):
        text = np.concatenate([ids[row : row + 1, :length], follow[row : row + 1]], axis=1)
        alone = number(model.logits(model(text)))[0, length:]
        assert_near(got[row], alone, 1e-4)


def test_a_window_can_be_refilled_where_it_was_filled_before():
    """What a shifted chunk computes again comes out the same."""
    model, ids = small("gpt-2"), token_ids(1, LENGTH)
    cache = model.init_cache(1, LENGTH)
    for start, stop in ((0, 3), (1, 4), (2, 5)):
        where = ops.reshape(ops.arange(start, stop, dtype="int32"), (1, -1))
        logits, cache = model.step(ops.convert_to_tensor(ids[:, start:stop]), where, cache)
    assert_near(number(logits), number(model.logits(model(ids)))[:, 2:], 1e-4)


def test_nothing_here_leaves_a_recurrent_state_alone():
    for name in ("lstm", "gru"):
        model = small(name)
        zero = ops.convert_to_tensor(np.zeros((2, 1), "int32"))
        _, before = model.step(ops.convert_to_tensor(token_ids(2, 1)), zero, model.init_cache(2))
        _, after = model.step(ops.convert_to_tensor(np.array([[-1], [3]], "int32")), zero, before)
        for key in before:
            assert_near(number(after[key])[0], number(before[key])[0], 0)
            assert np.abs(number(after[key])[1] - number(before[key])[1]).max() > 1e-4


def test_a_cache_has_a_slot_a_position_and_a_head_a_group():
    cache = small("llama").init_cache(3, 9)
    assert {name: tuple(value.shape) for name, value in cache.items()} == {
        "kv_cache_k_0": (3, 2, 9, 6),
        "kv_cache_v_0": (3, 2, 6, 9),
        "kv_cache_k_1": (3, 2, 9, 6),
        "kv_cache_v_1": (3, 2, 6, 9),
    }
    assert {k: tuple(v.shape) for k, v in small("gru").init_cache(3).items()} == {
        "state_h_0": (3, 12),
        "state_h_1": (3, 8),
    }


def test_what_comes_later_changes_nothing_before_it():
    for name in (*DECODERS, "lstm", "gru"):
        model, ids = small(name), token_ids(2, LENGTH)
        other = ids.copy()
        other[:, 3:] = (other[:, 3:] + 1) % VOCAB
        before, after = number(model(ids)), number(model(other))
        assert_near(after[:, :3], before[:, :3], 1e-6)
        assert np.abs(after[:, 3:] - before[:, 3:]).max() > 1e-3
