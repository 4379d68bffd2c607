"""What a plugin is, and where its files lie. No package is imported to find them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

from modelzoo.plugins.bundles import bundle_folders
from modelzoo.plugins.catalogue import RecipeText, recipe_texts

__all__ = ["GROUPS", "Plugin", "module_file", "package_folder"]

# The entry-point groups modelzoo.architectures and so on: what a plugin may add.
GROUPS = ("architectures", "tasks", "exporters", "weight_tables")


@dataclass(frozen=True)
class Plugin:
    """One installed distribution that claims a namespace.

    Attributes:
        namespace: `acme`: all its names are `acme/...`.
        distribution, version: as pip knows them; empty where they cannot be read.
        package: the module path that the claim names; its folder holds `recipes/*.toml`,
            `recipes.toml` and `bundles/NAME/`.
        architectures, tasks, exporters: short name -> `module:attribute`.
        weight_tables: model type of Hugging Face -> `module:attribute`.
        problem: what is wrong with it, or `None`.
        usable: whether it can be used all the same.
        requires: what it says about modelzoo, `modelzoo-keras>=0.2,<1`; `None` where it says
            nothing.
    """

    namespace: str
    distribution: str
    version: str
    package: str = ""
    architectures: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    exporters: Mapping[str, str] = field(default_factory=dict)
    weight_tables: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
    usable: bool = True
    requires: str | None = None

    @property
    def title(self) -> str:
        """`modelzoo-acme 0.2.1`: what a person would look for in `pip list`."""
        return f"{self.distribution} {self.version}".strip()

    def recipes(self) -> dict[str, RecipeText]:
        """Full recipe name -> text, without importing the package; `{}` where there is no package.

        The package's code may be broken: its recipes are data beside it, and still list.
        """
        home = package_folder(self.package)
        texts = recipe_texts(home) if home is not None else {}
        return {f"{self.namespace}/{name}": text for name, text in texts.items()}

    def bundles(self) -> dict[str, Path]:
        """Full bundle name -> folder, without importing the package or reading the folder."""
        home = package_folder(self.package)
        folders = bundle_folders(home) if home is not None else {}
        return {f"{self.namespace}/{name}": folder for name, folder in folders.items()}


def module_file(module: str) -> Path | None:
    """The source file of a module, without importing it or any package above it."""
    top, *rest = module.split(".")
    for folder in _search_folders(top):
        path = folder.joinpath(*rest)
        for candidate in (path / "__init__.py", path.with_name(path.name + ".py")):
            if candidate.is_file():
                return candidate
    if rest:
        return None
    spec = _find_spec(top)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def package_folder(package: str) -> Path | None:
    """The folder of a package, without importing it or any package above it."""
    # Only the top-level name goes to find_spec: for a dotted one it would import the parent.
    top, *rest = package.split(".")
    folders = (folder.joinpath(*rest) for folder in _search_folders(top))
    return next((folder for folder in folders if folder.is_dir()), None)


def _search_folders(top: str) -> list[Path]:
    spec = _find_spec(top)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _find_spec(top: str) -> ModuleSpec | None:
    from importlib.util import find_spec

    try:
        return find_spec(top) if top else None
    except (ImportError, ValueError):  # a finder that fails, or a module without a spec
        return None
