"""The command `modelzoo`: one small file a command, imported only when it is the one invoked.

A command's file has `add_parser(subparsers) -> ArgumentParser` and `run(args) -> int | None`, and
imports nothing heavy at its top: `modelzoo export --help` does not wait for TensorFlow.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple, NoReturn

from modelzoo.about import SUMMARY, VERSION
from modelzoo.cli.common import EXAMPLES
from modelzoo.cli.words import command_for, in_options, option_for
from modelzoo.errors import ModelzooError, nearest

__all__ = ["COMMANDS", "Command", "main", "parse"]


class Command(NamedTuple):
    name: str
    module: str
    help: str
    job: str


COMMANDS = (
    # Not cli/list.py: an imported submodule is an attribute here, and would hide the builtin.
    Command("list", "modelzoo.cli.list_recipes", "every recipe, with its task and size", "look"),
    Command("show", "modelzoo.cli.show", "one recipe, as given or fully merged", "look"),
    Command("find", "modelzoo.cli.find", "file and line of a recipe and its code", "look"),
    Command("cp", "modelzoo.cli.cp", "copy a recipe to a file of your own", "make"),
    Command("build", "modelzoo.cli.build", "a recipe becomes a model directory", "make"),
    Command("tokenizer", "modelzoo.cli.tokenizer", "train or inspect a tokenizer", "make"),
    Command("train", "modelzoo.cli.train", "train a model on your data", "make"),
    Command("evaluate", "modelzoo.cli.evaluate", "measure a model on your data", "make"),
    Command("lm-eval", "modelzoo.cli.lm_eval", "measure a model on benchmark tasks", "make"),
    Command("run", "modelzoo.cli.run", "one input through a model or a bundle", "make"),
    Command("weights", "modelzoo.cli.weights", "write a checkpoint that others open", "make"),
    Command("search", "modelzoo.cli.search", "the passages nearest in meaning to a query", "make"),
    Command("answer", "modelzoo.cli.answer", "a question, answered from your texts", "make"),
    Command("export", "modelzoo.cli.export", "a model becomes a bundle for a device", "ship"),
    Command("verify", "modelzoo.cli.verify", "does the bundle answer as the model does", "ship"),
    Command("bench", "modelzoo.cli.bench", "latency, memory and size of a bundle", "ship"),
    Command("completion", "modelzoo.cli.completion", "a script for bash, zsh or fish", "extend"),
    Command("plugins", "modelzoo.cli.plugins", "what is installed, and what is wrong", "extend"),
    Command("new-plugin", "modelzoo.cli.new_plugin", "write a plugin that works", "extend"),
)

_TOP_EXAMPLES = ("modelzoo list", "modelzoo show gpt-small", "modelzoo export --help")


class UsageError(ModelzooError):
    """The command line itself is wrong."""


class Help(argparse.HelpFormatter):
    """Fits the terminal; examples stay as they are, long ones go on after a backslash."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if not text.startswith(EXAMPLES):
            return super()._fill_text(text, width, indent)
        return "\n".join(part for line in text.splitlines() for part in _continued(line, width + 2))


def _continued(line: str, width: int) -> list[str]:
    """A command as lines of at most `width` columns, broken before an option."""
    parts = []
    while len(line) > width and (at := line.rfind(" --", 10, width - 1)) > 0:
        parts.append(f"{line[:at]} \\")
        line = f"      {line[at:].lstrip()}"
    return [*parts, line]


