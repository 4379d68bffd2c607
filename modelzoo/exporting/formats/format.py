"""What an exporter's module says of its format, in a `FORMAT` beside the function.

    FORMAT = Format("acme/labelled", precisions=("float32",), engine="litert")

No other file of modelzoo knows a format's name. Nothing heavy is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelzoo import registry
from modelzoo.errors import ExportError
from modelzoo.registry.components import CORE

__all__ = ["DEFAULT_FORMAT", "Format", "core_formats", "format_of"]

DEFAULT_FORMAT = "tflite"


@dataclass(frozen=True)
class Format:
    """A format of bundles.

    Attributes:
        name: as in `--format` and in the manifest.
        precisions: the modes of `--quantize` that it has; `None` where the exporter itself rejects
            those that it has not.
        default: the mode where neither the user nor the recipe names one.
        engine: what runs its files, written into the manifest: "litert" or "saved_model" of
            `modelzoo.runtime`, or the distribution that pip installs to run them; `None` for what
            the exporter's artifact brings.
        readme: manifest -> Markdown for a bundle's README: programs that do without modelzoo.
        driving: manifest -> Markdown, in place of what a README says of driving signatures.
        reopen: `reopen(model, signatures, mode) -> Artifact` verifies a bundle once more, where
            `modelzoo.runtime` does not run it.
    """

    name: str
    precisions: tuple[str, ...] | None = None
    default: str = "float32"
    engine: str | None = None
    readme: Callable[[Mapping], str] | None = None
    driving: Callable[[Mapping], str] | None = None
    reopen: Callable | None = None


def format_of(name: str) -> Format:
    """The format of a name; imports its exporter's module.

    Returns: the module's `FORMAT`, or what holds for a module without one.

    Raises:
        UnknownNameError, PluginError: as `registry.exporter`.
        ExportError: the module's `FORMAT` is another's.

    Example:
        >>> format_of("savedmodel").precisions
        ('float32',)
    """
    exporter = registry.exporter(name)
    module = getattr(exporter, "__module__", None)
    found = getattr(sys.modules.get(module), "FORMAT", None)
    if found is None:
        return Format(name, reopen=getattr(exporter, "reopen", None))
    if not isinstance(found, Format) or found.name != name:
        raise ExportError(
            f"the exporter {name} has a FORMAT that is {found!r}",
            where=module,
            next_step=f"write FORMAT = Format({name!r}, ...) in its module",
        )
    return found


def core_formats() -> list[Format]:
    """The formats of modelzoo's own exporters, the default one first."""
    others = (name for name in CORE["exporters"] if name != DEFAULT_FORMAT)
    return [format_of(name) for name in (DEFAULT_FORMAT, *others)]
