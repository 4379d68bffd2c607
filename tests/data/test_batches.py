import numpy as np
import pytest

from modelzoo.data import (
    causal_lm_batches,
    classification_batches,
    masked_lm_batches,
    seq2seq_batches,
)
from modelzoo.data.batches import Batches
from modelzoo.errors import DataError, OverflowTextError, TokenizerError
from tests.data.corpus import CORPUS

DOCUMENTS = [{"text": text} for text in CORPUS]


def rows_of(num_rows=11, batch_size=4, **options):
    """Batches whose x is the row numbers, and whose y is a random number each."""

    def make(rows, generator):
        return rows.copy(), generator.random(len(rows)), np.ones(len(rows), np.float32)

    return Batches(make, num_rows=num_rows, batch_size=batch_size, **options)


def assert_same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, tuple):
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(a, b)


# === Random access ===


def test_batch_depends_on_seed_and_step_alone():
    straight, jumping = rows_of(seed=5), rows_of(seed=5)
    expected = [straight.batch(step) for step in range(20)]
    for step in (19, 0, 7, 7, 3, 12):
        assert_same(jumping.batch(step), expected[step])
    other = [rows_of(seed=6).batch(step)[0].tolist() for step in range(20)]
    assert other != [batch[0].tolist() for batch in expected]


def test_epoch_sees_every_row_in_another_order():
    batches = rows_of(num_rows=11, batch_size=4)
    assert len(batches) == 3
    epochs = []
    for epoch in range(3):
        rows = np.concatenate([batches.batch(3 * epoch + i)[0] for i in range(3)])
        assert sorted(rows[:11]) == list(range(11))
        assert rows[11] == rows[0]  # the last batch is filled with the first rows
        epochs.append(rows.tolist())
    assert epochs[0] != epochs[1] != epochs[2]


def test_few_rows_fill_a_batch_by_repetition():
    assert sorted(rows_of(num_rows=2, batch_size=5).batch(0)[0]) in (
        [0, 0, 0, 1, 1],
        [0, 0, 1, 1, 1],
    )


def test_without_shuffle_rows_come_as_they_stand():
    batches = rows_of(num_rows=4, batch_size=2, shuffle=False)
    assert [batches.batch(step)[0].tolist() for step in range(3)] == [[0, 1], [2, 3], [0, 1]]


def test_evaluation_gives_every_row_once_and_weighs_the_rest_zero():
    batches = rows_of(num_rows=11, batch_size=4)
    x, _, weight = (np.concatenate(parts) for parts in zip(*batches.evaluation(), strict=True))
    assert x[weight > 0].tolist() == list(range(11))
    assert weight.tolist() == [1] * 11 + [0]
    assert_same(batches.evaluation_batch(2), batches.evaluation_batch(2))


@pytest.mark.parametrize("options", [{"num_rows": 0}, {"batch_size": 0}, {"seed": -1}])
def test_impossible_batches_are_refused(options):
    with pytest.raises(DataError):
        rows_of(**options)


@pytest.mark.parametrize(("start", "steps", "epochs"), [(0, 3, 2), (100, 2, 3), (7, 1, 3)])
def test_fit_sees_global_steps_in_order_from_the_start_step(start, steps, epochs):
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow" and steps == 1:
        pytest.skip("documented: take more steps")
    seen = []

    class Recording(Batches):
        def batch(self, step):
            seen.append(step)
            return super().batch(step)

    def make(rows, generator):
        return np.ones((2, 1), np.float32), np.ones((2, 1), np.float32), np.ones(2, np.float32)

    batches = Recording(make, num_rows=9, batch_size=2)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    dataset = batches.as_pydataset(start, steps)
    options = {"shuffle": False, "verbose": 0}
    model.fit(
        dataset, epochs=epochs, validation_data=batches.as_pydataset(evaluation=True), **options
    )
    trained = steps * epochs
    # Before the first step Keras looks at one or two batches for their shapes.
    assert seen[-trained:] == list(range(start, start + trained))
    assert len(seen) <= trained + 2
    model.fit(dataset, epochs=1, **options)  # goes on where the first left off
    assert seen[-steps:] == list(range(start + trained, start + trained + steps))


