"""The small JSON files of sentence-transformers, read and written."""

from __future__ import annotations

import copy

import pytest

from modelzoo.errors import WeightsError
from modelzoo.weights.sentence_transformers import embedding_options, sentence_transformers_files
from modelzoo.weights.small_files import SENTENCE

# Word for word what all-MiniLM-L6-v2 has.
MINILM = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
        {
            "idx": 2,
            "name": "2",
            "path": "2_Normalize",
            "type": "sentence_transformers.models.Normalize",
        },
    ],
    "1_Pooling/config.json": {
        "word_embedding_dimension": 384,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
}


def changed(name: str, value=None, **values) -> dict:
    """MiniLM's files with one of them replaced, or some of its values."""
    files = copy.deepcopy(MINILM)
    if values:
        value = {**files.get(name, {}), **values}
    files[name] = value
    return files


def test_minilm_is_a_mean_of_length_one_cut_at_256_tokens():
    expected = {"pooling": "mean", "normalize": True, "max_length": 256}
    assert embedding_options(MINILM) == expected


def test_without_a_list_of_modules_it_is_no_sentence_transformer():
    assert embedding_options({"generation_config.json": {}}) is None


def test_without_a_normalize_module_vectors_keep_their_length_and_the_length_may_be_unsaid():
    files = changed("modules.json", MINILM["modules.json"][:2])
    del files["sentence_bert_config.json"]
    assert embedding_options(files) == {"pooling": "mean", "normalize": False}


@pytest.mark.parametrize(
    ("mode", "ours"),
    [("cls", "cls"), ("max", "max"), ("lasttoken", "last"), ("mean", "mean"), (["cls"], "cls")],
)
def test_newer_releases_name_the_pooling_and_move_the_modules(mode, ours):
    files = changed("1_Pooling/config.json", {"embedding_dimension": 384, "pooling_mode": mode})
    for module in files["modules.json"]:
        module["type"] = "sentence_transformers.base.modules." + module["type"].rpartition(".")[2]
    assert embedding_options(files)["pooling"] == ours


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
@pytest.mark.parametrize("normalize", [True, False])
def test_what_is_written_is_read_back(pooling, normalize):
    options = {"pooling": pooling, "normalize": normalize}
    files = sentence_transformers_files({**options, "scale": 20.0}, 128, 384)
    assert embedding_options(files) == {**options, "max_length": 128}
    assert ("2_Normalize" in str(files["modules.json"])) == normalize
    assert files["1_Pooling/config.json"]["word_embedding_dimension"] == 384


def test_minilm_is_written_as_it_was_read():
    files = sentence_transformers_files({"pooling": "mean", "normalize": True}, 256, 384)
    assert files["modules.json"] == MINILM["modules.json"]
    assert files["sentence_bert_config.json"] == MINILM["sentence_bert_config.json"]
    flags = files["1_Pooling/config.json"]
    assert {key: flags[key] for key in MINILM["1_Pooling/config.json"]} == MINILM[
        "1_Pooling/config.json"
    ]


DENSE = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (changed("modules.json", [*MINILM["modules.json"][:2], DENSE]), "module Dense"),
        (changed("modules.json", MINILM["modules.json"][:1]), "its modules are Transformer"),
        (changed("modules.json", MINILM["modules.json"][::-1]), "are Normalize, Pooling"),
        (changed("modules.json", {"0": "Transformer"}), "not a list of modules"),
        (changed("modules.json", [{"idx": 0}]), "not a list of modules"),
        (changed("1_Pooling/config.json", pooling_mode_cls_token=True), "mean and cls together"),
        (
            changed(
                "1_Pooling/config.json",
                pooling_mode_mean_tokens=False,
                pooling_mode_weightedmean_tokens=True,
            ),
            "pooling by weightedmean is not supported",
        ),
        (
            changed(
                "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_median=True
            ),
            "pooling_mode_median",
        ),
        (changed("1_Pooling/config.json", {"pooling_mode": "median"}), "pooling by median"),
        (changed("1_Pooling/config.json", None), "1_Pooling/config.json is missing"),
        (changed("1_Pooling/config.json", []), "is not a JSON object"),
        (changed("sentence_bert_config.json", max_seq_length="256"), "max_seq_length is '256'"),
        (changed("sentence_bert_config.json", do_lower_case=True), "do_lower_case asks"),
        (
            changed(
                "config_sentence_transformers.json",
                prompts={"query": "query: "},
                default_prompt_name="query",
            ),
            "a prompt is put before every text: 'query: '",
        ),
    ],
)
def test_what_would_change_the_vectors_is_refused_by_name(files, message):
    with pytest.raises(WeightsError, match=message):
        embedding_options(files)


def test_lower_case_that_the_tokenizer_sees_to_anyway_is_fine():
    files = changed("sentence_bert_config.json", do_lower_case=True)
    files["tokenizer_config.json"] = {"do_lower_case": True}
    assert embedding_options(files)["max_length"] == 256


def test_a_pooling_that_does_not_exist_is_not_written():
    with pytest.raises(WeightsError, match="pooling 'meen' is not supported") as caught:
        sentence_transformers_files({"pooling": "meen"}, 256)
    assert caught.value.did_you_mean == "mean"


def test_the_length_stands_in_a_file_of_one_of_several_names_or_with_the_tokenizer():
    for name in SENTENCE:
        files = copy.deepcopy(MINILM)
        files[name] = files.pop("sentence_bert_config.json")
        assert embedding_options(files)["max_length"] == 256
    files = {key: value for key, value in MINILM.items() if key not in SENTENCE}
    for stated, found in ((128, 128), (1e30, None), (10**30, None), (None, None)):
        tokenizer = {"tokenizer_config.json": {"model_max_length": stated}}
        assert embedding_options({**files, **tokenizer}).get("max_length") == found
    with pytest.raises(WeightsError, match="model_max_length is 'x'"):
        embedding_options({**files, "tokenizer_config.json": {"model_max_length": "x"}})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("sentence_bert_config.json", "max_words"),
        ("1_Pooling/config.json", "attention_weighted"),
        ("config_sentence_transformers.json", "truncate_dim"),
    ],
)
def test_a_key_that_would_be_passed_over_is_named(name, key):
    with pytest.raises(WeightsError, match=f"{key} = 32 is not supported") as caught:
        embedding_options(changed(name, **{key: 32}))
    assert caught.value.where == name
    assert embedding_options(changed(name, **{key: None})) == embedding_options(MINILM)
