"""The wheel that users will get: is all in it that the checkout has?"""

from __future__ import annotations

import json
import os
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlparse

from modelzoo import child_process, registry
from modelzoo.errors import ModelzooError
from modelzoo.files import scratch
from modelzoo.plugins import Plugin
from modelzoo.plugins.bundles import BUNDLES
from modelzoo.plugins.catalogue import CATALOGUE, recipe_texts
from modelzoo.plugins.discovery import normalized
from modelzoo.recipe import read
from modelzoo.testing.check import fail, not_applicable


def wheel(plugin: Plugin, options: dict) -> None:
    """A wheel built from the project has its recipes, each of them readable, its bundles, and its
    entry points.

    Where the project is not to be found, the installed files are compared with pip's record.
    """
    folder = _project(plugin, options.get("project"))
    if folder is None:
        not_applicable(
            f"the project of {plugin.title} is not to be found: pass plugin_checks(..., "
            "project='.') where its pyproject.toml is"
        )
    wanted = _data_of(folder, plugin.package)
    with scratch() as work:
        path = _built(folder, work)
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            _check_data(plugin, folder, path.name, wanted, names)
            archive.extractall(work / "content")
        home = Path(work, "content", *plugin.package.split("."))
        for short, text in recipe_texts(home).items():
            name = f"{plugin.namespace}/{short}"
            try:
                read(text, name=name, resolve=registry.recipe)
            except ModelzooError as error:
                fail(f"{name} cannot be read from {path.name}: {error.what}", where=error.where)
        _check_entry_points(plugin, path.name, Path(work, "content"))


def _check_data(plugin: Plugin, folder: Path, title: str, wanted: list[str], names: set) -> None:
    home = plugin.package.replace(".", "/")
    missing = [file for file in wanted if f"{home}/{file}" not in names]
    if missing:
        fail(
            f"{title} is built without {home}/{missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            where=f"{plugin.title}, {folder / 'pyproject.toml'}",
            next_step="package data has to be asked for: hatchling takes all of a package; "
            'setuptools takes [tool.setuptools.package-data] "*" = ["recipes.toml", '
            '"recipes/*.toml", "bundles/**"]',
        )


def _check_entry_points(plugin: Plugin, title: str, content: Path) -> None:
    found = "\n".join(p.read_text("utf-8") for p in content.glob("*.dist-info/entry_points.txt"))
    if "modelzoo.plugins" not in found:
        fail(
            f"{title} is built without the entry point modelzoo.plugins",
            next_step=f'[project.entry-points."modelzoo.plugins"] {plugin.namespace} = '
            f'"{plugin.package}" in pyproject.toml',
        )


def _project(plugin: Plugin, given: str | os.PathLike | None) -> Path | None:
    """The folder of the plugin's `pyproject.toml`: as given, as pip remembers it, or above."""
    if given is not None:
        if not (Path(given) / "pyproject.toml").is_file():
            fail(f"{given} holds no pyproject.toml", next_step="pass the folder that does")
        return Path(given).resolve()
    from modelzoo.plugins import module_file

    package = module_file(plugin.package)
    folders = [_remembered(plugin), *(package.parents[1:3] if package else ())]
    return next((folder for folder in folders if folder and _is_of(folder, plugin)), None)


def _remembered(plugin: Plugin) -> Path | None:
    """Where pip installed it from, if that was a folder (PEP 610)."""
    from importlib import metadata

    try:
        text = metadata.distribution(plugin.distribution).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlparse(json.loads(text)["url"]) if text else None
    return Path(unquote(url.path)) if url and url.scheme == "file" else None


def _is_of(folder: Path, plugin: Plugin) -> bool:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return normalized(str(project.get("name", ""))) == normalized(plugin.distribution)


def _data_of(folder: Path, package: str) -> list[str]:
    """Recipe files, catalogue and bundles' files, as paths in `package` or `src/package`."""
    homes = [Path(folder, *top, *package.split(".")) for top in ((), ("src",))]
    return [
        file.relative_to(home).as_posix()
        for home in homes
        for file in (
            *sorted(home.glob("recipes/*.toml")),
            *home.glob(CATALOGUE),
            *sorted(path for path in home.glob(f"{BUNDLES}/*/**/*") if path.is_file()),
        )
    ]


def _built(folder: Path, scratch: Path) -> Path:
    """The wheel, made by the project's own build backend."""
    system = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("build-system", {})
    backend = system.get("build-backend", "setuptools.build_meta:__legacy__")
    from importlib.util import find_spec

    top = backend.partition(":")[0].partition(".")[0]
    extra = system.get("backend-path", [])
    if find_spec(top) is None and not extra:
        not_applicable(f"{top}, which builds its wheel, is not installed: pip install {top}")
    folder_of_wheel = scratch / "wheel"
    folder_of_wheel.mkdir()
    arguments = (backend, os.pathsep.join(extra), str(folder_of_wheel))
    ended = child_process.run("modelzoo.testing.wheel", *arguments, cwd=folder)
    wheels = list(folder_of_wheel.glob("*.whl"))
    if ended.code or not wheels:
        said = ended.last_words or ended.answer
        fail(f"{backend} cannot build a wheel: {said}", where=folder / "pyproject.toml")
    return wheels[0]


# === In the child ===


def main(backend: str, path: str, folder: str) -> None:
    """Build a wheel in `folder` with a backend as PEP 517 names it; `path`: its backend-path."""
    sys.path[:0] = [os.path.abspath(entry) for entry in path.split(os.pathsep) if entry]
    module, _, rest = backend.partition(":")
    found = import_module(module)
    for part in filter(None, rest.split(".")):
        found = getattr(found, part)
    found.build_wheel(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