# === Causal language models ===


def causal(tokenizer, examples=DOCUMENTS, **options):
    return causal_lm_batches(
        examples, tokenizer, **{"length": 16, "batch_size": 4, "seed": 1, **options}
    )


def test_causal_evaluation_predicts_each_token_once(gpt_tokenizer):
    batches = causal(gpt_tokenizer)
    predicted = []
    for x, y, weight in batches.evaluation():
        assert x["token_ids"].shape == x["padding_mask"].shape == y.shape == weight.shape == (4, 16)
        assert x["token_ids"].dtype == y.dtype == np.int32
        assert weight.dtype == np.float32
        assert x["padding_mask"].dtype == bool
        inside = weight[:, :-1] * weight[:, 1:] > 0
        np.testing.assert_array_equal(x["token_ids"][:, 1:][inside], y[:, :-1][inside])
        predicted += y[weight > 0].tolist()
    eos = gpt_tokenizer.role("eos")
    assert predicted == [i for text in CORPUS for i in [*gpt_tokenizer.encode(text), eos]]
    assert batches.num_tokens == len(predicted)
    assert batches.num_bytes == sum(len(text.encode()) for text in CORPUS)


def test_causal_takes_texts_and_tokens_alike(gpt_tokenizer):
    tokens = [gpt_tokenizer.encode(text) for text in CORPUS]
    for examples in (CORPUS, iter(CORPUS), tokens, map(np.array, tokens)):
        batches = causal(gpt_tokenizer, examples)
        assert_same(batches.batch(3), causal(gpt_tokenizer).batch(3))
        assert batches.num_bytes == causal(gpt_tokenizer).num_bytes


def test_causal_padding_is_masked(gpt_tokenizer):
    x, _, weight = causal(gpt_tokenizer, ["ab"], length=8, batch_size=1).batch(0)
    read = 1 + len(gpt_tokenizer.encode("ab"))
    assert x["padding_mask"][0].tolist() == [i <= read for i in range(8)]
    assert weight[0].sum() == read


@pytest.mark.parametrize("examples", [[], [""], [{"text": ""}]])
def test_causal_without_text_is_refused(gpt_tokenizer, examples):
    with pytest.raises(DataError):
        causal(gpt_tokenizer, examples)


# === Masked language models ===


def masked(tokenizer, examples=DOCUMENTS, **options):
    return masked_lm_batches(
        examples, tokenizer, **{"length": 48, "batch_size": 8, "seed": 1, **options}
    )


def unmasked(x, y):
    """The token ids (B, T) before masking."""
    token_ids = x["token_ids"].copy()
    np.put_along_axis(token_ids, x["mask_positions"], y["mlm"], axis=1)
    return token_ids


def is_guessed(x, weight):
    """(B, T) bool, True where a token is to be guessed."""
    guessed = np.zeros(x["token_ids"].shape, bool)
    np.put_along_axis(guessed, x["mask_positions"], weight["mlm"] > 0, axis=1)
    return guessed


def test_masked_rows_are_framed_pairs(bert_tokenizer):
    cls, sep = bert_tokenizer.role("cls"), bert_tokenizer.role("sep")
    for step in range(6):
        x, y, _ = masked(bert_tokenizer).batch(step)
        for row in range(8):
            size = int(x["padding_mask"][row].sum())
            assert x["padding_mask"][row].tolist() == [i < size for i in range(48)]
            ids, segments = unmasked(x, y)[row, :size], x["segment_ids"][row, :size]
            assert ids[0] == cls
            assert ids[-1] == sep
            first = int(np.flatnonzero(ids == sep)[0])
            assert (ids == sep).sum() == 2
            assert segments.tolist() == [0] * (first + 1) + [1] * (size - first - 1)
            assert 1 < first < size - 2  # neither side is empty
            assert not x["segment_ids"][row, size:].any()