class Parser(argparse.ArgumentParser):
    """Reports through `UsageError`, so that every error looks the same; suggests near choices."""

    def __init__(self, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", Help)
        # An abbreviation that works today is ambiguous after the next option.
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, next_step=f"{self.prog} --help")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            raise UsageError(
                f"{action.metavar or '/'.join(action.option_strings) or action.dest}: "
                f"{value!r} is none of {', '.join(choices)}",
                did_you_mean=nearest(str(value), choices),
                next_step=f"{self.prog} --help",
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Returns:
        The exit code: 0 done, 1 a defect of modelzoo or a command's own "no", 2 a user's error,
        130 interrupted, 129 ended by SIGHUP, 143 by SIGTERM, 141 the reader of a pipe went away.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    options = argv[: argv.index("--")] if "--" in argv else argv
    debug = "--debug" in options
    if debug:
        argv.remove("--debug")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow says to its developers
    try:
        with _ended_as_by_ctrl_c():
            code = _dispatch(argv)
            sys.stdout.flush()  # here, where a closed pipe is still ours to catch
        return code
    except KeyboardInterrupt:
        print("modelzoo: interrupted", file=sys.stderr)
        return 130
    except _Ended as ended:
        print(f"modelzoo: ended by {ended}", file=sys.stderr)
        return 128 + ended.number
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except (ModelzooError, OSError) as error:
        _explain(f"error: {error}", debug)
        return 2
    except Exception as error:
        next_step = "run it again with --debug for the traceback, and report it"
        _explain(f"internal error: {type(error).__name__}: {error}\n  next: {next_step}", debug)
        return 1


class _Ended(BaseException):
    """A signal that ends the process: what is unfinished is cleared up on the way out."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `_Ended` in the block, unless they are ignored (nohup)."""

    def end(number, frame):
        raise _Ended(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _explain(message: str, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"modelzoo: {message}", file=sys.stderr)


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        if len(argv) > 1 and argv[0] == "help":
            return _dispatch([argv[1], "--help"])
        print(_overview())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"modelzoo {VERSION}")
        return 0
    command = _command(argv[0])
    try:
        args = _parse(command, argv)
    except SystemExit as stop:  # argparse leaves this way after --help
        return int(stop.code or 0)
    try:
        return command.run(args) or 0
    except ModelzooError as error:
        if error.next_step:
            error.next_step = in_options(error.next_step, options_of(argv[0]))
        raise


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line, checked and not run.

    Raises:
        ModelzooError: the command line is wrong.
    """
    return _parse(_command(argv[0]), list(argv))


def _command(name: str) -> object:
    """The module of a command."""
    known = {command.name: command for command in COMMANDS}
    if name not in known:
        what = "option" if name.startswith("-") else "command"
        meant, step = command_for(name, ["--help", "--version"] if what == "option" else known)
        raise UsageError(f"there is no {what} {name!r}", did_you_mean=meant, next_step=step)
    return import_module(known[name].module)


def _parser(command: object, name: str) -> tuple[Parser, Parser]:
    """The parser of the whole line, and that of the command in it."""
    top = Parser(prog="modelzoo")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND")
    command.add_parser(subparsers)
    parser = subparsers.choices[name]
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return top, parser


def _parse(command: object, argv: list[str]) -> argparse.Namespace:
    top, parser = _parser(command, argv[0])
    try:
        args, extra = top.parse_known_args(argv)
    except UsageError:
        # A misspelt option often shows up as something else, such as a missing argument.
        _refuse_unknown_options(parser, argv[1:])
        raise
    if extra and not _take_late(parser, args, extra):
        _refuse_unknown_options(parser, extra)
        raise UsageError(f"too much: {' '.join(extra)}", next_step=f"{parser.prog} --help")
    return args


def _take_late(parser: argparse.ArgumentParser, args: argparse.Namespace, extra: list[str]) -> bool:
    """Gives a word that stands after an option to the optional argument that it was meant for.

    argparse up to Python 3.12 gives such an argument up at the first option: `run DIR --json TEXT`.
    """
    if len(extra) != 1 or (extra[0].startswith("-") and extra[0] != "-"):
        return False
    for action in parser._actions:
        if not action.option_strings and action.nargs == "?" and not action.type:
            if getattr(args, action.dest) is action.default:
                setattr(args, action.dest, extra[0])
                return True
    return False


def _refuse_unknown_options(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    options = _options(parser)
    for word in argv[: argv.index("--")] if "--" in argv else argv:
        name = word.partition("=")[0]
        if _is_option(name) and name not in options:
            raise UsageError(
                f"{parser.prog} has no option {name}",
                did_you_mean=option_for(name, options),
                next_step=f"{parser.prog} --help",
            )


def _is_option(word: str) -> bool:
    return word.startswith("--") or (len(word) == 2 and word[0] == "-" and word[1].isalpha())


def options_of(command: str) -> set[str]:
    """The option strings of a command.

    Example:
        >>> "--task" in options_of("list")
        True
    """
    return _options(_parser(_command(command), command)[1])


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """The option strings of a parser and of the parsers below it."""
    found = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found |= _options(below)
    return found


def _overview() -> str:
    lines = ["usage: modelzoo COMMAND ...", "", SUMMARY, ""]
    for job in dict.fromkeys(command.job for command in COMMANDS):
        lines.append(f"{job}:")
        lines += [f"  {c.name:<12}{c.help}" for c in COMMANDS if c.job == job]
        lines.append("")
    lines += ["every command has --help, and --debug for the traceback of an error", ""]
    lines += ["examples:", *(f"  {line}" for line in _TOP_EXAMPLES)]
    return "\n".join(lines)


def _silence_stdout() -> None:
    # The interpreter flushes stdout once more at exit, and would complain about the closed pipe.
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout has no descriptor, as under a test's capture
        return
