"""What happened to one case, and how it is told."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from modelzoo.errors import ModelzooError

GOOD = ("ok", "refused")
MARK = "code-of-the-input-was-run"  # a file of the case's folder that hostile inputs try to make
LONGEST_MESSAGE = 3000  # characters
_PACKAGE = re.compile(r"(?:^|/)(modelzoo/(?:[^/]+/)*[^/]+\.py)$")
_CHANGING = re.compile(r"0x[0-9a-f]+|/\S+|\d+(?:\.\d+)?")


class TooLong(BaseException):
    """A case used up its CPU time; no `except Exception` catches it."""


class Lost(Exception):
    """A writer that failed left something damaged, or took something away."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        kind: "ok", "refused", or a kind of broken.
        what: the error's text, or the signal.
        place: the innermost line of the package that was being run, `modelzoo/recipe/toml.py:50`.
        error: the type of the exception.
        seconds, megabytes: CPU time, and how far memory grew.
    """

    group: str
    seed: int
    kind: str
    what: str = ""
    place: str = ""
    error: str = ""
    seconds: float = 0.0
    megabytes: int = 0

    @property
    def broken(self) -> bool:
        return self.kind not in GOOD

    @property
    def cause(self) -> tuple[str, str, str, str]:
        """Cases of one cause are counted together."""
        return self.group, self.kind, self.error or _plain(self.what), self.place

    def as_dict(self) -> dict:
        return asdict(self)


def judge(use: Callable[[], object], folder: Path) -> dict[str, str]:
    """Call `use`; the `kind`, `what`, `place` and `error` of an `Outcome`."""
    found = {"kind": "ok"}
    try:
        use()
    except ModelzooError as error:
        fault = unclear(error)
        found = {"kind": "unclear" if fault else "refused", **_told(error)}
        found["what"] = f"{fault}: {found['what']}" if fault else found["what"]
    except TooLong as error:
        found = {"kind": "hang", **_told(error), "what": "too much CPU time"}
    except Lost as error:
        found = {"kind": "lost", **_told(error)}
    except BaseException as error:  # a Rust panic is no Exception
        found = {"kind": "internal", **_told(error)}
    if (folder / MARK).exists():
        found = {"kind": "ran", "what": "code of the input was run"}
    return found


def unclear(error: ModelzooError) -> str | None:
    """What is wrong with an error's text, or `None`."""
    text = str(error)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "the message is no text that a file could hold"
    if not error.what.strip():
        return "the message is empty"
    if "Traceback (most recent call last)" in text:
        return "the message holds a traceback"
    if re.search(r"<[\w.]+ object at 0x", text):
        return "the message holds an address"
    if len(text) > LONGEST_MESSAGE:
        return f"the message has {len(text):,} characters"
    return None


def _told(error: BaseException) -> dict[str, str]:
    traceback.print_exception(error)  # into the child's log, for who shows one case
    places = [
        f"{found[1]}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if (found := _PACKAGE.search(frame.filename))
    ]
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    text = "" if isinstance(error, TooLong) else str(error)
    what = text.encode("utf-8", "backslashreplace").decode()
    return {"what": what[:LONGEST_MESSAGE], "place": places[-1] if places else "", "error": name}


def place_in_dump(dump: str) -> str:
    """The innermost line of the package in what `faulthandler` wrote last."""
    _, _, stack = dump.rpartition("Current thread ")  # before it: tracebacks of earlier cases
    for path, line in re.findall(r'File "([^"]+)", line (\d+)', stack):
        if found := _PACKAGE.search(path):
            return f"{found[1]}:{line}"
    return ""


def _plain(text: str) -> str:
    """A text without what differs from case to case."""
    return _CHANGING.sub("…", text.partition("\n")[0])[:100]
