"""modelzoo new-plugin: a plugin that installs, lists, builds and passes its tests as it stands."""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path
from string import Template

from modelzoo.about import DISTRIBUTION, VERSION
from modelzoo.cli import _plugin_files
from modelzoo.cli.common import examples
from modelzoo.errors import ModelzooError, OutputError

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
# Of the recipes that are written; the generated tests assert them.
_PARAMETERS, _LARGER = 881_280, 3_975_424


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "new-plugin",
        description="Write a plugin: a project with one architecture, two recipes, tests, "
        "README and CI.",
        epilog=examples(
            "modelzoo new-plugin modelzoo-acme", "modelzoo new-plugin models/mine --name acme"
        ),
    )
    parser.add_argument("directory", metavar="DIR", help="a new or empty directory")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="the namespace it claims: acme -> acme/... (default: from DIR, without modelzoo-)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    directory = Path(args.directory)
    name = directory.resolve().name.removeprefix("modelzoo-") if args.name is None else args.name
    if not _NAME.fullmatch(name) or name == "modelzoo":
        raise ModelzooError(
            f"{name!r} cannot be a namespace: a-z, 0-9, - and _, a letter first",
            next_step=f"modelzoo new-plugin {args.directory} --name {_near(name)}",
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OutputError(f"{directory} exists and is not empty", next_step="choose a new one")
    _write(directory, _files(name))
    print(
        f"{directory}: a plugin that claims {name}/...\n"
        f'  next: pip install -e "{directory}[test]" && modelzoo list && pytest {directory}'
    )
    return 0


def _near(name: str) -> str:
    """A namespace that looks like `name`: `acme-models` for `Acme/Models`."""
    near = "-".join(re.findall(r"[a-z0-9]+", name.lower())).lstrip("0123456789-")
    return near if near and near != "modelzoo" else "acme"


def _files(namespace: str) -> dict[str, str]:
    """Path inside the project -> text."""
    package = "modelzoo_" + namespace.replace("-", "_")
    templates = {
        "pyproject.toml": _plugin_files.PYPROJECT,
        "README.md": _plugin_files.README,
        f"{package}/__init__.py": _plugin_files.INIT,
        f"{package}/llama.py": _plugin_files.ARCHITECTURE,
        f"{package}/recipes/llama-tiny.toml": _plugin_files.RECIPE,
        f"{package}/recipes/llama-small.toml": _plugin_files.LARGER,
        "tests/test_plugin.py": _plugin_files.TEST,
        ".github/workflows/ci.yml": _plugin_files.CI,
        ".gitignore": _plugin_files.GITIGNORE,
    }
    values = {
        "namespace": namespace,
        "package": package,
        "distribution": "modelzoo-" + namespace.replace("_", "-"),
        "modelzoo": DISTRIBUTION,
        "minimum": ".".join(VERSION.split(".")[:2]),
        "parameters": f"{_PARAMETERS:_}",
        "larger": f"{_LARGER:_}",
    }
    return {path: Template(text).substitute(values) for path, text in templates.items()}


def _write(directory: Path, files: dict[str, str]) -> None:
    """Writes beside `directory` first: a full disk leaves nothing half done in it."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".new-plugin-") as scratch:
            whole = Path(scratch) / "plugin"
            for name, text in files.items():
                path = whole / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            if directory.exists():  # empty, and perhaps the shell's own: fill it, keep it
                for item in whole.iterdir():
                    shutil.move(item, directory)
            else:
                shutil.move(whole, directory)
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror}") from error
