"""A text goes through the smallest signature that holds it, and gets the same answer."""

import numpy as np
import pytest

from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime import load
from modelzoo.runtime.engines.base import SignatureInfo, TensorInfo
from modelzoo.runtime.engines.static_shapes import Size, plan_calls, sizes_of

# [CLS] and [SEP] come on top; the sizes are 12 tokens and 5, and 4 texts at once and 2.
SHORT = ["a", "b c", "a d e", "f", "k [MASK]"]
LONG = ["a b c d", "l k j i h g f e d c"]


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    """{kind: (a model in one size, the same in several, the calls of the latter)}."""
    directory, found = tmp_path_factory.mktemp("sizes"), {}
    for kind in ("classes", "tokens", "embedding"):
        names = (kind, f"{kind}_sizes")
        one, several = (load(tiny.bundle(name, directory / name), threads=1) for name in names)
        found[kind] = (one, several, recorded(several.engine))
    return found


def recorded(engine):
    calls, run = [], engine.run

    def wrapper(name, inputs):
        calls.append(name)
        return run(name, inputs)

    engine.run = wrapper
    return calls


@pytest.mark.parametrize(
    "text, name", [("a", "serve_b"), ("a b c", "serve_b"), ("a b c d", "serve"), (LONG[1], "serve")]
)
def test_a_text_goes_through_the_shortest_that_holds_it(models, text, name):
    one, several, calls = models["embedding"]
    calls.clear()
    np.testing.assert_allclose(several.embed(text), one.embed(text), atol=1e-6)
    assert calls == [name]


def test_texts_of_similar_length_go_together(models):
    one, several, calls = models["embedding"]
    texts = [LONG[0], *SHORT, LONG[1], *LONG, "a"]
    calls.clear()
    vectors = several.embed(texts)
    assert sorted(calls) == ["serve_a"] * 3 + ["serve_c"]
    np.testing.assert_allclose(vectors, one.embed(texts), atol=1e-6)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, one.embed(text), atol=1e-6)


def test_classes_of_a_list_are_those_of_its_texts(models):
    one, several, calls = models["classes"]
    texts = [*SHORT, ("a b", "c"), LONG[1]]
    calls.clear()
    got = several.classify(texts, top=2)
    assert len(calls) == 3 + 2  # two, two and one short texts, two long ones
    for text, answer in zip(texts, got, strict=True):
        expected = one.classify(text, top=2)
        assert [label for label, _ in answer] == [label for label, _ in expected]
        assert [p for _, p in answer] == pytest.approx([p for _, p in expected], abs=1e-5)
    assert several.classify([]) == []


def test_masks_are_filled_in_the_row_of_their_text(models):
    one, several, calls = models["tokens"]
    texts = ["[MASK] b", "[MASK] [MASK]", "a b c d [MASK]", "c [MASK]", "d [MASK]"]
    calls.clear()
    got = several.fill_mask(texts, top=3)
    assert sorted(calls) == ["serve", "serve_a", "serve_a"]
    for text, answer in zip(texts, got, strict=True):
        expected = one.fill_mask(text, top=3)
        assert names(answer) == names(expected)
    calls.clear()
    with pytest.raises(ModelzooError, match="holds no mask"):
        several.fill_mask(["[MASK]", "a"])
    assert calls == []  # before anything ran


def names(answer):
    return [names(one) if isinstance(one, list) else one[0] for one in answer]


def test_the_longest_size_is_the_limit(models):
    one, several, _ = models["embedding"]
    long = " ".join("abcdefghijkl")
    with pytest.raises(OverflowTextError, match="14 tokens"):
        several.embed(["a", long])
    np.testing.assert_allclose(
        several.embed(long, truncate=True), one.embed(long, truncate=True), atol=1e-6
    )


def test_calls_waste_as_little_as_the_sizes_allow():
    sizes = [Size(8, 1, "one"), Size(8, 4, "four"), Size(32, 8, "eight")]
    calls = [(size.name, rows) for size, rows in plan_calls(sizes, [1, 9, 8, 3, 32, 2, 7])]
    assert calls == [("four", [0, 2, 3, 5]), ("one", [6]), ("eight", [1, 4])]
    assert plan_calls(sizes, []) == []


def test_sizes_are_of_the_same_inputs_and_outputs():
    def info(rows, length, output="logits", **more):
        ids = TensorInfo((rows, length), "int32")
        return SignatureInfo({"token_ids": ids, **more}, {output: TensorInfo((rows, 2), "float32")})

    signatures = {
        "serve": info(1, 64),
        "serve_x": info(1, 8),
        "serve_y": info(1, 9, "other"),
        "serve_z": info(1, 10, images=TensorInfo((1, 3), "float32")),
        "served": info(1, 11),
        "embed_8": info(1, 8),
    }
    assert [size.name for size in sizes_of(signatures, "serve")] == ["serve_x", "serve"]
