"""Sentences with tags: how they are read, what is rejected, and their batches."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from modelzoo.data import token_classification_batches
from modelzoo.data.token_classification import read_tagged, tag_names
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import DataError
from modelzoo.tasks.profile import ENCODER_TOKENS

MERKEL = {
    "text": "Angela Merkel visited Paris",
    "words": ["Angela", "Merkel", "visited", "Paris"],
    "tags": ["B-PER", "I-PER", "O", "B-LOC"],
}
SPANS = [{"start": 0, "end": 13, "label": "PER"}, {"start": 22, "end": 27, "label": "LOC"}]
CHINESE = {"text": "李白在北京", "words": [*"李白在北京"], "tags": ["B-PER", "I-PER", "O"]}
CHINESE["tags"] += ["B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(
        ["Angela Merkel visited Paris", "李白在北京"] * 4,
        kind="wordpiece",
        vocab_size=560,
        specials=ENCODER_TOKENS,
    )


# === Reading ===


def test_every_form_gives_the_same_words_and_tags(tmp_path):
    quoted = json.dumps(SPANS).replace('"', '""')
    forms = {
        "a.jsonl": json.dumps({"words": MERKEL["words"], "tags": MERKEL["tags"]}),
        "b.jsonl": json.dumps({"text": MERKEL["text"], "spans": SPANS}),
        "c.csv": "words,tags\nAngela Merkel visited Paris,B-PER I-PER O B-LOC",
        "d.tsv": 'words\ttags\n["Angela", "Merkel", "visited", "Paris"]\tB-PER I-PER O B-LOC',
        "e.csv": f'text,spans\n{MERKEL["text"]},"{quoted}"',
        "f.conll": "-DOCSTART- O\n\nAngela\tB-PER\nMerkel\tI-PER\nvisited\tO\nParis\tB-LOC\n\n\n",
        "g.conll": "Angela NNP B-PER\nMerkel NNP I-PER\nvisited VBD O\nParis NNP B-LOC",
    }
    for name, content in forms.items():
        (tmp_path / name).write_text(content, "utf-8")
        assert read_tagged(tmp_path / name) == [MERKEL], name
    assert read_tagged([MERKEL]) == [MERKEL]
    assert read_tagged([(MERKEL["words"], MERKEL["tags"])]) == read_tagged([MERKEL])
    renamed = [{"tokens": MERKEL["words"], "ner": MERKEL["tags"]}]
    assert read_tagged(renamed, {"words": "tokens", "tags": "ner"}) == [MERKEL]


def test_chinese_is_read_character_by_character():
    spans = [{"start": 0, "end": 2, "label": "PER"}, {"start": 3, "end": 5, "label": "LOC"}]
    assert read_tagged([{"text": "李白在北京", "spans": spans}]) == [CHINESE]
    assert read_tagged([{key: CHINESE[key] for key in ("words", "tags")}]) == [CHINESE]


def test_a_conll_file_holds_several_sentences_and_says_which_line_is_wrong(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("a\tX\nb\tY\n\nc\tX\n", "utf-8")
    assert [one["words"] for one in read_tagged(path)] == [["a", "b"], ["c"]]
    path.write_text("a\tX\nb\n", "utf-8")
    with pytest.raises(DataError, match="must have a word and a tag, not 'b'") as caught:
        read_tagged(path)
    assert str(caught.value.where).endswith("a.conll:2")


@pytest.mark.parametrize(
    "example, message",
    [
        ({"words": ["a", "b"], "tags": ["X"]}, "there are 2 words and 1 tags"),
        ({"words": ["a", " "], "tags": ["X", "Y"]}, "a word must be text, not str ' '"),
        ({"words": ["a"], "tags": [None]}, "a tag must be a name or a whole number, not NoneType"),
        ({"words": 3, "tags": ["X"]}, "'words' must be a list, not int 3"),
        ({"words": [], "tags": []}, "there is no word in the text"),
        ({"text": "b", "words": ["a"], "tags": ["X"]}, "does not hold the word 'a'"),
        ({"text": "a b", "spans": "{"}, "'spans' is not JSON"),
        ({"text": "a b", "spans": [{"start": 0}]}, "a span must have start, end and label"),
        ({"text": "a b", "spans": [{"start": 0, "end": 4, "label": "X"}]}, "which has 3 char"),
        ({"text": "a b", "spans": [{"start": 1, "end": 1, "label": "X"}]}, "the span 1 to 1 is"),
        ({"text": "a", "spans": [{"start": 0, "end": 1, "label": "X"}] * 2}, "two spans share"),
        ({"text": "a b"}, "there is no column"),
    ],
)
def test_malformed_examples_are_rejected(example, message):
    with pytest.raises(DataError, match=message):
        read_tagged([example])


@pytest.mark.parametrize("start, end", [(1, 13), (0, 12), (0, 14), (7, 12)])
def test_offsets_that_are_off_by_one_are_rejected_with_the_words_they_touch(start, end):
    spans = [{"start": start, "end": end, "label": "PER"}]
    with pytest.raises(DataError, match="does not begin and end with a word") as caught:
        read_tagged([{"text": MERKEL["text"], "spans": spans}])
    first = 7 if start == 7 else 0
    assert caught.value.did_you_mean == f"{first} to 13, {MERKEL['text'][first:13]!r}"


def test_tags_without_b_are_said_once():
    rows = [{"words": ["a", "b", "c"], "tags": ["I-X", "I-X", "I-Y"]}] * 2
    with pytest.warns(UserWarning, match="4 spans begin with I- and not with B-, .* example 1"):
        found = read_tagged(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tag_names(found) == ("I-X", "I-Y")
        read_tagged([MERKEL])
    for wrong in ("LOC", "B-"):
        with pytest.warns(UserWarning, match=f"the tag '{wrong}' does not begin with B-TYPE"):
            read_tagged([{"words": ["a", "b", "c"], "tags": ["B-X", wrong, "O"]}])


def test_tags_are_sorted_with_o_first():
    assert tag_names([MERKEL]) == ("O", "B-LOC", "B-PER", "I-PER")
    with pytest.raises(DataError, match="all words have the same tag, 'X'"):
        tag_names([{"words": ["a", "b"], "tags": ["X", "X"]}])


# === Batches ===


def test_the_first_token_of_each_word_has_its_tag_and_no_other_counts(tokenizer):
    batches = token_classification_batches(
        [MERKEL, CHINESE], tokenizer, length=40, batch_size=2, shuffle=False, trim=True
    )
    x, y, weight = batches.evaluation_batch(0)
    assert batches.labels == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
    assert x["token_ids"].shape == y.shape == weight.shape == (2, batches.length)
    assert batches.length < 40 and batches.length % 8 == 0
    assert batches.sentences == [MERKEL["words"], CHINESE["words"]]
    assert not weight[~x["padding_mask"]].any() and not weight[:, 0].any()
    for row, example in enumerate((MERKEL, CHINESE)):
        places = np.flatnonzero(weight[row])
        assert [batches.labels[tag] for tag in y[row][places]] == example["tags"]
        ends = [*places[1:], x["padding_mask"][row].sum() - 1]
        words = [
            tokenizer.decode(x["token_ids"][row][first:end]).strip()
            for first, end in zip(places, ends, strict=True)
        ]
        assert words == example["words"]


def test_long_texts_are_read_in_parts_and_no_word_is_lost(tokenizer):
    words = ["Paris", "visited", "Angela"] * 30
    rows = [{"words": words, "tags": ["B-LOC", "O", "B-PER"] * 30}, MERKEL]
    with pytest.warns(UserWarning, match="longer than 16 tokens: they are read in"):
        batches = token_classification_batches(
            rows, tokenizer, length=16, batch_size=4, shuffle=False
        )
    found = [y[weight > 0] for _, y, weight in batches.evaluation()]
    tags = [batches.labels[tag] for tag in np.concatenate(found)]
    assert tags == rows[0]["tags"] + MERKEL["tags"]


def test_tags_that_training_did_not_see_are_named(tokenizer):
    how = {"length": 16, "batch_size": 1}
    with pytest.raises(
        DataError, match=r"not trained on the tag 'B-PER' \(1 words\) and 1 more"
    ) as e:
        token_classification_batches([MERKEL], tokenizer, labels=["O", "B-LOC"], **how)
    assert e.value.next_step.startswith("rename these tags")
    with pytest.raises(DataError) as caught:
        token_classification_batches(
            [MERKEL], tokenizer, labels=["O", "B-LOC", "B-PERS", "I-PER"], **how
        )
    assert caught.value.did_you_mean == "B-PERS"
