"""What goes into a .litertlm file, and what does not. LiteRT-LM runs in tests/real."""

from __future__ import annotations

import sys

import pytest

from modelzoo.child_process import Ended
from modelzoo.errors import BundleError, ExportError, MissingDependencyError
from modelzoo.exporting.formats import litertlm, litertlm_check
from modelzoo.exporting.quantization.precision import MODES
from modelzoo.runtime.text.tokenizer import Tokenizer
from modelzoo.runtime.trust.tflite import packed_graph
from modelzoo.signature import Signature, TensorSpec
from tests import small


def step(tokens: int, slots: int, **others) -> Signature:
    ids = TensorSpec((1, tokens), "int32")
    caches = {
        "kv_cache_k_0": TensorSpec((1, 2, slots, 4)),
        "kv_cache_v_0": TensorSpec((1, 2, 4, slots)),
    }
    inputs = {"token_ids": ids, "positions": ids, **caches, **others}
    return Signature(lambda inputs: inputs, inputs)


DECODER = {
    "prefill_16_256": step(16, 256),
    "decode_256": step(1, 256),
    "prefill_16": step(16, 1024),
    "prefill_128": step(128, 1024),
    "prefill_512": step(512, 1024),
    "decode": step(1, 1024),
}


@pytest.fixture(scope="module")
def gpt():
    return small.with_tokenizer()


def test_the_full_window_goes_in_with_slots_to_spare_for_the_longest_chunk():
    found = litertlm.packable(DECODER)
    assert list(found) == ["prefill_16", "prefill_128", "decode"]
    for signature in found.values():
        assert signature.inputs["kv_cache_k_0"].shape == (1, 2, 1024 + 128, 4)
        assert signature.inputs["kv_cache_v_0"].shape == (1, 2, 4, 1024 + 128)
    assert found["prefill_16"].inputs["token_ids"].shape == (1, 16)
    assert found["decode"].function is DECODER["decode"].function


def test_a_small_window_keeps_its_shortest_chunk():
    signatures = {"prefill_48": step(48, 64), "prefill_32": step(32, 64), "decode": step(1, 64)}
    found = litertlm.packable(signatures)
    assert list(found) == ["prefill_32", "decode"]
    assert litertlm.slots_of(found["decode"]) == 96


@pytest.mark.parametrize(
    ("signatures", "said"),
    [
        ({"serve": step(8, 8)}, "BERT has serve"),
        ({"encode": step(8, 8), "decode": step(1, 8)}, "BERT reads through an encoder"),
        ({"decode": Signature(len, {"h_0": TensorSpec((1, 4))})}, "BERT carries another state"),
        ({"decode": step(1, 8)}, "BERT has no prefill signature"),
        ({"decode": step(1, 8, images=TensorSpec((1, 4)))}, "decode needs 'images' too"),
        ({"decode": step(1, 8, kv_cache_k_scale_0=TensorSpec((1, 2, 8, 1)))}, "with factors"),
    ],
)
def test_a_model_that_litert_lm_cannot_drive_is_refused_with_the_way_on(signatures, said):
    with pytest.raises(ExportError, match=said) as caught:
        litertlm.packable(signatures, "BERT")
    assert "--format tflite" in caught.value.next_step


