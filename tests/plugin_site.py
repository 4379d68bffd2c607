"""Really installed distributions for the tests: a site directory, and child Pythons that see it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

# argv[1] is the directory of the core's recipes; the rest is the command line.
_CLI = """
import sys
from pathlib import Path
from modelzoo.registry import recipes as registry
from modelzoo.cli import main
directory = Path(sys.argv.pop(1))
registry.recipes_directory = lambda: directory
sys.exit(main())
"""


@dataclass(frozen=True)
class Site:
    """A site directory. `add` installs a distribution as pip would leave it behind."""

    path: Path
    recipes: Path

    def add(
        self,
        name: str,
        *,
        version: str = "0.2.1",
        entry_points: Mapping[str, Mapping[str, str]],
        files: Mapping[str, str],
        requires: tuple[str, ...] = (),
    ) -> None:
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
        lines = []
        for group, entries in entry_points.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        everything = {
            **files,
            f"{info.name}/METADATA": "\n".join(metadata) + "\n",
            f"{info.name}/entry_points.txt": "\n".join(lines) + "\n",
        }
        for relative, text in everything.items():
            path = self.path / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run(self, *argv: str, plugins: str | None = None) -> subprocess.CompletedProcess:
        """`python argv...` that sees the site; `plugins` is MODELZOO_PLUGINS."""
        environment = {k: v for k, v in os.environ.items() if k != "MODELZOO_PLUGINS"}
        environment["PYTHONPATH"] = os.pathsep.join((str(self.path), str(ROOT)))
        if plugins is not None:
            environment["MODELZOO_PLUGINS"] = plugins
        return subprocess.run(
            [sys.executable, *argv],
            env=environment,
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def modelzoo(self, *argv: str, plugins: str | None = None) -> subprocess.CompletedProcess:
        return self.run("-c", _CLI, str(self.recipes), *argv, plugins=plugins)

    def python(self, code: str, plugins: str | None = None) -> subprocess.CompletedProcess:
        return self.run("-c", code, plugins=plugins)


def acme(site: Site, name: str = "modelzoo-acme", **changes: object) -> None:
    """Installs a sound plugin that claims `acme`, with some of it changed."""
    package = name.replace("-", "_")
    sound = {
        "entry_points": {
            "modelzoo.plugins": {"acme": package},
            "modelzoo.architectures": {"moe": f"{package}.moe:build"},
        },
        "files": {
            f"{package}/__init__.py": "",
            f"{package}/moe.py": "def build(*, num_layers: int = 2) -> 'keras.Model':\n    ...\n",
            f"{package}/recipes/tiny.toml": (
                'summary = "Acme tiny"\narchitecture = "acme/moe"\ntask = "causal-lm"\n'
                "parameters = 1_234\n[model]\nnum_layers = 3\n"
            ),
        },
    }
    site.add(name, **{**sound, **changes})
