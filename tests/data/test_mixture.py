"""A mixture's rows and batches: what each objective reads and writes, and which part comes when."""

from __future__ import annotations

import numpy as np
import pytest

import modelzoo
from modelzoo.data import split
from modelzoo.data.mixture import mixture_batches
from modelzoo.data.mixture_examples import read_mixture
from modelzoo.data.objectives import MAKERS, SENTINEL, corrupted
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import DataError, RecipeError, TokenizerError
from modelzoo.recipe.mixture import FIELDS, OBJECTIVES, parts_of, with_own_data

TEXTS = ["It rains. It is wet.", "下雨了。地是湿的。", "A dog barks. A cat sleeps."]
PAIRS = [("a rose", "玫瑰"), ("a dog", "狗"), ("rain", "雨")]
PROCESSING = {"image": {"size": [8, 8], "resize": "squash", "interpolation": "bilinear"}}
PROCESSING["video"] = {"num_frames": 2}
SPECIALS = ("<pad>", "</s>", "<unk>", *map(SENTINEL.format, range(4)))


def picture(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


IMAGES = [{"image": picture(n), "text": f"number {n}"} for n in range(5)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*TEXTS, *sum(PAIRS, ())], "byte", specials=SPECIALS)


def batches_of(tokenizer, mixture, data, **options):
    parts = parts_of(mixture)
    options = {"length": 64, "batch_size": 3, **options}
    return mixture_batches(read_mixture(data, parts), tokenizer, parts, **options)


def one_part(tokenizer, objective, data, *, part=None, **options):
    mixture = {"one": {"objective": objective, **(part or {})}}
    return batches_of(tokenizer, mixture, {"one": data}, **options)


def texts_of(tokenizer, batch) -> list[tuple[str, str]]:
    """Source and target of each row."""
    x, y, weight = batch
    sources = [tokenizer.decode(row[mask]) for row, mask in zip(*text_of(x), strict=True)]
    targets = [tokenizer.decode(row[w > 0]) for row, w in zip(y, weight, strict=True)]
    return list(zip(sources, targets, strict=True))


def text_of(x):
    return x["token_ids"], x["padding_mask"]


# === Objectives ===


def test_every_objective_of_a_recipe_has_its_fields_and_its_rows():
    assert set(OBJECTIVES) == set(FIELDS) == set(MAKERS)


def test_text_to_text_reads_the_prompt_and_the_source(tokenizer):
    batches = one_part(tokenizer, "text-to-text", PAIRS, part={"prompt": "zh: "}, shuffle=False)
    assert texts_of(tokenizer, batches.evaluation_batch(0)) == [
        ("zh: a rose", "玫瑰"),
        ("zh: a dog", "狗"),
        ("zh: rain", "雨"),
    ]
    x, y, weight = batches.batch(0)
    eos, pad = tokenizer.role("eos"), tokenizer.role("pad")
    assert x["token_ids"].shape == (3, 16) and y.shape == (3, 8)
    assert (x["decoder_token_ids"][:, 0] == pad).all()
    np.testing.assert_array_equal(x["decoder_token_ids"][0, 1:7], y[0, :6])
    assert [row[int(w.sum()) - 1] for row, w in zip(y, weight, strict=True)] == [eos] * 3


def test_columns_turn_a_translation_round(tokenizer):
    rows = [{"en": source, "zh": target} for source, target in PAIRS]
    mixture = {
        name: {"objective": "text-to-text", "columns": {"source": a, "target": b}}
        for name, a, b in (("there", "en", "zh"), ("back", "zh", "en"))
    }
    batches = batches_of(tokenizer, mixture, {"there": rows, "back": rows}, shuffle=False)
    there, back = (texts_of(tokenizer, part.evaluation_batch(0)) for part in batches.parts.values())
    assert back == [(b, a) for a, b in there]


def test_spans_move_from_the_source_to_the_target():
    ids, sentinels = list(range(100, 140)), [1, 2, 3, 4]
    for seed in range(50):
        source, target = corrupted(ids, sentinels, np.random.default_rng(seed))
        spans = dict(_spans(target, sentinels))
        assert list(spans) == sentinels[:2] and sum(map(len, spans.values())) == 6
        whole = [id for one in source for id in spans.get(one, [one])]
        assert whole == ids, "each sentinel in the source stands for its span of the target"
        assert source[0] == 100 and target[0] == 1


def _spans(target, sentinels):
    cuts = [at for at, id in enumerate(target) if id in sentinels]
    for start, end in zip(cuts, [*cuts[1:], len(target)], strict=True):
        yield target[start], target[start + 1 : end]


