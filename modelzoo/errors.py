"""One exception base for everything a user can get wrong.

An error says what is wrong, where it stands, which name was probably meant, and what to do next.
The command line prints it as one message and exits with code 2.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

from modelzoo.about import install_command

__all__ = [
    "BundleError",
    "DataError",
    "ExportError",
    "MissingDependencyError",
    "ModelDirectoryError",
    "ModelzooError",
    "OutputError",
    "OverflowTextError",
    "PluginError",
    "RecipeError",
    "TokenizerError",
    "UnknownNameError",
    "WeightsError",
    "check_choice",
    "nearest",
    "parsing",
    "require",
    "shown",
    "visible",
    "warn",
]

# What would drive a terminal, or show a name in another order or on another line than it is.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class ModelzooError(Exception):
    """Base of every error that modelzoo raises on purpose.

    Args:
        what: one sentence, what is wrong.
        where: the file, line, key or signature it stands in.
        did_you_mean: the nearest right name; `None` where nothing is near.
        next_step: what the reader can do about it, best a command.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        did_you_mean: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.did_you_mean = did_you_mean
        self.next_step = next_step

    def __str__(self) -> str:
        # A line of our own in `what` is indented by four spaces, which no field below is.
        lines = ["\n    ".join(map(visible, self.what.split("\n    ")))]
        if self.where:
            lines.append(f"  in: {visible(self.where)}")
        if self.did_you_mean:
            lines.append(f"  did you mean: {visible(self.did_you_mean)}?")
        if self.next_step:
            lines.append(f"  next: {visible(self.next_step)}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple:
        # The keyword arguments are lost by the default, which replays `args` alone: an error that
        # crosses a process border (exporters work in a child) must arrive whole.
        return (type(self), (self.what,), self.__dict__)


class RecipeError(ModelzooError):
    """A recipe cannot be read, or does not fit its architecture."""


class UnknownNameError(ModelzooError):
    """Nothing of that name: recipe, architecture, task or exporter."""


class WeightsError(ModelzooError):
    """A checkpoint cannot be read or written, or does not fit the model."""


class PluginError(ModelzooError):
    """An installed plugin cannot be used."""


class DataError(ModelzooError):
    """Raw data is missing, empty, or not what the task needs."""


class OverflowTextError(DataError):
    """A text is longer than the model can read."""


class TokenizerError(ModelzooError):
    """A tokenizer cannot be read or trained, or lacks a token that is needed."""


class ModelDirectoryError(ModelzooError):
    """A model directory is missing, incomplete, or written by a newer modelzoo."""


class BundleError(ModelzooError):
    """A bundle is missing, incomplete, altered, or written by a newer modelzoo."""


class ExportError(ModelzooError):
    """A model cannot be turned into a device file."""


class OutputError(ModelzooError):
    """An output path cannot be written, or would overwrite something."""


class MissingDependencyError(ModelzooError, ImportError):
    """A package that an extra brings is not installed."""


def visible(text: str) -> str:
    """The text with control characters, line breaks and marks of direction as escapes.

    Without the addresses of objects, and without its middle where it would fill pages: a file can
    state a value of any length.

    Example:
        >>> print(visible("a\\nb"))
        a\\nb
    """
    text = re.sub(r"(?<=\w) object at 0x[0-9a-f]+", "", text)
    text = _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return text if len(text) <= 1200 else f"{text[:900]} … {text[-200:]}"


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be, or `None`.

    A full name that ends in `/name` counts as near: `moe` is meant to be `acme/moe`.
    """
    from difflib import get_close_matches

    # First spelling wins: two candidates that differ only in case must not resolve at random.
    by_lower: dict[str, str] = {}
    for candidate in sorted(candidates):
        by_lower.setdefault(candidate.lower(), candidate)
    wanted = name.lower()
    for lower, candidate in by_lower.items():
        if lower.rpartition("/")[2] == wanted:
            return candidate
    found = get_close_matches(wanted, by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def check_choice(key: str, value: object, choices: Collection[str]) -> None:
    """Raise a RecipeError unless the value of `key` is one of `choices`.

    >>> check_choice("norm", "rsm", ("layer", "rms"))
    Traceback (most recent call last):
    modelzoo.errors.RecipeError: norm 'rsm' is not one of layer, rms
      did you mean: rms?
    """
    if value not in choices:
        raise RecipeError(
            f"{key} {value!r} is not one of {', '.join(choices)}",
            did_you_mean=nearest(str(value), choices),
        )


# What no file can cause: these stay as they are, so that a mistake in the code looks like one.
_BUGS = (NameError, ImportError, AssertionError, NotImplementedError)


@contextmanager
def parsing(
    where: object,
    error: type[ModelzooError],
    what: str = "cannot be read",
    *,
    next_step: str | None = None,
) -> Iterator[None]:
    """Whatever a parser raises in the block, as one `error` that names the file.

    The last net around a reader: what a structure holds is checked where it is read, by its key's
    name. A `ModelzooError` passes as it is, and so do mistakes of the code such as a `NameError`.

    Args:
        where: the file, or what was read.
        error: the class to raise; the cause is chained to it.
        what: the sentence before the colon and the parser's own words.
        next_step: what the reader can do about it.

    Example:
        >>> with parsing("model.json", WeightsError, "the configuration cannot be read"):
        ...     {}["hidden_size"]
        Traceback (most recent call last):
        modelzoo.errors.WeightsError: the configuration cannot be read: KeyError: 'hidden_size'
          in: model.json
    """
    try:
        yield
    except BaseException as problem:
        # A Rust library that gives up raises PanicException, which is not an Exception.
        panics = type(problem).__module__ == "pyo3_runtime"
        wrong = isinstance(problem, Exception) and not isinstance(problem, (ModelzooError, *_BUGS))
        if not (panics or wrong):
            raise
        raise error(f"{what}: {_said(problem)}", where=where, next_step=next_step) from problem


def _said(problem: BaseException) -> str:
    """What an exception says, in one line."""
    name = type(problem).__name__
    try:
        said = problem.strerror if isinstance(problem, OSError) else None
        said = " ".join(str(said or problem).split())
    except Exception:  # some libraries fail while they say what failed
        return name
    if isinstance(problem, RecursionError):
        return "it is nested too deeply"
    if not said:
        return name
    said = said if len(said) <= 300 else said[:297] + "..."
    return f"{name}: {said}" if isinstance(problem, (LookupError, TypeError)) else said


def shown(value: object, most: int = 60) -> str:
    """`repr(value)` in one line of at most `most` characters, for a message; it never fails.

    >>> shown({"a": 1}), shown(10**5000), shown("x" * 100, most=12)
    ("{'a': 1}", 'a number of 16610 bits', "'xxxxxxxx...")
    """
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number in it has too many digits, or it is too deep
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= most else text[: most - 3] + "..."


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning that points at the line outside modelzoo and Keras that led to it.

    Python 3.12 has `skip_file_prefixes` for it. Where all the lines are inside, as on the command
    line, it is the outermost one.
    """
    import warnings

    frame = sys._getframe(1)
    while frame.f_back is not None and _INSIDE.search(frame.f_code.co_filename):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__", "<string>"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


# Files of modelzoo, of Keras, which calls ours, and of the standard library's own machinery.
_INSIDE = re.compile(
    rf"^{re.escape(os.path.dirname(os.path.abspath(__file__)) + os.sep)}"
    r"|[/\\]site-packages[/\\](keras|tensorflow)[/\\]|^<frozen |[/\\]contextlib\.py$"
)


def require(module: str, extra: str) -> ModuleType:
    """Imports `module`, or says which extra brings it.

    Raises:
        MissingDependencyError: chained to the `ImportError`, with the `pip install` line.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and (error.name or package).startswith(
            package
        )
        what = f"{module} is not installed" if missing else f"{module} does not import: {error}"
        raise MissingDependencyError(what, next_step=install_command(extra)) from error
