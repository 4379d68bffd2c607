"""A check: something named that passes, fails with the way on, or says why it does not apply."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelzoo.errors import ModelzooError

__all__ = ["Check", "CheckFailure", "NotApplicable", "Skipped", "fail", "not_applicable"]


class CheckFailure(ModelzooError, AssertionError):
    """A plugin breaks a rule: what, where, and what to do about it."""


class NotApplicable(Exception):
    """The check has nothing to say about this plugin or model; the text says why."""


@dataclass(frozen=True)
class Skipped:
    """What a check gives where it does not apply and pytest is not there."""

    reason: str


def fail(what: str, *, where: object = None, next_step: str | None = None) -> None:
    """Raise a `CheckFailure`."""
    raise CheckFailure(what, where=where, next_step=next_step)


def not_applicable(reason: str) -> None:
    """Raise `NotApplicable`."""
    raise NotApplicable(reason)


@dataclass(frozen=True)
class Check:
    """One check of one plugin, or of one of its recipes or architectures.

    Attributes:
        rule: what is held, `fit`.
        subject: of what, `acme/tiny`; empty where it is the plugin as a whole.
        function: does it.
        where: what a failure names: distribution and version.
        package: the plugin's top-level package; an exception is located in its code.
        skipped: a reason that the author gave for leaving it out.

    `str(check)` is `fit:acme/tiny`, which is its id under pytest.
    """

    rule: str
    subject: str
    function: Callable[[], None] = field(compare=False)
    where: str = ""
    package: str = ""
    skipped: str | None = None

    @property
    def name(self) -> str:
        return f"{self.rule}:{self.subject}" if self.subject else self.rule

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<check {self.name}>"

    def __call__(self) -> Skipped | None:
        """Hold the rule.

        Returns:
            `None` where it holds; `Skipped` where it does not apply (under pytest, the test is
            skipped with that reason instead).

        Raises:
            CheckFailure: it does not hold.
        """
        if self.skipped is not None:
            return _skip(self.skipped)
        try:
            self.function()
        except NotApplicable as reason:
            return _skip(str(reason))
        except CheckFailure as failure:
            failure.where = failure.where or self.where
            raise
        except ModelzooError as error:
            place = error.where or self.where
            if self.where not in place:
                place = f"{self.where}, {place}"
            raise CheckFailure(
                f"{self.name}: {error.what}",
                where=place,
                did_you_mean=error.did_you_mean,
                next_step=error.next_step,
            ) from error
        except (Exception, SystemExit) as error:
            raise CheckFailure(
                f"{self.name}: {type(error).__name__}: {error}",
                where=", ".join(filter(None, (self.where, _line_of(error, self.package)))),
                next_step="the traceback above it shows the way there",
            ) from error
        return None


def _skip(reason: str) -> Skipped:
    if "PYTEST_CURRENT_TEST" in os.environ and "pytest" in sys.modules:
        import pytest

        pytest.skip(reason)
    return Skipped(reason)


def _line_of(error: BaseException, package: str) -> str | None:
    """`file:line` of the innermost frame in the plugin's own code."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if package and package in Path(frame.filename).parts:
            return f"{frame.filename}:{frame.lineno}"
    return None
