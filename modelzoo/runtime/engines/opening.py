"""The engine that a bundle names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelzoo.errors import BundleError, ModelzooError, nearest
from modelzoo.runtime.engines.base import SteppingEngine
from modelzoo.runtime.trust.check import check

__all__ = ["ENGINES", "EngineKind", "check_model", "engine_of", "open_engine"]


@dataclass(frozen=True)
class EngineKind:
    """An engine of this runtime.

    Attributes:
        package: what must be installed for it.
        load: gives its class; imports that package.
    """

    package: str
    load: Callable[[], type]


def _litert() -> type:
    from modelzoo.runtime.engines.litert import LiteRTEngine

    return LiteRTEngine


def _saved_model() -> type:
    from modelzoo.runtime.engines.saved_model import SavedModelEngine

    return SavedModelEngine


# The manifest names one of these, and never a module.
ENGINES = {
    "litert": EngineKind("ai-edge-litert", _litert),
    "saved_model": EngineKind("tensorflow", _saved_model),
}
# Bundles of modelzoo 0.1 name their format only.
_OF_FORMAT = {"tflite": "litert", "savedmodel": "saved_model", "litertlm": "litert-lm-api"}


def engine_of(manifest: Mapping) -> str:
    """The name of the engine that runs a bundle, whether this runtime has it or not.

    >>> engine_of({"format": "acme/labelled", "engine": "litert"}), engine_of({"format": "tflite"})
    ('litert', 'litert')
    """
    format: str = manifest["format"]
    engine: str | None = manifest.get("engine")
    return engine or _OF_FORMAT.get(format, format)


def _outside(engine: str) -> str:
    """What installs an engine that the runtime lacks, where its name is one of pip's."""
    return f"pip install {engine}; " if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", engine) else ""


def open_engine(
    bundle,
    threads: int | None = None,
    weight_cache: str | os.PathLike | bool | None = None,
    trust: bool = False,
) -> SteppingEngine:
    """The engine that runs a bundle, after the checks of `runtime.trust`.

    Args:
        threads: CPU threads; None is one a core that this process may use, four at most.
        weight_cache: where the packed weights of TFLite models are kept, which then load in a
            fraction of the time: a directory, or True for the user's cache. None keeps none.
        trust: open the model file without these checks.

    Raises:
        BundleError: the bundle needs another engine, the model file does not pass the checks, or
            the engine rejects it.
        MissingDependencyError: a SavedModel without TensorFlow.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ModelzooError(f"threads must be a whole number, 1 or more; got {threads!r}")
    check_model(bundle, trust)
    engine = ENGINES[engine_of(bundle.manifest)].load()(bundle, threads, weight_cache)
    missing = [name for name in bundle.manifest["signatures"] if name not in engine.signatures]
    if missing:
        raise BundleError(
            f"the model has no signature {missing[0]!r}, which the manifest names; it has "
            f"{', '.join(engine.signatures)}",
            where=bundle.directory,
        )
    return engine


def check_model(bundle, trust: bool = False) -> None:
    """Return if a bundle's model file may be opened; see `runtime.trust.check`.

    Raises:
        BundleError: the bundle needs another engine, or the model file does not pass the checks.
        MissingDependencyError: a SavedModel without TensorFlow.
    """
    name, format = engine_of(bundle.manifest), bundle.manifest["format"]
    if name not in ENGINES:
        raise BundleError(
            f"a bundle of the format {format!r} needs the engine {name!r}, and modelzoo's runtime "
            f"has {' and '.join(ENGINES)}",
            where=bundle.directory,
            did_you_mean=nearest(name, (*ENGINES, *_OF_FORMAT)),
            next_step=f"{_outside(name)}the bundle's README.md says how to run it; or export the "
            "model in another format",
        )
    check(bundle, name, ENGINES[name].package, trust)