def test_masking_is_15_percent_and_80_10_10(bert_tokenizer):
    batches = masked(bert_tokenizer, batch_size=64)
    special = list(bert_tokenizer.special_ids)
    mask = bert_tokenizer.role("mask")
    chosen = masks = same = total = 0
    for step in range(40):
        x, y, weight = batches.batch(step)
        guessed, before = is_guessed(x, weight), unmasked(x, y)
        np.testing.assert_array_equal(x["token_ids"][~guessed], before[~guessed])
        assert not np.isin(before[guessed], special).any()
        assert (guessed.sum(axis=1) >= 1).all()
        masks += (x["token_ids"][guessed] == mask).sum()
        same += (x["token_ids"][guessed] == before[guessed]).sum()
        chosen += guessed.sum()
        total += (~np.isin(before, special)).sum()
    assert chosen / total == pytest.approx(0.15, abs=0.01)
    assert masks / chosen == pytest.approx(0.8, abs=0.02)
    assert same / chosen == pytest.approx(0.1, abs=0.02)


def test_masks_are_new_at_each_step_and_the_same_when_repeated(bert_tokenizer):
    one = masked(bert_tokenizer, DOCUMENTS[:1], batch_size=1)
    assert_same(one.batch(4), one.batch(4))
    assert any(
        (one.batch(0)[0]["mask_positions"] != one.batch(step)[0]["mask_positions"]).any()
        for step in (1, 2, 3)
    )


def test_half_of_the_pairs_come_from_another_document(bert_tokenizer):
    documents = [" ".join([word + "."] * 6) for word in ("aaa", "bbb", "ccc", "ddd")]
    follows = []
    batches = masked(bert_tokenizer, documents, length=24, batch_size=64)
    for step in range(8):
        x, y, _ = batches.batch(step)
        before = unmasked(x, y)
        for row in range(64):
            b = before[row][x["segment_ids"][row] == 1].tolist()
            a = before[row][(x["segment_ids"][row] == 0) & x["padding_mask"][row]].tolist()
            letters = [set(bert_tokenizer.decode(part)) & set("abcd") for part in (a, b)]
            assert (letters[0] == letters[1]) == (y["nsp"][row] == 0)
        follows += y["nsp"].tolist()
    assert np.mean(follows) == pytest.approx(0.5, abs=0.06)


def test_single_document_and_single_row_still_make_batches(bert_tokenizer):
    _, y, _ = masked(bert_tokenizer, [" ".join(CORPUS)]).batch(0)
    assert 0 < y["nsp"].sum() < 8
    assert masked(bert_tokenizer, ["a b c"]).batch(0)[1]["nsp"].tolist() == [0] * 8


def test_no_token_is_lost_between_rows(bert_tokenizer):
    text = CORPUS[0] + "x" * 200 + CORPUS[1]
    batches = masked(bert_tokenizer, [text], next_sentence=False, batch_size=3)
    kept = []
    for x, y, weight in batches.evaluation():
        assert set(y) == set(weight) == {"mlm"}
        assert not x["segment_ids"].any()
        before = unmasked(x, y)
        kept += [before[row][x["padding_mask"][row]].tolist() for row in range(3)]
    tokens = [i for row in kept[: batches.num_rows] for i in row]
    assert bert_tokenizer.decode(tokens) == text


def test_masked_needs_a_mask_token(gpt_tokenizer):
    with pytest.raises(TokenizerError, match="no cls token"):
        masked(gpt_tokenizer)


@pytest.mark.parametrize(
    ("examples", "options"),
    [([], {}), ([""], {}), (DOCUMENTS, {"length": 4}), (DOCUMENTS, {"mask_rate": 0})],
)
def test_impossible_masked_batches_are_refused(bert_tokenizer, examples, options):
    with pytest.raises(DataError):
        masked(bert_tokenizer, examples, **options)


# === Sequence to sequence ===


def seq2seq(tokenizer, examples, **options):
    sizes = {"length": 12, "target_length": 8, "batch_size": 2, "shuffle": False}
    return seq2seq_batches(examples, tokenizer, **{**sizes, **options})


