"""Every KerasHub backbone on a device: `python -m modelzoo_kerashub.table [--only NAME] [--json]`.

Each small backbone is built, exported to TFLite with builtin operations and verified against Keras,
in a process of its own with a time limit. Results are kept in a file, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from modelzoo.errors import ModelzooError, OutputError

from modelzoo_kerashub import index

__all__ = ["main", "markdown", "measure", "names", "run"]

RESULTS = "kerashub-table.json"
SECONDS = 300
# What the exporter says it is doing, and what has been reached by then.
_STEPS = (("converting", "builds"), ("loading the bundle", "exports"))
_VERSIONS = ("keras-hub", "keras", "tensorflow", "modelzoo-keras", "modelzoo-kerashub")


def names() -> list[str]:
    """Every public backbone once, by the name of its class."""
    return sorted({backbone.name for backbone in index.backbones().values()})


def measure(name: str) -> dict:
    """One row: {"builds", "exports", "verifies": bool, "error": float | None, "why": str | None}.

    In this process; `run` gives each name one of its own.
    """
    from modelzoo.exporting import export_bundle

    row: dict = {"builds": False, "exports": False, "verifies": False, "error": None, "why": None}

    def progress(step: str) -> None:
        for beginning, reached in _STEPS:
            if step.startswith(beginning):
                row[reached] = True

    with tempfile.TemporaryDirectory(prefix="modelzoo-kerashub-") as scratch:
        try:
            report = export_bundle(
                f"kerashub/{name}",
                Path(scratch) / "bundle",
                quantize="float32",
                progress=progress,
            )
        except ModelzooError as error:
            return {**row, "why": " ".join(error.what.split())}
    parameters = report.manifest["parameters"]
    found = {"error": report.max_abs_error, "bytes": report.parity["bytes"]}
    return {**row, "verifies": True, "parameters": parameters, **found}


def run(
    wanted: Iterable[str], path: Path, *, seconds: float = SECONDS, again: bool = False
) -> dict:
    """Measure what `path` does not hold yet, and keep each row there as soon as it is known.

    Raises:
        OutputError: the file cannot be read or written.
    """
    kept = _read(path)
    if kept.get("versions") != _versions():
        kept = {"versions": _versions(), "rows": {}}  # of other versions: measured anew
    for name in wanted:
        if name in kept["rows"] and not again:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        kept["rows"][name] = _in_child(name, seconds)
        _write(path, kept)
    return kept


def markdown(kept: dict, wanted: Iterable[str]) -> str:
    """The table, and the figure below it."""
    rows = {name: kept["rows"][name] for name in wanted if name in kept["rows"]}
    lines = ["| backbone | builds | exports | verifies | max error | why not |", "|" + "---|" * 6]
    for name, row in rows.items():
        marks = " | ".join("yes" if row[key] else "no" for key in ("builds", "exports", "verifies"))
        error = "" if row["error"] is None else f"{row['error']:.1e}"
        why = (row["why"] or "").replace("|", "\\|")
        lines.append(f"| {name} | {marks} | {error} | {why} |")
    return "\n".join([*lines, "", figure(rows)])


def figure(rows: dict) -> str:
    """`60 of 73 backbones verify (73 build, 65 export)`."""
    count = {
        key: sum(row[key] for row in rows.values()) for key in ("builds", "exports", "verifies")
    }
    return (
        f"{count['verifies']} of {len(rows)} backbones verify "
        f"({count['builds']} build, {count['exports']} export)"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; see `--help`. 0, 2 on a user's error, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m modelzoo_kerashub.table",
        description="Build, export and verify every KerasHub backbone, small, with random weights.",
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this one; may be repeated")
    parser.add_argument("--results", default=RESULTS, metavar="FILE", help="kept here: %(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each: %(default)s")
    parser.add_argument("--again", action="store_true", help="measure what is there already too")
    parser.add_argument("--list", action="store_true", help="only the names")
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    parser.add_argument("--child", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(options.child)))
        return 0
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: the child ends too
    try:
        wanted = [index.backbone(name).name for name in options.only or names()]
        if options.list:
            print("\n".join(wanted))
            return 0
        kept = run(wanted, Path(options.results), seconds=options.seconds, again=options.again)
    except ModelzooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; {options.results} holds what was measured", file=sys.stderr)
        return 130
    if options.json:
        rows = {name: kept["rows"][name] for name in wanted}
        print(json.dumps({**kept, "rows": rows, "figure": figure(rows)}, indent=2))
    else:
        print(markdown(kept, wanted))
    return 0


# === One at a time ===


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _in_child(name: str, seconds: float) -> dict:
    row = {"builds": False, "exports": False, "verifies": False, "error": None}
    command = [sys.executable, "-P", "-m", "modelzoo_kerashub.table", "--child", name]
    # A group of its own: what it starts itself ends with it.
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, error = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return {**row, "why": f"not done after {seconds:g} seconds"}
    finally:
        _end(child)
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = [line for line in error.splitlines() if line.strip()]
        return {**row, "why": f"its process ended with code {child.returncode}: {said[-1:]}"}


def _end(child: subprocess.Popen) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _read(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept if isinstance(kept.get("rows"), dict) else {}
    except (OSError, ValueError, AttributeError) as error:
        raise OutputError(
            f"{path} holds no results: {error}", next_step="name another file: --results FILE"
        ) from error


def _write(path: Path, kept: dict) -> None:
    """Whole or not at all: Ctrl-C may come at any time."""
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", where=path) from error


if __name__ == "__main__":
    sys.exit(main())
