"""A loaded bundle takes text and gives answers that equal the mathematics behind it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from modelzoo.errors import BundleError, ModelzooError, OverflowTextError
from modelzoo.runtime import load

EOS, MASK = 4, 3


def until_eos(tokens):
    return tokens[: (tokens + [EOS]).index(EOS)]


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")

    def open_(name, **manifest):
        return load(tiny.bundle(name, directory / name, **manifest), threads=1)

    return {
        "decoder": open_("decoder"),
        "seq2seq": open_("seq2seq"),
        "classes": open_("classes", labels=["bad", "fair", "good"]),
        "tokens": open_("tokens"),
        "embedding": open_("embedding"),
    }


# === Generation ===


@pytest.mark.parametrize("prompt", ["a", "a b c d", "l k j i h g f e d c b a"])
def test_generated_text_is_that_of_the_numpy_model(tiny, models, prompt):
    model = models["decoder"]
    ids = model.tokenizer.encode(prompt)
    expected = until_eos(tiny.attention.greedy(ids, 4))
    assert model.generate(prompt, max_new_tokens=4) == model.tokenizer.decode(expected)
    result = model.generate_results([prompt], max_new_tokens=4)[0]
    assert list(result.tokens) == expected
    assert result.finish_reason == ("length" if len(expected) == 4 else "stop")


def test_streamed_pieces_join_to_the_text(models):
    model = models["decoder"]
    options = {"max_new_tokens": 9, "temperature": 5.0, "seed": 3}
    prompts = ["a b", "c", "a b"]
    whole = model.generate(prompts, **options)
    assert whole[0] != whole[2]  # copies draw their own numbers
    assert whole[:2] == [model.generate(prompt, **options) for prompt in prompts[:2]]
    rows = ["", "", ""]
    for row, piece in model.generate(prompts, stream=True, **options):
        rows[row] += piece
    assert rows == whole
    assert "".join(model.generate("c", stream=True, **options)) == whole[1]


@pytest.mark.parametrize("source", ["a", "a b c", "l k j i h"])
def test_encoder_decoder_reads_its_source(tiny, models, source):
    model = models["seq2seq"]
    ids = [*model.tokenizer.encode(source), EOS]
    context = tiny.attention.embedding[ids].mean(0)
    result = model.generate_results([source], max_new_tokens=8)[0]
    assert list(result.tokens) == until_eos(tiny.attention.greedy([0], 8, context))


def test_encoder_decoder_batch_equals_one_by_one_and_copies_differ(models):
    options = {"max_new_tokens": 8, "temperature": 2.0}
    sources = ["a b", "c d", "a b"]
    got = models["seq2seq"].generate(sources, **options)
    assert got[:2] == [models["seq2seq"].generate(source, **options) for source in sources[:2]]
    assert got[2] != got[0]


def test_a_source_longer_than_the_encoder_is_refused_or_cut(models):
    model = models["seq2seq"]
    with pytest.raises(OverflowTextError, match=r"8 tokens.* 6(.|\n)*truncate=True"):
        model.generate("a b c d e f g")
    cut = model.generate("a b c d e f g", truncate=True, max_new_tokens=8)
    assert cut == model.generate("a b c d e", max_new_tokens=8)  # eos stays


def test_a_prompt_longer_than_the_window_is_refused_or_loses_its_beginning(models):
    model = models["decoder"]
    prompt = " ".join("abcdefghijklabcdefgh")
    with pytest.raises(OverflowTextError, match="20 tokens.* 16"):
        model.generate(prompt)
    cut = model.generate(prompt, truncate=True, max_new_tokens=4)
    assert cut == model.generate(prompt[-23:], max_new_tokens=4)  # the last 12 words
    assert model.generate(prompt, truncate=True) == model.generate(prompt[-15:])  # the last 8


def test_stop_strings_end_the_text(models):
    model = models["decoder"]
    text = model.generate("a b", max_new_tokens=9, temperature=1.5, seed=3)
    word = text.split()[2]
    cut = model.generate("a b", max_new_tokens=9, temperature=1.5, seed=3, stop=word)
    assert cut == text[: text.index(word)]


def test_wrong_options_are_refused_before_anything_runs(models):
    with pytest.raises(ModelzooError, match="did you mean: max_new_tokens"):
        models["decoder"].generate("a", max_new_token=5)
    with pytest.raises(ModelzooError, match="temperature"):
        models["decoder"].generate("a", stream=True, temperature=-1.0)
    with pytest.raises(ModelzooError, match="str, not int"):
        models["decoder"].generate([3])
    for wrong in (3, None, b"a"):
        with pytest.raises(ModelzooError, match="list of texts"):
            models["decoder"].generate(wrong)
        with pytest.raises(ModelzooError, match="list of texts"):
            models["classes"].classify(wrong)


def test_missing_start_token_is_a_bundle_error(tiny, tmp_path):
    model = load(tiny.bundle("seq2seq", tmp_path / "b", processing={}))
    with pytest.raises(BundleError, match="start_token"):
        model.generate("a")


# === One forward pass ===


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def test_classes_come_with_their_probabilities(tiny, models):
    attention, model = tiny.attention, models["classes"]
    ids = [1, *model.tokenizer.encode("c a b"), 2]
    expected = softmax(attention.embedding[ids].mean(0) @ attention.head[:, :3])
    answer = model.classify("c a b")
    assert [label for label, _ in answer] == [
        ["bad", "fair", "good"][n] for n in np.argsort(-expected)
    ]
    np.testing.assert_allclose([p for _, p in answer], np.sort(expected)[::-1], rtol=1e-5)
    assert model.classify("c a b", top=1) == answer[:1]
    assert model.classify(["c a b", ("c", "a b")])[0] == answer
    assert model.classify(("c", "a b")) == model.classify(["c a b", ("c", "a b")])[1]
    assert model.classify(("c", "a b")) != answer  # one more [SEP]


def test_a_text_longer_than_the_model_is_refused_or_cut(models):
    model = models["classes"]
    long = " ".join("abcdefghijkl")
    with pytest.raises(OverflowTextError, match=r"14 tokens.* 12(.|\n)*truncate=True"):
        model.classify(long)
    assert model.classify(long, truncate=True) == model.classify(" ".join("abcdefghij"))


def test_labels_may_be_missing(tiny, tmp_path):
    model = load(tiny.bundle("classes", tmp_path / "b"))
    assert sorted(label for label, _ in model.classify("a")) == ["0", "1", "2"]


def test_masks_are_filled(tiny, models):
    attention, model = tiny.attention, models["tokens"]
    ids = [1, *model.tokenizer.encode("c a"), MASK, *model.tokenizer.encode("b"), 2]
    x = attention.embedding[ids]
    expected = softmax((x[3] + x.mean(0)) @ attention.head)
    answer = model.fill_mask("c a [MASK] b", top=3)
    assert len(answer) == 3 and len(model.fill_mask("[MASK]")) == 5
    order = np.argsort(-expected)[:3]
    assert [word for word, _ in answer] == [model.tokenizer.id_to_token(n) for n in order]
    np.testing.assert_allclose([p for _, p in answer], expected[order], rtol=1e-5)
    two = model.fill_mask("c [MASK] [MASK]", top=2)
    assert [len(one) for one in two] == [2, 2]
    assert model.fill_mask(["c a [MASK] b"], top=3) == [answer]
    with pytest.raises(ModelzooError, match=r"no mask(.|\n)*\[MASK\]"):
        model.fill_mask("c a b")


def test_embeddings_ignore_the_padding(tiny, models):
    model = models["embedding"]
    ids = [1, *model.tokenizer.encode("c a b"), 2]
    vector = model.embed("c a b")
    np.testing.assert_allclose(vector, tiny.attention.embedding[ids].mean(0), atol=1e-6)
    both = model.embed(["c a b", "d"])
    assert both.shape == (2, 8) and both.dtype == np.float32
    np.testing.assert_array_equal(both[0], vector)


@pytest.mark.parametrize(
    "name, call, can",
    [
        ("decoder", "classify", "generate"),
        ("seq2seq", "fill_mask", "generate"),
        ("classes", "generate", "classify"),
        ("tokens", "embed", "fill_mask"),
        ("embedding", "classify", "embed"),
    ],
)
def test_what_does_not_fit_says_what_does(models, name, call, can):
    assert models[name].abilities[0] == can
    with pytest.raises(ModelzooError, match=f"{name} .*cannot `{call}`; it can `{can}`"):
        getattr(models[name], call)("a [MASK]")


def test_a_manifest_narrows_the_abilities_and_adds_none(tiny, tmp_path):
    stated = ["sing", "__init__", "classify", "fill_mask"]
    model = load(tiny.bundle("classes", tmp_path / "a", abilities=stated))
    assert model.abilities == ("classify",)
    model = load(tiny.bundle("classes", tmp_path / "b", abilities=["sing"]))
    assert model.abilities == ()
    with pytest.raises(ModelzooError, match="cannot `classify`; it can run signatures by name"):
        model.classify("a")


@pytest.mark.parametrize("top", [0, -1, 1.5, True])
def test_top_must_be_a_positive_whole_number(models, top):
    with pytest.raises(ModelzooError, match="top"):
        models["classes"].classify("a", top=top)


# === Loading ===


def test_hashes_are_checked_before_anything_is_loaded(tiny, tmp_path):
    path = tiny.bundle("decoder", tmp_path / "b")
    content = (path / "model.tflite").read_bytes()
    (path / "model.tflite").write_bytes(content[:-100])
    with pytest.raises(BundleError, match=r"model.tflite is not the file(.|\n)*sha256"):
        load(path)


def test_runtime_needs_neither_keras_nor_tensorflow_and_is_quiet(tiny, tmp_path):
    decoder = tiny.bundle("decoder", tmp_path / "decoder")
    classes = tiny.bundle("classes", tmp_path / "classes")
    code = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax", "torch", "h5py", "pandas"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
from modelzoo.runtime import load
print(load(sys.argv[1]).generate("a b c", max_new_tokens=5))
print(load(sys.argv[2]).classify("a b")[0][0])
modules = {name.partition(".")[0] for name in sys.modules}
assert not modules & {"keras", "tensorflow", "jax", "torch"}, modules
ours = {name for name in sys.modules if name.startswith("modelzoo.")}
rooms = ("runtime", "errors", "about", "child_process", "files", "keras_registration")
allowed = tuple(f"modelzoo.{room}" for room in rooms)
assert all(name.startswith(allowed) for name in ours), ours
"""
    child = subprocess.run(
        [sys.executable, "-c", code, decoder, classes], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""  # LiteRT's log stays off the terminal, at load and at exit
    text, label = child.stdout.splitlines()
    assert text == load(decoder).generate("a b c", max_new_tokens=5)
    assert label == load(classes).classify("a b")[0][0]


def test_saved_model_without_tensorflow_names_the_extra(tiny, tmp_path):
    path = tiny.bundle("classes", tmp_path / "b", format="savedmodel")
    code = """
import sys
sys.modules["tensorflow"] = None
from modelzoo.runtime import load
from modelzoo.errors import MissingDependencyError
try:
    load(sys.argv[1])
except MissingDependencyError as error:
    print(error)
"""
    child = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "modelzoo-keras[tensorflow]" in child.stdout, child.stderr


def test_importing_the_runtime_imports_no_numpy():
    code = "import modelzoo.runtime, sys; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_manifest_roles_name_the_tokens(tiny, tmp_path):
    path = tiny.bundle(
        "decoder", tmp_path / "b", tokenizer={"file": "tokenizer.json", "roles": {"eos": 9}}
    )
    assert load(path).tokenizer.roles["eos"] == 9
    assert json.loads((path / "manifest.json").read_text())["tokenizer"]["roles"] == {"eos": 9}
