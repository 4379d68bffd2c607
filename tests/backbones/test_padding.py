"""Padding is as if it were not there, on either side."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core import (
    DECODERS,
    ENCODER_DECODERS,
    ENCODERS,
    FAMILIES,
    RECURRENT,
    VOCAB,
    assert_near,
    number,
    small,
    token_ids,
)

LENGTH, REAL = 7, 4
SIDES = {"right": slice(0, REAL), "left": slice(LENGTH - REAL, LENGTH)}


def sequence(outputs):
    return number(outputs["sequence"] if isinstance(outputs, dict) else outputs)


def masked(side: str, dtype="int32"):
    """Ids (2, LENGTH) whose second row is padded on one side, and their mask."""
    mask = np.ones((2, LENGTH), dtype)
    mask[1] = 0
    mask[1, SIDES[side]] = 1
    return token_ids(2, LENGTH), mask


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS, *RECURRENT])
def test_padded_ids_change_nothing_for_real_tokens(name, side):
    model, (ids, mask) = small(name), masked(side)
    other = np.where(mask > 0, ids, (ids + 1) % VOCAB)
    before, after = (sequence(model({"token_ids": i, "padding_mask": mask})) for i in (ids, other))
    assert np.isfinite(before).all()
    assert_near(after[mask > 0], before[mask > 0], 1e-6)
    if name not in RECURRENT:  # where masked steps hand on what was before them
        assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS, *RECURRENT])
def test_a_text_padded_on_the_right_is_the_text_alone(name):
    model, (ids, mask) = small(name), masked("right", bool)
    together = sequence(model({"token_ids": ids, "padding_mask": mask}))
    alone = sequence(model({"token_ids": ids[1:, :REAL]}))
    assert_near(together[1, :REAL], alone[0])


@pytest.mark.parametrize("name", ["lstm", "gru", "relative", "llama"])
def test_a_text_padded_on_the_left_is_the_text_alone_where_distances_alone_count(name):
    model, (ids, mask) = small(name), masked("left")
    together = sequence(model({"token_ids": ids, "padding_mask": mask}))
    alone = sequence(model(ids[1:, -REAL:]))
    assert_near(together[1, -REAL:], alone[0], 1e-4)


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_the_padding_of_source_and_target_is_as_if_it_were_not_there(name):
    model = small(name)
    source, source_mask = masked("right")
    target, target_mask = token_ids(2, 5, seed=4), np.array([[1] * 5, [1, 1, 1, 0, 0]], "int32")
    keys = ("token_ids", "padding_mask", "decoder_token_ids", "decoder_padding_mask")

    def run(*values):
        return number(model(dict(zip(keys, values, strict=True))))

    before = run(source, source_mask, target, target_mask)
    other = run(
        np.where(source_mask > 0, source, (source + 1) % VOCAB),
        source_mask,
        np.where(target_mask > 0, target, (target + 1) % VOCAB),
        target_mask,
    )
    assert_near(other[target_mask > 0], before[target_mask > 0], 1e-6)
    alone = number(model({keys[0]: source[1:, :REAL], keys[2]: target[1:, :3]}))
    assert_near(before[1, :3], alone[0])


@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS])
def test_ids_alone_are_a_batch_without_padding(name):
    model, ids = small(name), token_ids(2, LENGTH)
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    assert_near(sequence(model(ids)), sequence(model(inputs)), 1e-6)


def test_a_row_of_nothing_but_padding_spoils_neither_itself_nor_the_others():
    for name in [name for name in FAMILIES if name not in ENCODER_DECODERS]:
        model, ids = small(name), token_ids(2, LENGTH)
        mask = np.array([[1] * LENGTH, [0] * LENGTH])
        assert_near(
            sequence(model({"token_ids": ids, "padding_mask": mask}))[0], sequence(model(ids))[0]
        )


def test_segments_count_and_are_zero_where_none_are_given():
    model, ids = small("bert"), token_ids(2, LENGTH)
    zeros, ones = np.zeros_like(ids), np.ones_like(ids)
    plain = sequence(model(ids))
    assert_near(sequence(model({"token_ids": ids, "segment_ids": zeros})), plain, 0)
    assert np.abs(sequence(model({"token_ids": ids, "segment_ids": ones})) - plain).max() > 1e-2
