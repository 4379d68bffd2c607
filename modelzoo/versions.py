"""Does a requirement allow the running version? PEP 440 comparison and simple PEP 508 markers.

`packaging` does all of this, but the base install does without it.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass

__all__ = ["Requirement", "allows", "normalized", "parse_requirement", "parse_version"]

_VERSION = re.compile(
    r"""v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)
    (?:[-_.]?(?P<pre>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<pre_n>\d*))?
    (?P<post>-(?P<post_bare>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n>\d*))?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d*))?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?""",
    re.VERBOSE | re.IGNORECASE,
)
_CLAUSE = re.compile(r"\s*(===|==|!=|~=|<=|>=|<|>)\s*(\S+)\s*")
_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?(?P<spec>[^;@)]*)\)?"
    r"\s*(?P<url>@[^;]*)?(?:;(?P<marker>.*))?"
)
_MARKER = re.compile(
    r"""\s*\(*\s*(\w+)\s*(===|==|!=|~=|<=|>=|<|>)\s*(?:"([^"]*)"|'([^']*)')\s*\)*\s*"""
)
_PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


@dataclass(frozen=True)
class _Version:
    epoch: int
    release: tuple[int, ...]
    pre: tuple[str, int] | None
    post: int | None
    dev: int | None
    local: str | None

    def key(self, *, local: bool = False) -> tuple:
        """What orders versions: 1.0.dev1 < 1.0a1 < 1.0rc1 < 1.0 < 1.0.post1."""
        release = self.release
        while len(release) > 1 and release[-1] == 0:  # 1.0 and 1 are one version
            release = release[:-1]
        bare_dev = self.pre is None and self.post is None and self.dev is not None
        pre = ("",) if bare_dev else self.pre or ("z",)
        post = -1 if self.post is None else self.post
        dev = (1,) if self.dev is None else (0, self.dev)
        # In a local version a number sorts above a word.
        parts = re.split(r"[-_.]", self.local or "") if local and self.local else ()
        order = tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
        return (self.epoch, release, pre, post, dev, order)


@dataclass(frozen=True)
class Requirement:
    """One `Requires-Dist` line: normalized name, specifier (`""` = any version), marker."""

    name: str
    specifier: str
    marker: str

    def applies(self) -> bool:
        """Whether the marker holds here; one that asks for an extra never does.

        A marker that is not understood counts as holding: the requirement is then checked, and a
        refusal that can be read is better than a crash later.
        """
        if not self.marker.strip():
            return True
        return any(
            all(_marker_holds(clause) for clause in re.split(r"\band\b", alternative))
            for alternative in re.split(r"\bor\b", self.marker)
        )


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 compares it: `Model_Zoo` is `model-zoo`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_requirement(text: str) -> Requirement | None:
    """A `Requires-Dist` value taken apart, or `None` where it is none."""
    match = _REQUIREMENT.fullmatch(text.strip())
    if match is None:
        return None
    return Requirement(
        normalized(match["name"]), (match["spec"] or "").strip(), (match["marker"] or "").strip()
    )


def parse_version(text: str) -> _Version:
    """Takes a PEP 440 version apart. Raises `ValueError` on anything else."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a version: {text!r}")
    pre = post = dev = None
    if match["pre"]:
        word = match["pre"].lower()
        pre = (_PRE.get(word, word), int(match["pre_n"] or 0))
    if match["post"]:
        post = int(match["post_bare"] or match["post_n"] or 0)
    if match["dev"]:
        dev = int(match["dev_n"] or 0)
    release = tuple(int(part) for part in match["release"].split("."))
    local = match["local"] and match["local"].lower()
    return _Version(int(match["epoch"] or 0), release, pre, post, dev, local)


def allows(specifier: str, version: str) -> bool:
    """Whether `version` satisfies every clause of `specifier`, such as `>=0.1,<1`.

    A pre-release counts as the version it is: what is installed was chosen, so it is compared and
    not left out. Raises `ValueError` on a clause that PEP 440 does not know.
    """
    clauses = [clause for clause in specifier.split(",") if clause.strip()]
    return all(_clause_allows(clause, version) for clause in clauses)


def _clause_allows(clause: str, version: str) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        raise ValueError(f"not a version specifier: {clause.strip()!r}")
    operator, wanted = match.groups()
    if operator == "===":
        return version.strip().lower() == wanted.lower()
    have = parse_version(version)
    if wanted.endswith(".*"):
        if operator not in ("==", "!="):
            raise ValueError(f"not a version specifier: {clause.strip()!r}")
        return _has_prefix(have, parse_version(wanted[:-2])) == (operator == "==")
    want = parse_version(wanted)
    if operator in ("==", "!="):
        with_local = want.local is not None
        return (have.key(local=with_local) == want.key(local=with_local)) == (operator == "==")
    if operator == "~=":  # ~=1.4.2 is >=1.4.2, ==1.4.*
        if len(want.release) < 2:
            raise ValueError(f"~= needs two numbers at least: {clause.strip()!r}")
        series = _Version(want.epoch, want.release[:-1], None, None, None, None)
        return have.key() >= want.key() and _has_prefix(have, series)
    if operator == ">=":
        return have.key() >= want.key()
    if operator == "<=":
        return have.key() <= want.key()
    same_release = _padded(have, want) == _padded(want, have)
    if operator == "<":  # <1.0 does not let 1.0rc1 in: that is a pre-release of 1.0
        below = want.post is None or (have.pre is None and have.post == want.post)
        return have.key() < want.key() and not (
            same_release and below and _is_pre(have) and not _is_pre(want)
        )
    # >1.0 does not let 1.0.post1 in: that is a post-release of 1.0.
    above = have.post is not None and want.post is None and want.dev is None
    return have.key() > want.key() and not (same_release and above and have.pre == want.pre)


def _is_pre(version: _Version) -> bool:
    return version.pre is not None or version.dev is not None


def _padded(version: _Version, other: _Version) -> tuple[int, ...]:
    zeros = max(0, len(other.release) - len(version.release))
    return (version.epoch, *version.release, *(0,) * zeros)


def _has_prefix(version: _Version, prefix: _Version) -> bool:
    size = len(prefix.release)
    head = (version.release + (0,) * size)[:size]
    return version.epoch == prefix.epoch and head == prefix.release


def _marker_holds(clause: str) -> bool:
    match = _MARKER.fullmatch(clause)
    if match is None:
        return "extra" not in clause
    variable, operator, double, single = match.groups()
    wanted = double if double is not None else single
    if variable == "extra":
        return False
    if variable in ("python_version", "python_full_version"):
        have = "{}.{}".format(*sys.version_info)
        return allows(
            f"{operator}{wanted}",
            have if variable == "python_version" else platform.python_version(),
        )
    have = {
        "sys_platform": sys.platform,
        "os_name": os.name,
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "implementation_name": sys.implementation.name,
        "platform_python_implementation": platform.python_implementation(),
    }.get(variable)
    if have is None or operator not in ("==", "!="):
        return True
    return (have == wanted) == (operator == "==")
