"""list, show, cp and find, on a zoo of two recipes."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import pytest

from modelzoo import cli, registry
from modelzoo.cli.common import count, printable, table
from modelzoo.recipe import write_lock
from tests.conftest import GPT_SMALL


def output(capsys: pytest.CaptureFixture, *argv: str) -> str:
    code = cli.main(list(argv))
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


# === Numbers and tables ===


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (1_234, "1.23K"),
        (999_950, "1M"),
        (4_385_920, "4.39M"),
        (22_050_664, "22.1M"),
        (124_439_808, "124M"),
        (1_557_611_200, "1.56B"),
        (174_604_259_328, "175B"),
        (1_748_003_454_976, "1.75T"),
    ],
)
def test_a_count_is_read_at_a_glance(number, text):
    assert count(number) == text


def test_a_table_is_aligned_without_trailing_spaces():
    lines = table(("name", "size"), [("a", "10"), ("long", "5")], right="size").splitlines()
    assert lines == ["name  size", "a       10", "long     5"]


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[31mred\nb") == "a [31mred b"


# === list ===


def test_list_is_an_aligned_table(recipes, capsys):
    assert output(capsys, "list").splitlines() == [
        "name       task       parameters  weights  summary",
        "gpt-small  causal-lm        124M  -        GPT-2 small: decoder-only language model",
        "gpt-tiny   causal-lm           -  -        GPT-2, two layers",
    ]


def test_list_as_json_has_the_exact_numbers(recipes, capsys):
    small = json.loads(output(capsys, "list", "--json"))[0]
    assert small == {
        "name": "gpt-small",
        "summary": "GPT-2 small: decoder-only language model",
        "task": "causal-lm",
        "architecture": "gpt",
        "parameters": 124_439_808,
        "plugin": None,
        "source": str(recipes / "gpt-small.toml"),
        "problem": None,
        "weights": None,
        "aliases": [],
        "kind": "recipe",
    }


def test_list_marks_what_has_weights_and_finds_an_alias(capsys):
    lines = output(capsys, "list", "bert-base-uncased").splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["bert-base", "masked-lm", "110M", "yes"],
        ["distilbert", "masked-lm", "67M", "yes"],
    ]


def test_list_can_be_limited_to_a_task(recipes, capsys):
    (recipes / "b.toml").write_text('architecture = "bert"\ntask = "masked-lm"\n')
    out = output(capsys, "list", "--task", "masked-lm", "--json")
    assert [entry["name"] for entry in json.loads(out)] == ["b"]
    assert json.loads(output(capsys, "list", "--task", "seq2seq-lm", "--json")) == []


def test_list_can_be_limited_to_a_word_of_name_task_or_summary(recipes, capsys):
    assert [line.split()[0] for line in output(capsys, "list", "SMALL").splitlines()] == [
        "name",
        "gpt-small",
    ]
    assert len(output(capsys, "list", "causal-lm").splitlines()) == 3
    assert "two layers" in output(capsys, "list", "layers")


def test_list_task_alone_lists_the_tasks_without_keras(recipes, capsys):
    lines = output(capsys, "list", "--task").splitlines()
    assert lines[0].split() == ["task", "recipes", "does"]
    causal = next(line for line in lines if line.startswith("causal-lm"))
    assert causal.endswith("2  continues a text, one token after another")
    assert all(len(line.split()) > 2 and not line.endswith("-") for line in lines[1:])
    rows = json.loads(output(capsys, "list", "small", "--task", "--json"))
    assert [(row["task"], row["recipes"]) for row in rows] == [("causal-lm", 1)]


def test_a_table_is_cut_between_words_to_fit_the_terminal():
    rows = [("gpt", "a decoder for short texts"), ("b", "short")]
    text = table(("name", "summary"), rows, width=20)
    assert text.splitlines() == ["name  summary", "gpt   a decoder …", "b     short"]
    assert "texts" in table(("name", "summary"), rows)


def test_a_broken_recipe_is_one_line_on_stderr(recipes, capsys):
    (recipes / "broken.toml").write_text("architecture = \n")
    assert cli.main(["list"]) == 0
    captured = capsys.readouterr()
    assert "gpt-small" in captured.out
    assert captured.err.count("\n") == 1
    assert "recipe broken: not valid TOML" in captured.err


# === show ===


def test_show_prints_the_file_with_its_comments_below_what_it_does_not_say(recipes, capsys):
    out = output(capsys, "show", "gpt-small")
    header, _, body = out.partition("\n\n")
    assert body == GPT_SMALL
    assert "# parameters 124,439,808" in header
    assert f"# source     {recipes / 'gpt-small.toml'}" in header
    assert f"# digest     {registry.recipe('gpt-small').digest}" in header


def test_show_resolved_prints_the_merged_values_and_the_whole_is_toml(recipes, capsys):
    given = tomllib.loads(output(capsys, "show", "gpt-tiny"))
    merged = tomllib.loads(output(capsys, "show", "gpt-tiny", "--resolved"))
    assert given["extends"] == "gpt-small"
    assert merged == registry.recipe("gpt-tiny").values
    assert merged["model"]["num_layers"] == 2


def test_show_as_json_is_merged(recipes, capsys):
    shown = json.loads(output(capsys, "show", "gpt-tiny", "--json"))
    assert shown["values"]["architecture"] == "gpt"
    assert shown["extends"] == ["gpt-small"]
    assert shown["parameters"] is None


def test_show_takes_a_model_directory_and_a_file(recipes, tmp_path, capsys):
    directory = tmp_path / "model"
    directory.mkdir()
    write_lock(directory, registry.recipe("gpt-tiny"))
    digest = registry.recipe("gpt-tiny").digest
    for name in (directory, directory / "recipe.lock.toml", recipes / "gpt-tiny.toml"):
        shown = json.loads(output(capsys, "show", str(name), "--json"))
        assert shown["digest"] == digest
    assert "[lock]" in output(capsys, "show", str(directory))


def test_a_registered_recipe_is_shown_without_a_file(recipes, capsys):
    registry.register("mine", recipe={"architecture": "gpt", "model": {"num_layers": 1}})
    assert tomllib.loads(output(capsys, "show", "mine"))["model"] == {"num_layers": 1}


# === cp ===


@pytest.mark.parametrize("name", ["gpt-small", "gpt-tiny"])
def test_a_copy_is_the_same_recipe_and_states_every_value(recipes, tmp_path, capsys, name):
    file = tmp_path / "mine.toml"
    output(capsys, "cp", name, str(file))
    assert registry.recipe(file).digest == registry.recipe(name).digest
    assert registry.recipe(file).extends == ()
    assert [item.name for item in tmp_path.iterdir()] == ["recipes", "mine.toml"]


def test_a_copy_keeps_the_comments_where_it_can(recipes, tmp_path, capsys):
    output(capsys, "cp", "gpt-small", str(tmp_path / "mine.toml"))
    assert (tmp_path / "mine.toml").read_text() == GPT_SMALL


def test_a_copy_of_a_model_directory_leaves_the_lock_behind(recipes, tmp_path, capsys):
    write_lock(tmp_path, registry.recipe("gpt-tiny"))
    output(capsys, "cp", str(tmp_path), str(tmp_path / "mine.toml"))
    assert registry.recipe(tmp_path / "mine.toml").digest == registry.recipe("gpt-tiny").digest


def test_cp_overwrites_only_when_told_to(recipes, tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text("precious")
    assert cli.main(["cp", "gpt-small", str(file)]) == 2
    assert "--force overwrites it" in capsys.readouterr().err
    assert file.read_text() == "precious"
    output(capsys, "cp", "gpt-small", str(file), "--force")
    assert file.read_text() == GPT_SMALL


@pytest.mark.parametrize("target", ["", "mine.txt", "nowhere/mine.toml"])
def test_cp_refuses_what_it_cannot_write(recipes, tmp_path, capsys, target):
    assert cli.main(["cp", "gpt-small", str(tmp_path / target)]) == 2
    assert "next: " in capsys.readouterr().err


# === find ===


def test_find_prints_file_and_line_of_recipe_architecture_and_task(recipes, capsys):
    lines = output(capsys, "find", "gpt-small").splitlines()
    assert lines[0].split() == ["kind", "name", "place"]
    assert lines[1].split() == ["recipe", "gpt-small", f"{recipes / 'gpt-small.toml'}:1"]
    for line, kind in zip(lines[2:], ("architecture", "task"), strict=True):
        assert line.startswith(kind)
        file, _, number = line.split()[-1].rpartition(":")
        text = Path(file).read_text(encoding="utf-8").splitlines()[int(number) - 1]
        assert text.startswith(("def build(", "class CausalLM"))


def test_find_takes_an_architecture_by_its_own_name(recipes, capsys):
    found = json.loads(output(capsys, "find", "bert", "--json"))
    assert [(place["kind"], place["name"]) for place in found] == [("architecture", "bert")]


# === The examples run as they stand ===


@pytest.mark.parametrize("command", ["list", "show", "find", "cp", "plugins", "new-plugin"])
def test_the_examples_of_the_help_run_as_they_stand(
    recipes, tmp_path, monkeypatch, capsys, command
):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    lines = output(capsys, command, "--help").partition("\nexamples:\n")[2].splitlines()
    assert lines
    for line in lines:
        output(capsys, *shlex.split(line)[1:])
