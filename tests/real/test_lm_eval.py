"""The lm-evaluation-harness on a model directory, against its own class for transformers."""

from __future__ import annotations

import json

import pytest

lm_eval = pytest.importorskip("lm_eval")
transformers = pytest.importorskip("transformers")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

import modelzoo  # noqa: E402
from modelzoo.bench.harness import ModelzooLM  # noqa: E402
from modelzoo.cli import main  # noqa: E402
from modelzoo.errors import ModelzooError, OverflowTextError  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests import small  # noqa: E402
from tests.core import randomise  # noqa: E402

pytestmark = pytest.mark.real

TIE = 1e-4  # nats: below it either of two answers is right
TEMPLATE = "{% for m in messages %}<|endoftext|>{{ m.role }}: {{ m.content }}\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}assistant:{% endif %}"
CHOICES = """\
task: tiny_choices
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: " "
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
ROLLING = """\
task: tiny_perplexity
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
WRITES = """\
task: tiny_writes
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: " rose"
generation_kwargs: {until: ["."], max_gen_toks: 6}
metric_list: [{metric: exact_match}]
"""
ROWS = [
    {"text": "the fox likes", "choices": ["the rose", "the dog", "the"], "answer": 0},
    {"text": "a rose is", "choices": ["a rose", "a dog", "a rose is a rose"], "answer": 0},
    {"text": "the dog likes the fox. a dog is", "choices": ["no fox", "the rose"], "answer": 0},
    {"text": "狐狸喜欢", "choices": ["玫瑰", "玫", "狗"], "answer": 0},
    {"text": "the fox likes the rose. " * 6, "choices": ["a", "the dog"], "answer": 1},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    for name, text in [("choices", CHOICES), ("rolling", ROLLING), ("writes", WRITES)]:
        (folder / f"{name}.yaml").write_text(text.replace("FOLDER", str(folder)))
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A random GPT-2 as a model directory, and the same as transformers reads it."""
    folder = tmp_path_factory.mktemp("models")
    model = randomise(small.with_tokenizer("gpt-tiny", max_length=64), scale=0.3)
    model.chat_template = TEMPLATE
    modelzoo.save(model, folder / "ours")
    write_checkpoint(model, folder / "theirs")
    theirs = HFLM(pretrained=str(folder / "theirs"), device="cpu", dtype="float32", batch_size=1)
    return ModelzooLM(folder / "ours"), theirs, folder / "ours"


def ask(lm, kind, *args):
    requests = [Instance(kind, {}, one, n) for n, one in enumerate(args)]
    return getattr(lm, kind)(requests)


def compare(found, right, ties):
    """Equal but for ties, whose differences are listed in `ties`."""
    for (total, greedy), (other, theirs) in zip(found, right, strict=True):
        assert total == pytest.approx(other, abs=1e-4 * max(1.0, abs(other)))
        if greedy != theirs:
            ties.append(abs(total - other))


def test_every_answer_is_transformers(models):
    ours, theirs, _ = models
    pairs = [(row["text"], f" {choice}") for row in ROWS for choice in row["choices"]]
    pairs += [("", "the rose"), ("the fox ", "likes"), ("the fo", "x likes")]
    ties: list[float] = []
    compare(ask(ours, "loglikelihood", *pairs), ask(theirs, "loglikelihood", *pairs), ties)
    assert ties == []
    texts = [(row["text"],) for row in ROWS] + [("a rose is a rose. " * 12,)]
    found, right = (ask(one, "loglikelihood_rolling", *texts) for one in (ours, theirs))
    assert found == pytest.approx(right, abs=2e-3)
    asked = [(row["text"], {"until": ["."], "max_gen_toks": 8}) for row in ROWS]
    assert ask(ours, "generate_until", *asked) == ask(theirs, "generate_until", *asked)


def test_a_conversation_is_rendered_and_tokenized_as_transformers_does(models):
    ours, theirs, _ = models
    turns = [{"role": "user", "content": "a rose?"}, {"role": "assistant", "content": "a dog"}]
    assert ours.chat_template(True) == theirs.chat_template(True)
    for prompt in (True, False):
        text = ours.apply_chat_template(turns, prompt)
        assert text == theirs.apply_chat_template(turns, prompt)
        assert ours.tok_encode(text) == theirs.tok_encode(text)
    assert ours.tok_encode(text)[0] == ours.eot_token_id  # control tokens count


def test_figures_of_local_tasks_are_those_of_transformers(models, folder):
    ours, theirs, _ = models
    names = ["tiny_choices", "tiny_perplexity", "tiny_writes"]

    def figures(model):
        manager = TaskManager(include_path=str(folder))
        found = lm_eval.simple_evaluate(
            model, tasks=names, task_manager=manager, bootstrap_iters=0, log_samples=False
        )
        return found["results"]

    found, right = figures(ours), figures(theirs)
    for name in names:
        numbers = {key: value for key, value in right[name].items() if isinstance(value, float)}
        assert {key: found[name][key] for key in numbers} == pytest.approx(numbers, rel=1e-3)
        assert numbers


def test_the_command_prints_the_figures(models, folder, capsys):
    options = ["--tasks", "tiny_choices", "--include-path", str(folder)]
    assert main(["lm-eval", str(models[2]), *options, "--json"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["tiny_choices"]["acc,none"] <= 1
    assert main(["lm-eval", str(models[2]), *options, "--limit", "2"]) == 0
    assert "acc_norm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "output_type", "said"),
    [
        ("tiny_choises", "multiple_choice", "did you mean: tiny_choices"),
        ("tiny_wrong", "sing", "output_type 'sing'"),
    ],
)
def test_a_task_that_is_none_is_an_error_of_the_user(
    models, folder, capsys, tmp_path, name, output_type, said
):
    text = CHOICES.replace("FOLDER", str(folder)).replace("multiple_choice", output_type)
    (tmp_path / "wrong.yaml").write_text(text.replace("tiny_choices", "tiny_wrong"))
    (tmp_path / "right.yaml").write_text(CHOICES.replace("FOLDER", str(folder)))
    options = ["--tasks", name, "--include-path", str(tmp_path)]
    assert main(["lm-eval", str(models[2]), *options]) == 2
    assert said in capsys.readouterr().err


def test_what_cannot_be_measured_says_why(models):
    ours, _, _ = models
    with pytest.raises(OverflowTextError, match="a continuation has"):
        ask(ours, "loglikelihood", ("a", " rose" * 80))
    with pytest.raises(OverflowTextError, match="asks for 64 new tokens"):
        ask(ours, "generate_until", ("a", {"until": [], "max_gen_toks": 64}))
    with pytest.raises(ModelzooError, match="causal-lm"):
        ModelzooLM(small.with_tokenizer("t5-tiny"))