def test_seq2seq_target_is_shifted_and_ends_with_eos(t5_tokenizer):
    pairs = [{"source": "fox", "target": "a"}, {"source": "今天", "target": ""}]
    x, y, weight = seq2seq(t5_tokenizer, pairs).batch(0)
    pad, eos = t5_tokenizer.role("pad"), t5_tokenizer.role("eos")
    a = t5_tokenizer.encode("a")
    n = len(a) + 1
    assert y.tolist() == [[*a, eos] + [pad] * (8 - n), [eos] + [pad] * 7]
    assert x["decoder_token_ids"].tolist() == [[pad, *a] + [pad] * (8 - n), [pad] * 8]
    assert weight.tolist() == x["decoder_padding_mask"].tolist()
    assert weight.sum(axis=1).tolist() == [n, 1]
    assert x["token_ids"][0][x["padding_mask"][0]].tolist() == t5_tokenizer.encode_source("fox")
    assert {value.dtype.name for value in x.values()} == {"int32", "bool"}
    assert seq2seq(t5_tokenizer, pairs, start_token=2).batch(0)[0]["decoder_token_ids"][0, 0] == 2


def test_long_seq2seq_example_is_cut_with_a_count_or_refused(t5_tokenizer):
    pairs = [("the quick brown fox jumps over it", "a"), ("b", "c")]
    with pytest.warns(UserWarning, match="1 of 2 source texts are longer than 5 tokens"):
        batches = seq2seq(t5_tokenizer, pairs, length=5)
    x, _, _ = batches.batch(0)
    assert x["token_ids"][0, -1] == t5_tokenizer.role("eos")
    with pytest.raises(OverflowTextError, match="source of example 1"):
        seq2seq(t5_tokenizer, pairs, length=5, truncate=False)


def test_seq2seq_without_pairs_is_refused(t5_tokenizer):
    with pytest.raises(DataError):
        seq2seq(t5_tokenizer, [])


# === Classification ===


def classification(tokenizer, examples, **options):
    return classification_batches(
        examples, tokenizer, **{"length": 16, "batch_size": 2, "shuffle": False, **options}
    )


def test_classification_rows_are_framed_and_numbered(bert_tokenizer):
    batches = classification(bert_tokenizer, [("fox", "good"), ("dog", "bad")])
    x, y, weight = batches.batch(0)
    assert batches.labels == ("bad", "good")
    assert y.tolist() == [1, 0]
    assert y.dtype == np.int32
    assert weight.tolist() == [1, 1]
    assert x["token_ids"][0][x["padding_mask"][0]].tolist() == bert_tokenizer.encode_pair("fox")[0]


def test_classification_of_pairs_has_two_segments(bert_tokenizer):
    rows = [{"text_a": "a", "text_b": "b", "label": 0}, {"text_a": "c", "text_b": "d", "label": 1}]
    x, _, _ = classification(bert_tokenizer, rows).batch(0)
    ids, segments = bert_tokenizer.encode_pair("a", "b")
    assert x["token_ids"][0, : len(ids)].tolist() == ids
    assert x["segment_ids"][0].tolist() == segments + [0] * (16 - len(ids))


def test_whole_number_labels_sort_as_numbers(bert_tokenizer):
    for labels in ([10, 9, -1], ["10", "9", "-1"]):
        batches = classification(bert_tokenizer, [("a", label) for label in labels])
        assert batches.labels == ("-1", "9", "10")


def test_unseen_label_is_named_with_the_nearest(bert_tokenizer):
    with pytest.raises(DataError, match=r"'god' is none of[\s\S]*did you mean: good"):
        classification(bert_tokenizer, [("a", "bad"), ("b", "god")], labels=["bad", "good"])
    one = classification(bert_tokenizer, [("a", "good")], labels=["bad", "good"])
    assert one.batch(0)[1].tolist() == [1, 1]


def test_single_class_and_mixed_pairs_are_refused(bert_tokenizer):
    with pytest.raises(DataError, match="the same label"):
        classification(bert_tokenizer, [("a", "x"), ("b", "x")])
    with pytest.raises(DataError, match="pairs"):
        classification(bert_tokenizer, [("a", "x"), ("b", "c", "y")])


