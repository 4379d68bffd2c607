"""modelzoo run --chat: a conversation at a terminal, in a pipe, and one message alone."""

from __future__ import annotations

import io
import json
import os
import re
import select
import subprocess
import sys
import time

import pytest

import modelzoo
from modelzoo import cli
from modelzoo.about import WHEEL
from modelzoo.exporting.bundle.readme_text import text_sections
from modelzoo.runtime.generation.session import ChatSession
from tests import small
from tests.core import randomise
from tests.runtime import chats
from tests.runtime.chats import assistant, system, user

FEW = ["--max-new-tokens", "4"]
OPENING = (
    "gpt-tiny\n/clear begins a new conversation, /exit or Ctrl-D ends, Ctrl-C stops a reply\n\n"
)
GPT = {**small.GPT, "max_length": 128}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chat")


@pytest.fixture(scope="module")
def directory(folder) -> str:
    """A model directory that chats."""
    model = modelzoo.build("gpt-tiny", **GPT, tokenizer=chats.byte_level())
    randomise(model.backbone)
    model.chat_template = chats.CHATML
    return str(modelzoo.save(model, folder / "model"))


@pytest.fixture(scope="module")
def model(directory):
    return modelzoo.load(directory)


@pytest.fixture
def say(monkeypatch, capsys, directory):
    """Runs a conversation: what is typed, options; gives what was printed."""

    def run(typed: str, *options: str, terminal: bool = False, code: int = 0) -> str:
        stdin, stdout = io.StringIO(typed), io.StringIO()
        stdin.isatty = stdout.isatty = lambda: terminal
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            patch.setattr(sys, "stdout", stdout)
            got = cli.main(["run", directory, "--chat", *FEW, *options])
        run.err = capsys.readouterr().err
        assert got == code, run.err
        return stdout.getvalue()

    return run


def talk(model, *questions: str, start=()) -> list[str]:
    """The replies of a conversation, from Python."""
    messages, replies = list(start), []
    for question in questions:
        messages.append(user(question))
        replies.append(model.chat_session().chat(messages, max_new_tokens=4))
        messages.append(assistant(replies[-1]))
    return replies


def test_each_line_is_a_turn_of_one_conversation(say, model):
    replies = talk(model, "Hello", "and then?")
    assert say("Hello\n\n   \nand then?\r\n") == "".join(f"{reply}\n" for reply in replies)
    assert replies[1] != talk(model, "and then?")[0]


def test_clear_begins_anew_and_exit_ends(say, model):
    one, two = talk(model, "Hello")[0], talk(model, "so")[0]
    assert say("Hello\n /clear \nso\n/exit\nmore\n") == f"{one}\n{two}\n"
    assert say("") == say("/exit") == ""


def test_system_and_json(say, model):
    start = [system("Be brief.")]
    replies = talk(model, "Hello", "so", start=start)
    lines = say("Hello\nso\n/clear\nHello", "--system", "Be brief.", "--json").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"input": "Hello", "output": replies[0]},
        {"input": "so", "output": replies[1]},
        {"input": "Hello", "output": replies[0]},  # the system message stays
    ]
    assert replies != talk(model, "Hello", "so")


def test_an_input_is_the_one_turn(say, model):
    reply = talk(model, "/exit")[0]  # no command: it was not typed
    assert say("Hello\n", "/exit") == reply + "\n"
    assert say("Hello\n", "-") == talk(model, "Hello")[0] + "\n"
    assert say("", "Hello", "--no-stream") == talk(model, "Hello")[0] + "\n"


def test_options_of_the_sampling_reach_the_model(say, model):
    drawn = model.chat_session().chat("Hello", max_new_tokens=4, temperature=1.5, seed=3)
    assert say("Hello", "--temperature", "1.5", "--seed", "3") == drawn + "\n"


def test_a_terminal_gets_a_prompt(say, model):
    replies = talk(model, "Hello", "so")
    seen = say("Hello\nso\n", terminal=True)
    assert seen == f"{OPENING}> {safe(replies[0])}\n> {safe(replies[1])}\n> \n"


@pytest.mark.parametrize("word", ["/exit", "/quit", "quit", " exit "])
def test_a_person_may_leave_in_several_words_and_ask_for_help(say, word):
    seen = say(f"/help\n{word}\nHello\n", terminal=True)
    assert seen.count("/clear begins a new conversation") == 2
    assert seen.endswith("Ctrl-C stops a reply\n> ")


def test_in_a_pipe_quit_is_a_message(say, model):
    assert say("quit\n") == f"{talk(model, 'quit')[0]}\n"


