"""One loaded bundle for several conversations, threads and interruptions, and its full window."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from modelzoo.cli import main
from modelzoo.errors import ModelzooError, OverflowTextError
from modelzoo.runtime import load
from tests.runtime import chats
from tests.runtime.chats import assistant, user

SOURCE = "{% for m in messages %}{{ m.content }} {% endfor %}"
EOS = 4


@pytest.fixture(scope="module")
def paths(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("sharing")
    names = ("decoder", "recurrent", "seq2seq", "embedding_sizes")
    found = {name: tiny.bundle(name, directory / name) for name in names}
    chats.add_template(found["decoder"], SOURCE)
    return found


@pytest.fixture
def model(paths):
    model = load(paths["decoder"], threads=1)
    model.tokenizer.stop_tokens = ()  # so that replies have a length
    return model


def talk(session, turns, **options):
    """The replies to some turns of a user."""
    messages, replies = [], []
    for turn in turns:
        messages.append(user(turn))
        replies.append(session.chat(messages, **options))
        messages.append(assistant(replies[-1]))
    return replies


TALKS = [["a b", "c", "d e"], ["l", "k j i"], ["a b", "f"]]


def test_conversations_that_take_turns_give_what_they_give_alone(model):
    options = {"max_new_tokens": 3, "temperature": 2.0, "seed": 5}
    alone = [talk(model.chat_session(), turns, **options) for turns in TALKS]
    sessions = [model.chat_session() for _ in TALKS]
    messages, replies = [[] for _ in TALKS], [[] for _ in TALKS]
    for turn in range(3):
        streams = {}
        for n, turns in enumerate(TALKS):
            if turn < len(turns):
                messages[n].append(user(turns[turn]))
                streams[n] = iter(sessions[n].chat(messages[n], stream=True, **options))
        said = {n: [] for n in streams}
        while streams:  # one piece of each in turn
            for n in list(streams):
                piece = next(streams[n], None)
                if piece is None:
                    del streams[n]
                else:
                    said[n].append(piece)
        for n, pieces in said.items():
            replies[n].append("".join(pieces))
            messages[n].append(assistant(replies[n][-1]))
    assert replies == alone
    assert alone[0][0] == alone[2][0]


def test_threads_that_generate_at_once_give_what_they_give_alone(model, paths):
    prompts = ["a", "b c d", "l k j i h g", "a b c d e f g h", "k", "d d"]
    options = {"max_new_tokens": 12, "temperature": 1.5, "seed": 2, "when_full": "slide"}
    alone = [model.generate(prompt, **options) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda p: model.generate(p, **options), prompts)) == alone
        chatted = pool.map(lambda t: talk(model.chat_session(), t, max_new_tokens=3), TALKS)
        assert list(chatted) == [talk(model.chat_session(), t, max_new_tokens=3) for t in TALKS]
    encoder = load(paths["embedding_sizes"], threads=1)
    alone = [encoder.embed(prompt) for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(encoder.embed, prompts)), alone)


@pytest.mark.parametrize("name", ["decoder", "recurrent", "seq2seq"])
def test_ctrl_c_in_the_middle_of_a_stream_leaves_the_model_usable(paths, name):
    model = load(paths[name], threads=1)
    model.tokenizer.stop_tokens = ()
    whole = model.generate("a b c", max_new_tokens=8)
    stream = model.generate("a b c", stream=True, max_new_tokens=8)
    shown = next(stream)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        next(stream)
    assert whole.startswith(shown)
    assert model.generate("a b c", max_new_tokens=8) == whole
    assert model.engine._lock.acquire(timeout=1)
    model.engine._lock.release()


def test_ctrl_c_within_a_call_ends_the_stream_and_not_the_conversation(model, monkeypatch):
    session, messages = model.chat_session(), [user("a b c")]
    whole = session.chat(messages, max_new_tokens=5)
    stepper, calls = type(model.engine.stepper()), []
    decode = stepper.decode

    def interrupted(self, *arrays):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(self, *arrays)

    monkeypatch.setattr(stepper, "decode", interrupted)
    said = []
    with pytest.raises(KeyboardInterrupt):
        said += session.chat(messages, stream=True, max_new_tokens=5)
    monkeypatch.undo()
    assert session.chat(messages, max_new_tokens=5) == whole
    assert model.generate("a b c", max_new_tokens=5) == whole


def test_ctrl_c_ends_the_command_without_a_traceback(paths):
    # stdin stays open, so the command waits for its next line when the signal comes.
    process = subprocess.Popen(
        [sys.executable, "-m", "modelzoo", "run", paths["recurrent"], "-", "--stream"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    process.stdin.write("a b\n")
    process.stdin.flush()
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    watchdog.cancel()
    assert first.strip() and process.returncode == 130 and "Traceback" not in err


# === The window's end ===


@pytest.mark.parametrize("text", ["a b c", "l k j i h g f e d c b a l k j i h g f e d c b a"])
def test_a_bundle_slides_as_its_numbers_say(tiny, model, text):
    prompt = model.tokenizer.encode(text)
    history = list(prompt)
    for _ in range(40):
        seen = history
        while len(seen) > 16:
            seen = seen[8:]
        history.append(int(tiny.attention.logits(seen).argmax()))
    result = model.generate_results([text], max_new_tokens=40, when_full="slide")[0]
    assert list(result.tokens) == history[len(prompt) :] and result.finish_reason == "length"


def test_a_prompt_longer_than_the_window_is_refused_with_the_way_on(model):
    text = "l k j i h g f e d c b a l k j i h"
    with pytest.raises(OverflowTextError, match='when_full="slide"'):
        model.generate(text)


def test_a_long_conversation_of_a_bundle_equals_fresh_ones(model):
    session, messages = model.chat_session(), []
    options = {"max_new_tokens": 7, "when_full": "slide"}
    for turn in "abcdefgh":
        messages.append(user(turn))
        reply = session.chat(messages, **options)
        assert reply == model.chat_session().chat(messages, **options)
        messages.append(assistant(reply))
    with pytest.raises(OverflowTextError, match='when_full="slide"'):
        session.chat(messages + [user("a")])


def test_a_limit_is_needed_where_nothing_else_ends_the_text(model, paths):
    with pytest.raises(ModelzooError, match="has no end"):
        model.generate("a", max_new_tokens=None, when_full="slide")
    with pytest.raises(ModelzooError, match="no window"):
        load(paths["recurrent"], threads=1).generate("a", max_new_tokens=None)


# === The command ===


def test_run_slides_when_asked(paths, capsys, tmp_path):
    options = ["--max-new-tokens", "30", "--temperature", "3", "--seed", "9"]
    long = " ".join("abcdefghijklabcdefgh")
    assert main(["run", str(paths["decoder"]), long, *options]) == 2
    assert "--when-full slide" in capsys.readouterr().err
    assert main(["run", str(paths["decoder"]), long, *options, "--when-full", "slide"]) == 0
    expected = load(paths["decoder"]).generate(
        long, max_new_tokens=30, temperature=3, seed=9, when_full="slide"
    )
    assert capsys.readouterr().out == expected + "\n"
    assert main(["run", str(paths["decoder"]), "a", "--when-full", "slid"]) == 2
    assert main(["run", str(paths["embedding_sizes"]), "a", "--when-full", "slide"]) == 2
    assert "--when-full does not fit" in capsys.readouterr().err


def test_run_keeps_packed_weights_when_asked(paths, capsys, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    command = ["run", str(paths["embedding_sizes"]), "-", "--json"]
    answers = []
    for options in ([], ["--weight-cache", str(cache)], ["--weight-cache", str(cache)]):
        monkeypatch.setattr("sys.stdin", io.StringIO("a b\n"))
        assert main([*command, *options, "--threads", "1"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["embedding"])
    assert answers[0] == answers[1] == answers[2] and os.path.isdir(cache)


@pytest.mark.parametrize(
    "options, where",
    [([], True), (["--no-weight-cache"], None), (["--weight-cache", "packed"], "packed")],
)
def test_run_says_where_packed_weights_are_kept(paths, monkeypatch, options, where):
    asked = []

    def load(path, **given):
        asked.append(given["weight_cache"])
        raise ModelzooError("no more is needed")

    monkeypatch.setattr("modelzoo.runtime.model.load", load)
    assert main(["run", str(paths["embedding_sizes"]), "a", *options]) == 2
    assert asked == [where]


def test_the_weight_cache_of_a_model_directory_is_refused(capsys, tmp_path):
    (tmp_path / "model").mkdir()
    command = ["run", str(tmp_path / "model"), "a", "--weight-cache", str(tmp_path)]
    assert main(command) == 2
    assert "--weight-cache is for bundles" in capsys.readouterr().err
