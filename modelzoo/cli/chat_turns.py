"""modelzoo run --chat: turns read from standard input, replies shown as they are made."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator

from modelzoo.cli.common import printable
from modelzoo.errors import ModelzooError

HELP, CLEAR = "/help", "/clear"
EXIT = ("/exit", "/quit")
WORDS = ("exit", "quit")  # at a terminal these end it too
PROMPT = "> "
COMMANDS = "/clear begins a new conversation, /exit or Ctrl-D ends, Ctrl-C stops a reply"


def converse(
    session, args: argparse.Namespace, options: dict, write: Callable[[str], None], name: str
) -> int:
    """Runs a conversation to its end.

    Where a person types, Ctrl-C ends a reply and an error costs the turn; else both end it all.

    Args:
        session: a `ChatSession`.
        args: of `modelzoo run`; an INPUT is the only turn.
        name: the model's name, as a person at a terminal sees it.
        options: of the sampling.
        write: prints text, made safe for a terminal.

    Returns:
        The exit code.
    """
    start = [] if args.system is None else [{"role": "system", "content": args.system}]
    if args.input not in (None, "-"):
        turn(session, start, args.input, args, options, write)
        return 0
    messages = start
    if terminal():
        print(f"{printable(name)}\n{COMMANDS}\n")
    for text in lines():
        command = text.strip()
        if command in EXIT or (command in WORDS and terminal()):
            break
        if command == HELP and terminal():
            print(COMMANDS)
        elif command == CLEAR:
            messages = start
        elif command:
            try:
                messages = turn(session, messages, text, args, options, write)
            except ModelzooError as error:
                if not sys.stdin.isatty():
                    raise
                print(f"modelzoo: error: {error}", file=sys.stderr)
    return 0


def terminal() -> bool:
    """Whether a person types and reads."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def turn(session, messages: list, text: str, args, options: dict, write) -> list:
    """The conversation with one more question and its answer, which has been shown."""
    messages = [*messages, {"role": "user", "content": text}]
    stream = not args.json and args.stream is not False
    said: list[str] = []
    try:
        for piece in session.chat(messages, stream=True, **options):
            said.append(piece)
            if stream:
                write(piece)
    except KeyboardInterrupt:
        if args.input not in (None, "-") or not sys.stdin.isatty():
            raise
    reply = "".join(said)
    if args.json:
        write(json.dumps({"input": text, "output": reply}, ensure_ascii=False) + "\n")
    else:
        write("\n" if stream else reply + "\n")
    return [*messages, {"role": "assistant", "content": reply}]


def lines() -> Iterator[str]:
    """Lines of standard input; on a terminal with a prompt, and with editing where there is any."""
    typed = terminal()
    if typed:
        with contextlib.suppress(ImportError):  # Windows has none, and edits by itself
            import readline  # noqa: F401
    while True:
        try:
            line = input(PROMPT) if typed else next(sys.stdin)
        except (EOFError, StopIteration):
            if typed:
                print()
            return
        yield line.rstrip("\r\n")
