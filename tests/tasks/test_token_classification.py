"""Token classification: the head, the figures, the answers, with Keras and on the device."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from keras import ops

import modelzoo
from modelzoo.backbones.recurrent import RecurrentEncoder
from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import DataError, ModelzooError, RecipeError
from modelzoo.runtime.text.words import find_words
from modelzoo.tasks.causal_lm import CausalLMTask
from modelzoo.tasks.profile import ENCODER_TOKENS
from modelzoo.tasks.shared.tag_scores import frequent_tags, span_scores, tag_scores
from modelzoo.tasks.token_classification import TokenClassificationTask, TokenClassifier
from modelzoo.training.evaluate import evaluate
from modelzoo.weights.torch_recurrent import take_layers
from tests.core import VOCAB, assert_near, dense, fresh, number, randomise, token_ids

IDS = token_ids(2, 6)
MASK = np.array([[1] * 6, [1] * 4 + [0] * 2], "int32")
INPUTS = {"token_ids": IDS, "padding_mask": MASK, "segment_ids": np.zeros((2, 6), "int32")}
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXTS = ["Angela Merkel visited Paris.", "李白在北京。"]


def tagger(name: str = "bert-tiny-tagger", labels=TAGS, **changes):
    """A small model of random weights that reads text."""
    sizes = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "max_length": 32}
    sizes |= {"export.max_length": 32}
    if name.startswith("bilstm"):
        sizes = {"embedding_dim": 12, "hidden_dims": [16]}
    tokenizer = train_tokenizer(
        TEXTS * 4, kind="wordpiece", vocab_size=560, specials=ENCODER_TOKENS
    )
    sizes |= {"vocab_size": 600, "task_options.labels": labels, **changes}
    model = modelzoo.build(name, tokenizer=tokenizer, compile=False, **sizes)
    return randomise(model, scale=0.3)


@pytest.fixture(scope="module")
def bert():
    return tagger()


# === The head ===


@pytest.mark.parametrize("name", ["bert", "distilbert", "llama", "gru"])
def test_each_token_has_logits_and_padding_does_not_matter(name):
    model = randomise(TokenClassifier(fresh(name), num_labels=3))
    logits = number(model(INPUTS))
    assert logits.shape == (2, 6, 3)
    hidden = model.backbone(INPUTS)
    hidden = hidden["sequence"] if isinstance(hidden, dict) else hidden
    assert_near(logits, dense(model.classifier, number(hidden)), 1e-4)
    other = {**INPUTS, "token_ids": np.where(MASK > 0, IDS, (IDS + 1) % VOCAB)}
    real = MASK.astype(bool)
    assert_near(number(model(other))[real], logits[real])


def test_a_task_that_fits_no_backbone_or_has_no_tags_is_rejected():
    with pytest.raises(ModelzooError, match="needs a backbone that reads one text, and Encoder"):
        TokenClassificationTask().model(fresh("bart"))
    for labels in (["one"], ["a", "a"], []):
        with pytest.raises(RecipeError, match="two or more different labels"):
            TokenClassificationTask(labels=labels)


# === A recurrent network that reads both ways ===


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_layers_are_those_of_torch(cell):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    theirs = kind(8, 12, num_layers=2, bidirectional=True, batch_first=True)
    ours = randomise(RecurrentEncoder(VOCAB, 8, (12, 12), cell))
    state = {f"rnn.{name}": value.numpy() for name, value in theirs.state_dict().items()}
    take_layers(ours, {**state, "head.weight": np.zeros(3)}, "rnn.")
    lengths, ids = [7, 4, 1], token_ids(3, 7)
    mask = np.arange(7)[None] < np.array(lengths)[:, None]
    x = torch.tensor(np.array(ours.tokens(ids)))
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    wanted, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    got = number(ours({"token_ids": ids, "padding_mask": mask}))
    assert_near(got[mask], wanted.detach().numpy()[mask].astype(np.float64), 1e-5)


def test_layers_of_torch_that_do_not_fit_are_rejected_by_name():
    backbone = RecurrentEncoder(VOCAB, 8, (4,))
    shapes = {"weight_ih": (16, 8), "weight_hh": (16, 4), "bias_ih": (16,), "bias_hh": (16,)}
    whole = {
        f"{name}_l0{way}": np.zeros(shape, "float32")
        for name, shape in shapes.items()
        for way in ("", "_reverse")
    }
    take_layers(backbone, whole)
    for change, message in (
        ({"weight_ih_l0": np.zeros((16, 9))}, r"weight_ih_l0 has the shape \(9, 16\)"),
        ({"weight_ih_l1": np.zeros((16, 8))}, "1 tensors have no place .* weight_ih_l1"),
    ):
        with pytest.raises(Exception, match=message):
            take_layers(backbone, {**whole, **change})
    del whole["bias_hh_l0_reverse"]
    with pytest.raises(ModelzooError, match="there is no tensor bias_hh_l0_reverse"):
        take_layers(backbone, whole)


def test_a_network_that_reads_both_ways_generates_nothing():
    with pytest.raises(ModelzooError, match="causal-lm needs a backbone with"):
        CausalLMTask().model(RecurrentEncoder(VOCAB, 8, (4,)))
    with pytest.raises(RecipeError, match="a bidirectional network has none"):
        modelzoo.build("bilstm-tiny-tagger", tie_embeddings=True)
    again = RecurrentEncoder.from_config(RecurrentEncoder(VOCAB, 8, (4, 5), "gru").get_config())
    assert again({"token_ids": IDS}).shape == (2, 6, 10)


# === Answers ===


def test_spans_have_the_offsets_of_their_text(bert):
    for text in (*TEXTS, ""):
        words = bert.tag(text, group=False)
        assert [(one["start"], one["end"]) for one in words] == find_words(text)
        for found in (words, bert.tag(text)):
            assert all(text[one["start"] : one["end"]] == one["text"] for one in found)
            assert all(0.2 <= one["score"] <= 1 for one in found)
        assert {one["label"] for one in words} <= {*TAGS}
        assert {one["label"] for one in bert.tag(text)} <= {"PER", "LOC"}
    both = bert.tag(TEXTS, group=False)
    assert [[one["label"] for one in row] for row in both] == [
        [one["label"] for one in bert.tag(text, group=False)] for text in TEXTS
    ]


def test_words_are_taken_as_they_are_given(bert):
    words = bert.tag(("Angela", "Merkel's", "Paris"), group=False)
    assert [one["text"] for one in words] == ["Angela", "Merkel's", "Paris"]
    assert words[2]["start"] == len("Angela Merkel's ")
    (listed,) = bert.tag([["Angela", "Merkel's", "Paris"]], group=False)
    assert [one["label"] for one in listed] == [one["label"] for one in words]
    for wrong, message in ((3, "a tuple of words, or a list, not int"), (("a", ""), "not ''")):
        with pytest.raises(ModelzooError, match=message):
            bert.tag(wrong)
    with pytest.raises(DataError, match="a text or a list of words, not int"):
        bert.tag([3])


def test_a_long_text_is_read_in_parts_and_a_word_has_the_mean_of_them(bert):
    text = " ".join(TEXTS * 12)
    found = bert.tag(text, group=False)
    assert [(one["start"], one["end"]) for one in found] == find_words(text)
    short = tagger(max_length=512)
    for weight, own in zip(short.weights, bert.weights, strict=True):
        if weight.shape == own.shape:
            weight.assign(own)
    whole = short.tag(text, group=False)
    assert [one["text"] for one in whole] == [one["text"] for one in found]


@pytest.mark.parametrize(
    "name, kind",
    [
        ("bert-tiny-tagger", "tflite"),
        ("bert-tiny-tagger", "savedmodel"),
        ("bilstm-tiny-tagger", "tflite"),
    ],
)
def test_a_bundle_finds_what_keras_finds(name, kind, tmp_path):
    model = tagger(name)
    options = {} if kind == "savedmodel" else {"quantize": "float32"}
    modelzoo.export(model, tmp_path / "b", format=kind, max_length=32, lengths=[], **options)
    bundle = modelzoo.runtime.load(tmp_path / "b")
    assert bundle.abilities == ("embed", "tag") and bundle.manifest["labels"] == TAGS
    assert "model.tag(" in (tmp_path / "b" / "README.md").read_text()
    # What is longer than 32 tokens Keras reads in parts where its positions end, and else at once.
    long = [" ".join(TEXTS * 4)] if name == "bert-tiny-tagger" else []
    for text in (*TEXTS, *long, tuple("李白")):
        for group in (True, False):
            mine, theirs = model.tag(text, group), bundle.tag(text, group)
            for a, b in zip(mine, theirs, strict=True):
                assert a.pop("score") == pytest.approx(b.pop("score"), abs=1e-4)
            assert mine == theirs


# === Figures ===


def draw_tags(seed: int, labels=TAGS) -> list[list[str]]:
    draw = random.Random(seed)
    return [draw.choices(labels, k=draw_length) for draw_length in (1, 7, 12, 30)]


def test_figures_of_spans_are_those_of_seqeval():
    """Recorded from `classification_report` of seqeval 1.2.2."""
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["I-LOC", "O", "B-ORG"]]
    guess = [["B-PER", "I-PER", "O", "I-PER"], ["B-LOC", "I-LOC", "B-ORG"]]
    scores = span_scores(truth, guess)
    assert scores == pytest.approx(
        {
            **{"precision": 0.5, "recall": 0.5, "f1": 0.5},
            **{"precision_LOC": 0.0, "recall_LOC": 0.0, "f1_LOC": 0.0},
            **{"precision_ORG": 1.0, "recall_ORG": 1.0, "f1_ORG": 1.0},
            **{"precision_PER": 0.5, "recall_PER": 1.0, "f1_PER": 2 / 3},
        }
    )


def test_figures_of_any_tags_are_those_of_the_installed_seqeval():
    seqeval = pytest.importorskip("seqeval.metrics")
    for seed in range(30):
        truth, guess = draw_tags(seed), draw_tags(100 + seed)
        report = seqeval.classification_report(truth, guess, output_dict=True, zero_division=0)
        wanted = {}
        for kind in ("micro avg", "PER", "LOC"):
            end = "" if kind == "micro avg" else f"_{kind}"
            wanted[f"precision{end}"] = report[kind]["precision"]
            wanted[f"recall{end}"] = report[kind]["recall"]
            wanted[f"f1{end}"] = report[kind]["f1-score"]
        assert span_scores(truth, guess) == pytest.approx(wanted)


def test_plain_tags_have_an_accuracy_and_a_baseline():
    sentences = [["a", "dog"], ["a", "cat"], ["dog"]]
    truth = [["D", "N"], ["D", "N"], ["V"]]
    scores = tag_scores(truth, [["D", "N"], ["D", "V"], ["V"]], sentences, ["D", "N", "V"])
    assert scores == {"accuracy": 0.8, "baseline_accuracy": pytest.approx(2 / 5)}
    known = frequent_tags([["a", "zebra"]], [["?", "?"]], (sentences, truth))
    assert known == [["D", "D"]]


def test_a_tagger_learns_and_is_measured_word_by_word(tmp_path):
    people, places = ("Angela Merkel", "Tim Cook", "李白"), ("Paris", "Berlin", "北京")
    rows = []
    for person in people:
        for place in places:
            text = f"{person} visited {place}."
            at = len(person) + len(" visited ")
            spans = [{"start": 0, "end": len(person), "label": "PER"}]
            spans.append({"start": at, "end": at + len(place), "label": "LOC"})
            rows.append({"text": text, "spans": spans})
    data = tmp_path / "names.jsonl"
    data.write_text("\n".join(map(json.dumps, rows * 3)), "utf-8")
    sizes = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "max_length": 32}
    sizes |= {"vocab_size": 600, "train.steps": 60, "train.length": 32, "train.batch_size": 9}
    sizes |= {"train.learning_rate": 5e-3, "train.warmup": 0.1}
    recipe = modelzoo.read_recipe("bert-tiny-tagger", sizes)
    modelzoo.train(recipe, data, tmp_path / "names", validation=data)
    figures = evaluate(tmp_path / "names", data)
    assert figures["f1"] == figures["f1_PER"] == figures["accuracy"] == 1.0
    assert figures["words"] == sum(len(find_words(row["text"])) for row in rows * 3)
    assert 0 < figures["baseline_f1"] <= 1
    model = modelzoo.load(tmp_path / "names")
    assert [(one["text"], one["label"]) for one in model.tag("李白 visited Paris.")] == [
        ("李白", "PER"),
        ("Paris", "LOC"),
    ]
    other = [{"words": ["Monday"], "tags": ["B-DATE"]}, {"words": ["a"], "tags": ["O"]}]
    with pytest.raises(DataError, match="not trained on the tag 'B-DATE'"):
        evaluate(model, other)


def test_the_loss_counts_first_tokens_alone():
    task = TokenClassificationTask(labels=TAGS)
    loss, _ = task.losses()
    y, weight = np.array([[1, 2, 0]]), np.array([[1.0, 0.0, 0.0]], "float32")
    logits = ops.convert_to_tensor(np.eye(5, dtype="float32")[None, :3] * 4)
    alone = loss(y[:, :1], logits[:, :1], sample_weight=weight[:, :1])
    assert float(loss(y, logits, sample_weight=weight)) == pytest.approx(float(alone))
