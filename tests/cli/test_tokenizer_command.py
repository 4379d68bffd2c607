import json
import os

import pytest

from modelzoo.cli import main
from modelzoo.cli.tokenizer import KINDS
from modelzoo.data import train_tokenizer as training


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.csv"
    path.write_text("review,stars\n" + "the fox likes the dog 你好,1\n" * 20, encoding="utf-8")
    return path


def train(corpus, output, *options):
    return main(
        ["tokenizer", "train", "--data", str(corpus), "--column", "text=review"]
        + ["--vocab-size", "280", "-o", str(output), *options]
    )


def test_train_writes_a_tokenizer_that_show_reads(corpus, tmp_path, capsys):
    output = tmp_path / "tokenizer.json"
    assert train(corpus, output) == 0
    out, err = capsys.readouterr()
    assert "bpe" in out
    assert err == f"modelzoo: 0 s: learning bpe tokens from {corpus}\n"
    assert main(["tokenizer", "show", str(output), "the 你好"]) == 0
    assert "10 bytes" in capsys.readouterr().out
    assert main(["tokenizer", "show", str(output), "the 你好", "--json"]) == 0
    tokens = json.loads(capsys.readouterr().out)
    assert tokens[0]["text"].startswith("t")


def test_existing_file_is_kept_without_force(corpus, tmp_path, capsys):
    output = tmp_path / "tokenizer.json"
    output.write_text("mine")
    assert train(corpus, output) == 2
    assert "--force overwrites it" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert train(corpus, output, "--force", "--kind", "byte") == 0


def test_errors_exit_with_2_and_one_message(corpus, tmp_path, capsys):
    output = tmp_path / "tokenizer.json"
    for options in (["--kind", "bp"], ["--vocab-size", "3"], ["--column", "text"]):
        assert train(corpus, output, *options) == 2
        assert capsys.readouterr().err.count("modelzoo: error:") == 1
        assert not output.exists()


def test_choices_are_those_of_the_trainer():
    assert KINDS == training.KINDS


def test_a_task_gives_its_control_tokens_and_one_that_reads_no_text_is_rejected(
    corpus, tmp_path, capsys
):
    output = tmp_path / "tokenizer.json"
    assert train(corpus, output, "--kind", "byte", "--task", "speech-to-text") == 0
    assert "pad=<pad>, bos=<s>, eos=</s>" in capsys.readouterr().out
    assert train(corpus, output, "--force", "--task", "image-classification") == 2
    assert "reads no text" in capsys.readouterr().err
    assert train(corpus, output, "--force", "--task", "speech-to-txt") == 2
    assert "did you mean: speech-to-text?" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody may fill")
def test_a_folder_that_cannot_be_written_is_one_message(corpus, capsys):
    assert train(corpus, "/proc/self/tokenizer.json", "--kind", "byte") == 2
    assert "error: cannot write /proc/self/tokenizer.json: " in capsys.readouterr().err