def safe(text: str) -> str:
    from modelzoo.cli.run_answers import _CONTROL

    return _CONTROL.sub("\ufffd", text)


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C comes after so many pieces of the first reply; what each call was given."""
    asked = []

    def after(count):
        whole = ChatSession.chat

        def chat(self, messages, stream=False, **options):
            asked.append(messages)
            pieces = whole(self, messages, stream, **options)
            for number, piece in enumerate(pieces):
                if number == count and len(asked) == 1:
                    raise KeyboardInterrupt
                yield piece

        monkeypatch.setattr(ChatSession, "chat", chat)
        return asked

    return after


@pytest.mark.parametrize("count", [0, 1])
def test_ctrl_c_in_a_reply_keeps_the_conversation(say, model, interrupted, count):
    stream = model.chat_session().chat("Hello", stream=True, max_new_tokens=4)
    pieces = [piece for piece, _ in zip(stream, range(count), strict=False)]
    second = model.chat_session().chat(
        [user("Hello"), assistant("".join(pieces)), user("so")], max_new_tokens=4
    )
    asked = interrupted(count)
    seen = say("Hello\nso\n", terminal=True)
    assert seen == f"{OPENING}> {safe(''.join(pieces))}\n> {safe(second)}\n> \n"
    assert asked[1] == [user("Hello"), assistant("".join(pieces)), user("so")]


def test_ctrl_c_ends_what_nobody_types(say, interrupted):
    interrupted(1)
    say("Hello\nso\n", code=130)
    assert say.err == "modelzoo: interrupted\n"


def test_ctrl_c_at_the_prompt_ends_with_130(say, monkeypatch):
    def interrupt(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    say("", terminal=True, code=130)


def test_a_message_too_long_costs_a_person_that_turn_only(say, model):
    long, replies = "x" * 200, talk(model, "Hello", "so")
    seen = say(f"Hello\n{long}\nso\n", terminal=True)
    assert seen == f"{OPENING}> {safe(replies[0])}\n> > {safe(replies[1])}\n> \n"
    assert "window 128" in say.err and "/clear" in say.err
    assert say(f"Hello\n{long}\nso\n", code=2) == replies[0] + "\n"
    assert "window 128" in say.err and "Traceback" not in say.err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--pair", "b"], "--pair does not fit: this model can chat"),
        (["--top", "1"], "--top does not fit"),
        (["--truncate"], "--truncate does not fit"),
        (["--threads", "1"], "--threads is for bundles"),
        (["--top-k", "5"], "--temperature 1.0"),
    ],
)
def test_options_that_do_not_fit_are_refused(say, options, message):
    assert say("Hello", *options, code=2) == ""
    assert message in say.err


def test_system_without_chat_and_models_that_cannot_are_refused(directory, folder, capsys):
    assert cli.main(["run", directory, "a", "--system", "b"]) == 2
    assert "--system does not fit" in capsys.readouterr().err
    for name in ("gpt-tiny", "bert-tiny-classifier"):
        modelzoo.save(small.with_tokenizer(name), folder / name)
    assert cli.main(["run", str(folder / "gpt-tiny"), "a", "--chat"]) == 2
    assert "no chat template" in capsys.readouterr().err
    assert cli.main(["run", str(folder / "bert-tiny-classifier"), "a", "--chat"]) == 2
    assert "does not generate text" in capsys.readouterr().err
    assert cli.main(["run", str(folder / "absent"), "a", "--chat"]) == 2
    assert "absent" in capsys.readouterr().err


# === A bundle at a real terminal ===


@pytest.fixture(scope="module")
def bundle(directory, folder):
    return modelzoo.export(
        directory, folder / "chat.bundle", quantize="float32", max_length=128
    ).path


def test_a_bundle_says_how_it_chats(bundle):
    page = (bundle / "README.md").read_text("utf-8")
    section = page[page.index("## Chat") : page.index("## Verified")]
    ids = re.findall(r"^[\d, ]+$", section, re.M)[0]
    encoder = modelzoo.runtime.load(bundle).chat_session()._encoder
    assert [int(id) for id in ids.split(", ")] == encoder.encode([user("Who wrote Hamlet?")])
    assert "<|im_start|>user\nWho wrote Hamlet?<|im_end|>\n" in section
    for stop in encoder.tokenizer.stop_tokens:
        assert f"`{encoder.tokenizer.id_to_token(stop)}` ({stop})" in section
    assert f'pip install "{WHEEL}[chat]"' in page
    assert 'print(model.chat("Who wrote Hamlet?", max_new_tokens=40))' in page
    assert "date of the day" not in section


def test_a_template_that_rejects_a_question_is_reported_in_the_readme(bundle, tmp_path):
    manifest = json.loads((bundle / "manifest.json").read_text())
    (tmp_path / "tokenizer.json").write_bytes((bundle / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('tools only') }}")
    assert "could not render one question of a user: " in text_sections(tmp_path, manifest)[1]
    (tmp_path / "chat_template.jinja").write_text("{{ strftime_now('%Y') }}")
    assert "The template writes the date of the day." in text_sections(tmp_path, manifest)[1]
    del manifest["tokenizer"]["chat_template"]
    (prompts,) = text_sections(tmp_path, manifest)
    assert prompts.startswith("## Prompts\n\nNo token goes before a prompt. A text ends at `")
    assert text_sections(tmp_path, {**manifest, "signatures": {"serve": {}}}) == []


def test_run_without_chat_notes_that_the_model_chats(bundle, directory, folder, capsys):
    for path in (bundle, directory):
        assert cli.main(["run", str(path), "a", *FEW]) == 0
        assert "note: this model was trained to chat" in capsys.readouterr().err
        assert cli.main(["run", str(path), "a", "--chat", *FEW]) == 0
        assert "note:" not in capsys.readouterr().err
    plain = modelzoo.save(small.with_tokenizer(), folder / "plain")
    assert cli.main(["run", str(plain), "a", *FEW]) == 0
    assert "note:" not in capsys.readouterr().err


def test_a_conversation_at_a_real_terminal(bundle):
    pty = pytest.importorskip("pty")
    assert "chat" in modelzoo.runtime.load(bundle).abilities
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelzoo", "run", str(bundle), "--chat", *FEW],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(theirs)
    try:
        seen = read_until(ours, "> ")
        os.write(ours, b"Hello\n")
        seen = read_until(ours, "> ")
        assert "Hello" in seen  # what was typed, and a reply in its own line
        for _ in range(20):  # the first may still stop a reply, on a busy machine
            os.write(ours, b"\x03")
            try:
                assert process.wait(3) == 130
                break
            except subprocess.TimeoutExpired:
                continue
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def read_until(terminal: int, end: str) -> str:
    """What comes until the text ends so."""
    text, deadline = "", time.monotonic() + 60
    while not text.endswith(end):
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"the terminal shows only {text!r}"
        text += os.read(terminal, 4096).decode(errors="replace")
    return text