@pytest.mark.parametrize("name", ["lstm-tiny", "t5-tiny", "bert-tiny"])
def test_the_zoos_other_families_are_refused_before_anything_is_converted(name, tmp_path):
    model = small.with_tokenizer(name)
    with pytest.raises(ExportError, match="key/value cache"):
        litertlm.export(
            model, model.export_signatures(), tmp_path, mode=MODES["float32"], scratch=tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_tokenizer_is_refused():
    with pytest.raises(ExportError, match="has no tokenizer") as caught:
        litertlm.check_tokenizer(small.build())
    assert "--tokenizer" in caught.value.next_step


def test_a_tokenizer_without_an_end_or_with_two_beginnings_is_refused(gpt):
    text = gpt.tokenizer.to_str()

    class Model:
        tokenizer = Tokenizer.from_str(text, roles={})

    Model.tokenizer.stop_tokens = frozenset()
    with pytest.raises(ExportError, match="has no eos"):
        litertlm.check_tokenizer(Model)
    Model.tokenizer.stop_tokens, Model.tokenizer.prefix = frozenset({0}), (1, 2)
    with pytest.raises(ExportError, match="begins every text with 2 tokens"):
        litertlm.check_tokenizer(Model)


def test_a_missing_package_is_named_with_its_extra(gpt, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_lm_builder", None)
    with pytest.raises(MissingDependencyError) as caught:
        litertlm.export(
            gpt, gpt.export_signatures(), tmp_path, mode=MODES["float32"], scratch=tmp_path
        )
    assert caught.value.next_step == 'pip install "modelzoo-keras[litertlm]"'


def test_the_metadata_has_window_ends_beginning_and_template(gpt, monkeypatch):
    pytest.importorskip("litert_lm_builder")
    monkeypatch.setattr(gpt.tokenizer, "stop_tokens", frozenset({7, 0}))
    monkeypatch.setattr(gpt.tokenizer, "prefix", (3,))
    monkeypatch.setattr(gpt, "chat_template", "{{ messages }}", raising=False)
    data = litertlm.metadata(gpt, 64)
    assert data.max_num_tokens == 64
    assert [list(stop.token_ids.ids) for stop in data.stop_tokens] == [[0], [7]]
    assert list(data.start_token.token_ids.ids) == [3]
    assert data.jinja_prompt_template == litertlm.AS_STRINGS + "{{ messages }}"
    assert data.llm_model_type.WhichOneof("model_type") == "generic_model"


def test_the_graph_is_found_again_byte_by_byte(gpt, tmp_path):
    pytest.importorskip("litert_lm_builder")
    graph, path = tmp_path / "model.tflite", tmp_path / "model.litertlm"
    graph.write_bytes(bytes(range(256)) * 100)
    gpt.tokenizer.save(tmp_path / "tokenizer.json")
    litertlm.pack(graph, tmp_path / "tokenizer.json", litertlm.metadata(gpt, 64), path)
    begin, size = packed_graph(path)
    assert path.read_bytes()[begin : begin + size] == graph.read_bytes()
    assert begin % 4096 == 0  # it is mapped into memory


def test_a_damaged_file_is_named_and_no_graph_is_looked_for_outside_of_it(gpt, tmp_path):
    pytest.importorskip("litert_lm_builder")
    graph, path = tmp_path / "model.tflite", tmp_path / "model.litertlm"
    graph.write_bytes(bytes(9000))
    gpt.tokenizer.save(tmp_path / "tokenizer.json")
    litertlm.pack(graph, tmp_path / "tokenizer.json", litertlm.metadata(gpt, 64), path)
    whole = path.read_bytes()
    for damaged, said in (
        (b"", "is not a .litertlm file"),
        (b"x" + whole[1:], "is not a .litertlm file"),
        (whole[:100], "outside of the file"),
        (whole[:-4096], "outside of the file"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match=said) as caught:
            packed_graph(path)
        assert caught.value.where == str(path) and caught.value.next_step


def test_a_template_written_for_strings_is_given_them():
    jinja2 = pytest.importorskip("jinja2")
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    turns = [{"role": "u", "content": parts, "x": "1"}, {"role": "u", "content": "c", "x": "2"}]

    def render(template: str, messages: list) -> str:
        return jinja2.Template(litertlm.AS_STRINGS + template).render(messages=messages)

    found = render("{% for m in messages %}{{ m.role + m.content + m.x }}{% endfor %}", turns)
    assert found == "uab1uc2"
    image = [{"role": "u", "content": [{"type": "image"}]}, {"role": "u"}]
    assert render("{{ messages[0].content[0].type }}{{ messages | length }}", image) == "image2"


# === The comparison ===


def test_other_tokens_than_ours_are_named(gpt):
    ids = gpt.tokenizer.encode("the rose")
    litertlm_check.check_tokens(gpt.tokenizer, ["the rose"], [ids])
    for wrong in (ids[:-1], [*ids[:-1], ids[-1] + 1], [*ids, 5], []):
        with pytest.raises(ExportError, match="reads this tokenizer otherwise: token"):
            litertlm_check.check_tokens(gpt.tokenizer, ["the rose"], [wrong])


def test_a_prompt_is_cut_to_its_tokens_and_never_to_nothing(gpt):
    text = "a rose is a rose. the fox likes the rose."
    found = litertlm_check.cut(gpt.tokenizer, text, 4)
    assert text.startswith(found) and 1 <= len(gpt.tokenizer.encode(found)) <= 4
    assert litertlm_check.cut(gpt.tokenizer, "清", 1) == "清"


def test_a_child_that_dies_is_an_error_with_its_last_words(monkeypatch):
    ended = Ended(1, b"", "INFO: chatter\nno such section\n")
    monkeypatch.setattr(litertlm_check.child_process, "run", lambda *_, **__: ended)
    with pytest.raises(ExportError, match="ended with code 1\n    no such section") as caught:
        litertlm_check.run_litert_lm({})
    assert "--format tflite" in caught.value.next_step