def test_span_corruption_cuts_documents_to_the_length_and_no_token_is_lost(tokenizer):
    document = "a rose is a rose. " * 40
    batches = one_part(tokenizer, "span-corruption", [document], length=32, shuffle=False)
    x, y, _ = batches.batch(0)
    assert x["token_ids"].shape == (3, 32) and x["padding_mask"].sum(1).max() > 28
    assert y.shape[1] == 8 and (y < tokenizer.vocab_size).all()
    again = one_part(tokenizer, "span-corruption", [document], length=32, shuffle=False).batch(0)
    np.testing.assert_array_equal(x["token_ids"], again[0]["token_ids"])
    assert (batches.batch(40)[0]["token_ids"] != x["token_ids"]).any(), "other spans each time"


def test_span_corruption_needs_sentinels():
    plain = train_tokenizer(TEXTS, "byte", specials=("<pad>", "</s>", "<unk>"))
    with pytest.raises(TokenizerError, match="<extra_id_0>"):
        one_part(plain, "span-corruption", TEXTS)


@pytest.mark.parametrize("objective", ["next-sentence", "image-text-matching"])
def test_half_of_the_rows_belong_together_and_the_answer_says_which(tokenizer, objective):
    data = TEXTS if objective == "next-sentence" else IMAGES
    part = {"yes": "是", "no": "否"}
    batches = one_part(tokenizer, objective, data, part=part, batch_size=200, processing=PROCESSING)
    batch = batches.batch(0)
    rows = texts_of(tokenizer, batch)
    if objective == "next-sentence":
        true = {a.replace(". ", ".\n").replace("。地", "。\n地") for a in TEXTS}
        right = [source in true for source, _ in rows]
    else:
        shown = batch[0]["frames"][:, 0, 0, 0, 0]
        right = [source == f"number {n}" for (source, _), n in zip(rows, shown, strict=True)]
    assert [answer for _, answer in rows] == ["是" if one else "否" for one in right]
    assert 70 < sum(right) < 130


def test_pictures_and_texts_share_a_mixture(tokenizer):
    mixture = {
        "caption": {"objective": "captioning", "prompt": "caption:"},
        "ask": {"objective": "visual-question-answering"},
        "film": {"objective": "video-captioning"},
        "translate": {"objective": "text-to-text"},
    }
    asked = [{"image": picture(n), "question": "which?", "answer": str(n)} for n in range(4)]
    films = [{"video": np.stack([picture(n)] * 2), "text": f"film {n}"} for n in range(4)]
    data = {"caption": IMAGES, "ask": asked, "film": films, "translate": PAIRS}
    batches = batches_of(tokenizer, mixture, data, processing=PROCESSING, shuffle=False)
    first = {name: part.batch(0) for name, part in batches.parts.items()}
    shapes = {name: x["frames"].shape for name, (x, _, _) in first.items()}
    assert shapes == {
        "caption": (3, 1, 8, 8, 3),
        "ask": (3, 1, 8, 8, 3),
        "film": (3, 2, 8, 8, 3),
        "translate": (3, 0, 8, 8, 3),
    }
    assert all(x["frame_mask"].shape == x["frames"].shape[:2] for x, _, _ in first.values())
    assert texts_of(tokenizer, first["caption"])[1] == ("caption:", "number 1")
    assert texts_of(tokenizer, first["ask"])[2] == ("which?", "2")
    assert first["film"][0]["frames"][1].max() == 1


def test_pictures_are_altered_in_training_alone(tokenizer):
    rows = [{"image": np.arange(192).reshape(8, 8, 3).astype("uint8"), "text": "a"}] * 3
    batches = one_part(tokenizer, "captioning", rows, processing=PROCESSING, augment={"flip": 1.0})
    altered, plain = batches.batch(0)[0]["frames"], batches.evaluation_batch(0)[0]["frames"]
    np.testing.assert_array_equal(altered, plain[:, :, :, ::-1])


def test_a_model_of_text_alone_rejects_pictures_by_the_name_of_the_part(tokenizer):
    with pytest.raises(DataError, match="no media") as caught:
        one_part(tokenizer, "captioning", IMAGES)
    assert "part one of the mixture" in caught.value.where


# === Which part comes when ===


def mixed(tokenizer, seed=0):
    mixture = {
        "often": {"objective": "text-to-text", "weight": 3},
        "seldom": {"objective": "text-to-text", "prompt": "x: "},
        "never": {"objective": "span-corruption", "weight": 0},
    }
    data = {"often": PAIRS * 4, "seldom": PAIRS}
    return batches_of(tokenizer, mixture, data, seed=seed)