def test_long_text_is_cut_with_a_count_or_refused(bert_tokenizer):
    rows = [("fox " * 30, 0), ("dog", 1)]
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 16 tokens"):
        x, _, _ = classification(bert_tokenizer, rows).batch(0)
    assert x["token_ids"][0, -1] == bert_tokenizer.role("sep")
    with pytest.raises(OverflowTextError, match="example 1"):
        classification(bert_tokenizer, rows, truncate=False)


def test_a_named_class_may_be_given_by_its_number(bert_tokenizer):
    for labels in ([1, 0], ["1", "0"], [1.0, 0.0], ["good", "bad"]):
        rows = list(zip(["fox", "dog"], labels, strict=True))
        batches = classification(bert_tokenizer, rows, labels=["bad", "good"])
        assert batches.batch(0)[1].tolist() == [1, 0], labels
    mixed = [("fox", 1), ("dog", "bad")]
    with pytest.raises(DataError, match="'1' in example 1, 'bad' in example 2(.|\n)*1 is 'good'"):
        classification(bert_tokenizer, mixed, labels=["bad", "good"])
    for wrong in (2, -1):
        with pytest.raises(DataError, match=f"'{wrong}' is none of bad, good, or 0 to 1"):
            classification(bert_tokenizer, [("fox", wrong), ("dog", 0)], labels=["bad", "good"])
    digits = [("fox", 3), ("dog", 1)]  # classes that are numbers are named, not counted
    assert classification(bert_tokenizer, digits, labels=["1", "3"]).batch(0)[1].tolist() == [1, 0]


# === Class weights ===


def test_rows_in_order_come_once_and_the_last_batch_is_short():
    data = rows_of(num_rows=7, batch_size=3).as_pydataset(ordered=True)
    read = [data[index][0].tolist() for index in range(len(data))]
    assert read == [[0, 1, 2], [3, 4, 5], [6]]
    data.check_order()
    with pytest.raises(DataError, match="there are 3 batches, no number 3"):
        data[3]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (7, {"evaluation": True}, "9 rows in the order of the data for data of 7"),
        (6, {"evaluation": True}, None),
        (6, {}, "6 rows in a shuffled order for data of 6"),
        (6, {"shuffle": False}, None),
        (7, {"shuffle": False}, "9 rows in the order of the data for data of 7"),
        (6, {"shuffle": False, "start_step": 1}, "6 rows in a shuffled order"),
    ],
)
def test_what_is_shuffled_or_padded_is_not_for_predict(rows, options, said):
    options = dict(options)
    batches = rows_of(num_rows=rows, batch_size=3, shuffle=options.pop("shuffle", True))
    data = batches.as_pydataset(**options)
    if said is None:
        data.check_order()
        return
    with pytest.raises(DataError, match=said + r"[\s\S]*shuffle=False"):
        data.check_order()


def test_class_weights_multiply_the_weights_of_rows_while_they_are_asked_for():
    def make(rows, generator):
        return rows, (rows % 3).astype(np.int32), np.full(len(rows), 2, np.float32)

    options = {"num_rows": 6, "batch_size": 6, "shuffle": False, "labels": ("a", "b", "c")}
    data = Batches(make, **options).as_pydataset()
    for weights in ({0: 5, 2: 0.5}, {"a": 5, "c": 0.5}, {np.int64(0): 5, "c": 0.5}):
        with data.class_weights(weights):
            assert data[0][2].tolist() == [10, 2, 1] * 2
        assert data[0][2].tolist() == [2] * 6


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({3: 1.0}, "class 3, which is not one of a, b"),
        ({"bb": 1.0}, "did you mean: b"),
        ({"a": -1.0}, "must be 0 or more, not -1.0"),
        ({"a": float("nan")}, "must be 0 or more, not nan"),
    ],
)
def test_wrong_class_weights_say_so(weights, message):
    data = rows_of(labels=("a", "b")).as_pydataset()
    with pytest.raises(DataError, match=message), data.class_weights(weights):
        pass
    with pytest.raises(DataError, match="needs data with classes"):
        rows_of().as_pydataset().class_weights({0: 1.0}).__enter__()
