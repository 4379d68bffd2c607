"""A vocabulary that is cut to a corpus: fewer rows, the same answers of the tokens left."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.errors import DataError, ExportError, ModelzooError, RecipeError
from modelzoo.exporting.process import child
from modelzoo.exporting.process.options import export_options, vocabulary_options
from modelzoo.exporting.vocabulary import compare, cut_model, cut_of_bundle, cut_to_corpus
from modelzoo.recipe import override, read_lock
from modelzoo.registry.of_recipe import recipe_of
from modelzoo.runtime import load
from tests import captioners
from tests.export.conftest import FAMILIES, TEXTS, VOCAB, make

CORPUS = "the river was low\nand the boys walked across it\n"
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "{{ '~' + m.role + '~' + m.content }}{% endfor %}"
)
# What has a row for each token: the width of the table, of a head, and of biases.
TALL = {
    "gpt": 32,
    "parallel": 24 + 24 + 1,
    "lstm": 24 + 1,
    "gru": 24 + 24 + 1,
    "t5": 32,
    "marian": 32 + 1,
    "albert": 24 + 1,
    "bert": 32 + 1,
    "bert classifier": 32,
    "embedder": 32,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(CORPUS, encoding="utf-8")
    return str(path)


def family(name: str):
    return make(name, *FAMILIES[name][:3])


@pytest.mark.parametrize("name", TALL)
def test_sizes_fall_as_computed_and_answers_stay(name, corpus):
    model = family(name)
    cut = cut_to_corpus(model, corpus)
    small = cut_model(model, cut)
    gone = VOCAB - len(cut.rows)
    assert 20 < gone == VOCAB - small.backbone.vocab_size
    assert model.count_params() - small.count_params() == gone * TALL[name]
    figures = compare(model, small, cut, {})
    assert figures["max_abs_error"] < 1e-5 and figures["largest"] > 0.1
    assert (figures["tokens"], figures["of"]) == (len(cut.rows), VOCAB)


def test_a_row_in_the_wrong_place_is_found(corpus):
    model = family("gpt")
    cut = cut_to_corpus(model, corpus)
    small = cut_model(model, cut)
    table = small.backbone.tokens.embeddings
    table.assign(np.roll(keras.ops.convert_to_numpy(table), 1, axis=0))
    with pytest.raises(ExportError, match="smaller vocabulary, decode: logits: max error"):
        compare(model, small, cut, {})


def test_the_recipe_builds_a_model_of_that_size(corpus):
    model = family("lstm")
    changes = {"export.vocabulary": corpus, "export.prefill_lengths": [3]}
    changes["tokenizer.roles"] = {"eos": 0, "bos": ""}
    model.recipe = override(model.recipe, changes)
    small = cut_model(model, cut_to_corpus(model, corpus))
    recipe = recipe_of(small)
    assert recipe.table("export") == {"prefill_lengths": [3]}
    assert recipe.table("tokenizer")["roles"] == {"eos": "<|endoftext|>", "bos": ""}
    assert modelzoo.build(recipe, compile=False).count_params() == small.count_params()


def test_the_token_of_an_image_has_its_new_id(corpus):
    last = captioners.VOCAB - 1
    model = captioners.model("prefix in text", image_token=last)
    small = cut_model(model, cut_to_corpus(model, corpus))
    number = small.backbone.vocab_size - 1
    assert number < last
    assert small.backbone.image_token == recipe_of(small).table("model")["image_token"] == number
    assert recipe_of(small).table("model")["decoder"]["model"]["vocab_size"] == number + 1
    assert model.tokenizer.id_to_token(last) == small.tokenizer.id_to_token(number)


def test_greedy_text_is_the_whole_model_s_among_the_tokens_that_are_left(corpus):
    model = family("gpt")
    cut = cut_to_corpus(model, corpus)
    small = cut_model(model, cut)
    for line in CORPUS.splitlines():
        prompt = cut.tokenizer.encode(line)
        (found,) = small.generate_tokens([prompt], max_new_tokens=8, stop_tokens=())
        text = model.tokenizer.encode(line)
        for token in found:
            logits = keras.ops.convert_to_numpy(model(np.array([text], np.int32)))[0, -1]
            assert logits[list(cut.rows)].argmax() == token
            text.append(cut.rows[token])
        assert len(found) == 8


def test_what_the_chat_template_writes_stays(corpus):
    pytest.importorskip("jinja2")
    model = family("gpt")
    size = len(cut_to_corpus(model, corpus).rows)
    model.chat_template = TEMPLATE.replace("~", "that summer")
    cut = cut_to_corpus(model, corpus)
    assert len(cut.rows) > size
    assert set(model.tokenizer.encode("that summer")) <= set(cut.rows)
    assert cut_model(model, cut).chat_template == model.chat_template


# === What is wrong ===


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.txt", b"", "the file is empty"),
        ("blank.txt", b" \n\n", "there is no example in the data"),
        ("image.txt", b"\x89PNG\r\n\x1a\n", "not UTF-8: byte 0x89"),
        ("image.png", b"\x89PNG", "no reader for .png"),
        ("folder", None, "must be a file of texts, and this is a directory"),
        ("missing.txt", ..., "no such file or directory"),
    ],
)
def test_a_corpus_that_is_none_is_named(tmp_path, name, content, said):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif content is not ...:
        path.write_bytes(content)
    with pytest.raises((ExportError, DataError), match=said) as caught:
        cut_to_corpus(family("lstm"), str(path))
    assert name in str(caught.value)


def test_a_model_without_a_tokenizer_cannot_be_cut(corpus):
    model = family("lstm")
    model.tokenizer = None
    with pytest.raises(ExportError, match="this model has none"):
        cut_to_corpus(model, corpus)


def test_the_table_takes_them_beside_the_model_s_own(corpus):
    model = family("gpt")
    given = {"vocabulary": corpus, "vocabulary_size": 290, "max_length": 32}
    assert export_options(model, given) == {"max_length": 32}
    chosen = vocabulary_options(model, given)
    assert (chosen.vocabulary, chosen.vocabulary_size) == (corpus, 290)
    with pytest.raises(ExportError, match="vocabulary_size is 290, and export.vocabulary"):
        vocabulary_options(model, {"vocabulary_size": 290})
    with pytest.raises(RecipeError, match=r"did you mean: vocabulary\?"):
        export_options(model, {"vocabluary": corpus})


def test_a_cut_of_another_model_is_named(corpus):
    model, other = family("gpt"), family("t5")
    small = cut_to_corpus(other, corpus).tokenizer
    with pytest.raises(ExportError, match="its vocabulary was cut from another one"):
        cut_of_bundle(model, small)


# === Through the converter ===


@pytest.fixture(scope="module")
def exported(tmp_path_factory, corpus):
    """Bundle directories and what the child answered, by name."""
    folder, jobs = tmp_path_factory.mktemp("cut"), {}
    for name, more in {
        "gpt": {"quantize": "int8", "format": "tflite"},
        "embedder": {"quantize": "float32", "format": "savedmodel"},
        "too small": {"quantize": "int8", "format": "tflite"},
    }.items():
        kind = name if name in FAMILIES else "gpt"
        if not (folder / kind).exists():
            modelzoo.save(family(kind), folder / kind)
        bundle = folder / f"{name}.bundle"
        bundle.mkdir()
        options = {"vocabulary": corpus, **({"vocabulary_size": 9} if name == "too small" else {})}
        if kind == "gpt":
            options |= {"prefill_lengths": [8], "max_length": 48}
        common = {"job": "export", "name": name, "model": str(folder / kind)}
        jobs[name] = {**common, "folder": str(bundle), "options": options, **more}
    verify = {"job": "verify", "bundle": str(folder / "gpt.bundle"), "model": str(folder / "gpt")}
    jobs["verify"] = verify
    return folder, dict(zip(jobs, child.run_all(list(jobs.values())), strict=True))


@pytest.mark.parametrize("name", ["gpt", "embedder"])
def test_a_bundle_says_what_was_cut_and_reads_the_corpus_as_before(exported, corpus, name):
    folder, answers = exported
    if isinstance(answers[name], ModelzooError):
        raise answers[name]
    manifest, parity = answers[name]["manifest"], answers[name]["parity"]
    cut = manifest["vocabulary"]
    assert cut["tokens"] == cut["needed"] == manifest["vocab_size"] < cut["of"] == VOCAB
    assert cut["corpus"] == "corpus.txt" and len(cut["sha256"]) == 64
    assert "vocabulary" not in manifest["options"]
    assert parity["vocabulary"]["max_abs_error"] < 1e-5
    bundle = load(folder / f"{name}.bundle", trust=True)
    whole = modelzoo.load(folder / name).tokenizer
    for text in (CORPUS, *CORPUS.splitlines()):
        first, second = (
            [one.id_to_token(id) for id in one.encode(text)] for one in (bundle.tokenizer, whole)
        )
        assert first == second
    assert bundle.tokenizer.decode(bundle.tokenizer.encode(TEXTS[1])) == TEXTS[1]
    recipe, _ = read_lock(folder / f"{name}.bundle")
    assert recipe.table("model")["vocab_size"] == cut["tokens"]
    page = (folder / f"{name}.bundle" / "README.md").read_text("utf-8")
    assert f"cut from 300 to {cut['tokens']} tokens. The texts of `corpus.txt`" in page


def test_the_device_continues_a_text(exported):
    folder, _ = exported
    bundle = load(folder / "gpt.bundle", trust=True)
    assert isinstance(bundle.generate("the river", max_new_tokens=4), str)
    logits = bundle.engine.signatures["decode"].outputs["logits"]
    assert logits.shape[-1] == bundle.manifest["vocabulary"]["tokens"]


def test_verify_cuts_the_model_again(exported):
    answer = exported[1]["verify"]
    if isinstance(answer, ModelzooError):
        raise answer
    cut = answer["parity"]["vocabulary"]
    assert cut["tokens"] < cut["of"] == VOCAB and cut["max_abs_error"] < 1e-5
    assert answer["parity"]["signatures"]["decode"]


def test_a_size_below_what_the_corpus_needs_is_an_error(exported):
    error = exported[1]["too small"]
    assert isinstance(error, ExportError)
    assert "export.vocabulary_size is 9, and the corpus needs" in error.what
    assert error.next_step.startswith("take ")