def test_parts_are_drawn_by_weight_and_each_goes_through_its_own_rows(tokenizer):
    batches = mixed(tokenizer)
    drawn = [batches.drawn(step) for step in range(3000)]
    share = sum(name == "often" for name, _ in drawn) / 3000
    assert 0.72 < share < 0.78
    for name in ("often", "seldom"):
        own = [index for other, index in drawn if other == name]
        assert own == list(range(len(own))), "batches of a part come one after the other"
    assert batches.num_rows == 15 and len(batches) == 5


def test_a_step_has_the_same_batch_whatever_was_asked_for_before(tokenizer):
    one, other = mixed(tokenizer), mixed(tokenizer)
    for step in (2500, 7, 1024):
        a, b = one.batch(step)[0]["token_ids"], other.batch(step)[0]["token_ids"]
        np.testing.assert_array_equal(a, b)
    parts = [[of.drawn(step)[0] for step in range(64)] for of in (one, mixed(tokenizer, seed=1))]
    assert parts[0] != parts[1]


def test_the_batch_size_is_that_of_every_part(tokenizer):
    batches = mixed(tokenizer)
    batches.batch_size = 2
    assert {len(batches.batch(step)[1]) for step in range(20)} == {2}
    assert sum(int((w.sum(1) > 0).sum()) for _, _, w in batches.evaluation()) == 15


def test_a_keras_dataset_has_batches_of_one_shape(tokenizer):
    batches = mixed(tokenizer).as_pydataset()
    shapes = {batches[index][0]["token_ids"].shape for index in range(len(batches))}
    assert len(shapes) == 1


def test_each_part_is_split_by_itself():
    rows = [{"part": "a", "text": str(n)} for n in range(4)]
    rows += [{"part": "b", "text": "one line\n" * 10}]
    training, held_out = split(rows, 0.3)
    assert {one["part"] for one in training} == {one["part"] for one in held_out} == {"a", "b"}


# === Wrong ===

DENOISE = {"objective": "span-corruption"}


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({}, "no part to train"),
        ({"a": {**DENOISE, "weight": 0}}, "sum to nothing"),
        ({"a": {**DENOISE, "weight": -1}}, "weight must be 0 or more"),
        ({"a": {**DENOISE, "weight": float("nan")}}, "weight must be 0 or more"),
        ({"a": {"objective": "span-corupption"}}, "did you mean: span-corruption"),
        ({"a": {"weight": 1}}, "needs objective"),
        ({"a": {**DENOISE, "wieght": 1}}, "did you mean: weight"),
        ({"a": {**DENOISE, "columns": {"image": "file"}}}, "image is read by captioning"),
        ({"a": 3}, "must be a table"),
    ],
)
def test_a_wrong_mixture_says_what_is_wrong(mixture, message):
    with pytest.raises(RecipeError) as caught:
        parts_of(mixture)
    assert message in str(caught.value)


def test_data_and_parts_must_have_the_same_names():
    parts = parts_of({"denoise": DENOISE, "own": {**DENOISE, "data": "a.txt"}})
    assert with_own_data(parts, {"denoise": ["b"]}) == {"denoise": ["b"], "own": "a.txt"}
    for data, message in (
        (None, "no data for denoise"),
        ({"denose": []}, "trains no part 'denose'"),
        ("corpus.txt", "by the names of its parts"),
    ):
        with pytest.raises(DataError, match=message):
            with_own_data(parts, data)


@pytest.mark.parametrize(
    ("objective", "data", "message"),
    [
        ("span-corruption", [{"image": "a.png"}], "image-text-matching"),
        ("text-to-text", [{"text": "a"}], "--set mixture.one.columns.source="),
        ("captioning", [{"text": "a"}], "no column 'image'"),
    ],
)
def test_wrong_data_names_the_part_and_the_way_on(objective, data, message):
    with pytest.raises(DataError) as caught:
        read_mixture({"one": data}, parts_of({"one": {"objective": objective}}))
    assert "the part one of the mixture" in caught.value.where
    assert message in str(caught.value)


def test_documents_of_one_sentence_have_no_next_one(tokenizer):
    with pytest.raises(DataError, match="no document has two sentences"):
        one_part(tokenizer, "next-sentence", ["one", "two"])


def test_texts_that_are_all_the_same_have_no_wrong_one(tokenizer):
    with pytest.warns(UserWarning, match="none is wrong"):
        batches = one_part(tokenizer, "image-text-matching", IMAGES[:1] * 4, processing=PROCESSING)
    assert {answer for _, answer in texts_of(tokenizer, batches.batch(0))} == {"yes"}


def test_a_mixture_belongs_to_its_task():
    changes = {"mixture": {"denoise": DENOISE}}
    with pytest.raises(RecipeError, match="reads no \\[mixture\\]"):
        modelzoo.build("gpt-tiny", num_layers=1, vocab_size=300, **changes)
